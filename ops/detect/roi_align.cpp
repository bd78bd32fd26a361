#include "ops/detect/roi_align.h"

#include "autograd/apply.h"
#include "tensor/view.h"

namespace tessera {

namespace {

// Linear in the feature map, so the operator and its adjoint differentiate into each other.

struct RoiAlign {
  static constexpr std::string_view name = "roi_align";
  Tensor rois;
  Shape feature_shape;
  RoiAlignOptions options;

  Tensor forward(Ctx&, const Tensor& x) const {
    Tensor y =
        empty({rois.size(0), options.output_h, options.output_w, x.size(3)}, x.dtype(), x.device());
    kernel::roi_align(x.device(), view::contiguous(x), rois, options, y);
    return y;
  }
  Grads backward(const Ctx&, const Tensor& g) const {
    return {roi_align_grad(g, rois, feature_shape, options)};
  }
};

struct RoiAlignGrad {
  static constexpr std::string_view name = "roi_align_grad";
  Tensor rois;
  Shape feature_shape;
  RoiAlignOptions options;

  Tensor forward(Ctx&, const Tensor& g) const {
    Tensor gx = zeros(feature_shape, g.dtype(), g.device());
    kernel::roi_align_grad(g.device(), view::contiguous(g), rois, options, gx);
    return gx;
  }
  Grads backward(const Ctx&, const Tensor& gg) const { return {roi_align(gg, rois, options)}; }
};

}  // namespace

void check_rois(const Shape& feature, DType dtype, const Tensor& rois, int64_t output_h,
                int64_t output_w, double spatial_scale, std::string_view op) {
  TESSERA_CHECK(ShapeError, feature.rank() == 4 && rois.rank() == 2 && rois.shape()[1] == 5, op,
                ": expects features (N, H, W, C) and rois (R, 5), got ", feature, " and ",
                rois.shape());
  TESSERA_CHECK(ShapeError, feature[1] > 0 && feature[2] > 0, op,
                ": the feature map has no pixels: ", feature);
  TESSERA_CHECK(DTypeError, dtype == rois.dtype(), op, ": features are ", dtype, ", rois ",
                rois.dtype());
  TESSERA_CHECK(ValueError, output_h >= 1 && output_w >= 1, op, ": output size must be positive, ",
                "got ", output_h, " x ", output_w);
  TESSERA_CHECK(ValueError, spatial_scale > 0, op, ": spatial_scale must be positive, got ",
                spatial_scale);
}

Tensor roi_align(const Tensor& feature, const Tensor& rois, const RoiAlignOptions& o) {
  check_rois(feature.shape(), feature.dtype(), rois, o.output_h, o.output_w, o.spatial_scale,
             "roi_align");
  return apply(RoiAlign{view::contiguous(rois.detach()), feature.shape(), o}, feature);
}

Tensor roi_align_grad(const Tensor& g, const Tensor& rois, const Shape& feature_shape,
                      const RoiAlignOptions& o) {
  check_rois(feature_shape, g.dtype(), rois, o.output_h, o.output_w, o.spatial_scale,
             "roi_align_grad");
  const Shape expected{rois.size(0), o.output_h, o.output_w, feature_shape[3]};
  TESSERA_CHECK(ShapeError, g.shape() == expected, "roi_align_grad: g must be ", expected, ", got ",
                g.shape());
  return apply(RoiAlignGrad{view::contiguous(rois.detach()), feature_shape, o}, g);
}

}  // namespace tessera
