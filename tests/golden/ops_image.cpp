#include "ops/conv/conv2d.h"
#include "ops/conv/deform_conv2d.h"
#include "ops/detect/roi_align.h"
#include "ops/detect/roi_pool.h"
#include "ops/image/grid_sample.h"
#include "ops/image/pad.h"
#include "ops/image/resize.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

template <class T>
T choose(const std::string& name, const std::map<std::string, T>& choices) {
  const auto it = choices.find(name);
  TESSERA_CHECK(ValueError, it != choices.end(), "unknown mode '", name, "'");
  return it->second;
}

Tensor run_conv(const OpCall& c) {
  return conv2d(c.input("x"), c.input("w"), c.optional("b"),
                {.stride = c.size2("stride", 1),
                 .padding = c.size2("padding", 0),
                 .dilation = c.size2("dilation", 1),
                 .groups = c.attribute<int64_t>("groups", 1)});
}

Tensor run_conv_transpose(const OpCall& c) {
  return conv_transpose2d(c.input("x"), c.input("w"), c.optional("b"),
                          {.stride = c.size2("stride", 1),
                           .padding = c.size2("padding", 0),
                           .output_padding = c.size2("output_padding", 0),
                           .dilation = c.size2("dilation", 1),
                           .groups = c.attribute<int64_t>("groups", 1)});
}

Tensor run_deform_conv(const OpCall& c) {
  return deform_conv2d(c.input("x"), c.input("o"), c.optional("m"), c.input("w"), c.optional("b"),
                       {.stride = c.size2("stride", 1),
                        .padding = c.size2("padding", 0),
                        .dilation = c.size2("dilation", 1),
                        .groups = c.attribute<int64_t>("groups", 1),
                        .deform_groups = c.attribute<int64_t>("deform_groups", 1)});
}

Tensor run_max_pool(const OpCall& c) {
  const Size2 kernel = c.size2("kernel"), stride = c.size2("stride", kernel);
  const Size2 padding = c.size2("padding", 0), dilation = c.size2("dilation", 1);
  return max_pool2d(c.input("x"), {.kernel = kernel,
                                   .stride = stride,
                                   .padding = padding,
                                   .dilation = dilation,
                                   .ceil_mode = c.attribute("ceil_mode", false)});
}

Tensor run_avg_pool(const OpCall& c) {
  const Size2 kernel = c.size2("kernel"), stride = c.size2("stride", kernel);
  const Size2 padding = c.size2("padding", 0);
  return avg_pool2d(c.input("x"), {.kernel = kernel,
                                   .stride = stride,
                                   .padding = padding,
                                   .ceil_mode = c.attribute("ceil_mode", false),
                                   .count_include_pad = c.attribute("count_include_pad", true)});
}

Tensor run_adaptive_avg_pool(const OpCall& c) {
  return adaptive_avg_pool2d(c.input("x"), c.size2("output"));
}

Tensor run_interpolate(const OpCall& c) {
  const Size2 size = c.size2("size");
  return resize(c.input("x"), {size.h, size.w},
                {.mode = choose<ResizeMode>(c.attribute<std::string>("mode"),
                                            {{"nearest", ResizeMode::nearest},
                                             {"bilinear", ResizeMode::bilinear},
                                             {"bicubic", ResizeMode::bicubic}}),
                 .align_corners = c.attribute("align_corners", false)});
}

Tensor run_grid_sample(const OpCall& c) {
  return grid_sample(
      c.input("x"), c.input("grid"),
      {.mode = choose<GridMode>(c.attribute<std::string>("mode"),
                                {{"bilinear", GridMode::bilinear}, {"nearest", GridMode::nearest}}),
       .padding = choose<GridPadding>(c.attribute<std::string>("padding_mode"),
                                      {{"zeros", GridPadding::zeros},
                                       {"border", GridPadding::border},
                                       {"reflection", GridPadding::reflection}}),
       .align_corners = c.attribute("align_corners", false)});
}

Tensor run_affine_grid(const OpCall& c) {
  const Dims size = c.dims("size");  // N, C, H, W
  TESSERA_CHECK(ValueError, size.rank() == 4, "affine_grid: size has ", size.rank(), " numbers");
  return affine_grid(c.input("theta"), size[2], size[3], c.attribute("align_corners", false));
}

Tensor run_pad(const OpCall& c) {
  const Dims pads = c.dims("pad");  // left, right, top, bottom
  TESSERA_CHECK(ValueError, pads.rank() == 4, "pad: ", pads.rank(), " numbers, expected 4");
  return pad(c.input("x"), {pads[0], pads[1], pads[2], pads[3]},
             choose<PadMode>(c.attribute<std::string>("mode", "constant"),
                             {{"constant", PadMode::constant},
                              {"reflect", PadMode::reflect},
                              {"replicate", PadMode::replicate},
                              {"circular", PadMode::circular}}),
             c.attribute("value", 0.0));
}

Tensor run_roi_align(const OpCall& c) {
  const Size2 output = c.size2("output");
  return roi_align(c.input("x"), c.tensor("rois", c.dtype()),
                   {.output_h = output.h,
                    .output_w = output.w,
                    .spatial_scale = c.attribute("spatial_scale", 1.0),
                    .sampling_ratio = c.attribute<int64_t>("sampling_ratio", -1),
                    .aligned = c.attribute("aligned", false)});
}

Tensor run_roi_pool(const OpCall& c) {
  const Size2 output = c.size2("output");
  return roi_pool(c.input("x"), c.tensor("rois", c.dtype()), output.h, output.w,
                  c.attribute("spatial_scale", 1.0));
}

}  // namespace

void add_image_ops(OpTable& table) {
  table["conv2d"] = {{"x", "w", "y"}, run_conv};
  table["conv_transpose2d"] = {{"x", "w", "y"}, run_conv_transpose};
  table["deform_conv2d"] = {{"x", "o", "m", "w", "y"}, run_deform_conv};
  table["max_pool2d"] = {{"x", "y"}, run_max_pool};
  table["avg_pool2d"] = {{"x", "y"}, run_avg_pool};
  table["adaptive_avg_pool2d"] = {{"x", "y"}, run_adaptive_avg_pool};
  table["interpolate"] = {{"x", "y"}, run_interpolate};
  table["grid_sample"] = {{"x", "y"}, run_grid_sample};
  table["affine_grid"] = {{}, run_affine_grid};
  table["pad"] = {{"x", "y"}, run_pad};
  table["roi_align"] = {{"x", "y"}, run_roi_align};
  table["roi_pool"] = {{"x", "y"}, run_roi_pool};
}

}  // namespace tessera::golden
