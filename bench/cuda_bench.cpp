// The operators on a GPU beside what it can do at most: GB/s against a copy of the same size on the
// device, GFLOP/s where arithmetic is the bound. Prints a Markdown table.
//
//   cuda_bench [--device cuda:0] [--seconds 0.2] [--only WORD]... [--scale N]
//
// A row's time is that of many calls queued one behind the other, divided by their number; bytes
// count every array once. --scale divides the batch sizes, to try the program on the emulator.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "autograd/engine.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/deform_conv2d.h"
#include "ops/detect/nms.h"
#include "ops/detect/roi_align.h"
#include "ops/image/grid_sample.h"
#include "ops/image/resize.h"
#include "ops/index/concat.h"
#include "ops/index/gather.h"
#include "ops/index/sort.h"
#include "ops/linalg/matmul.h"
#include "ops/loss/cross_entropy.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/layer_norm.h"
#include "ops/norm/softmax.h"
#include "ops/optim/update.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/gelu.h"
#include "ops/pointwise/relu.h"
#include "ops/pool/adaptive_pool.h"
#include "ops/pool/avg_pool.h"
#include "ops/pool/max_pool.h"
#include "ops/random/random.h"
#include "ops/reduce/sum.h"
#include "tensor/cuda_plugin.h"
#include "tensor/view.h"

namespace {

using namespace tessera;
using Clock = std::chrono::steady_clock;

struct Options {
  Device device{DeviceType::cuda, 0};
  double seconds = 0.2;
  int64_t scale = 1;
  std::vector<std::string> only;
};

struct Row {
  std::string name;
  std::function<void()> call;
  double bytes = 0, flops = 0;
};

class Bench {
 public:
  explicit Bench(const Options& options) : o_(options) {}

  bool wanted(const std::string& name) const {
    if (o_.only.empty()) return true;
    for (const std::string& word : o_.only)
      if (name.find(word) != std::string::npos) return true;
    return false;
  }
  Tensor image(const Shape& shape, double lo = -1, double hi = 1) {
    return view::to(rand(shape, generator_, {.lo = lo, .hi = hi}), o_.device);
  }
  int64_t batch(int64_t n) const { return std::max<int64_t>(1, n / o_.scale); }

  double seconds_per_call(const std::function<void()>& call) const {
    call();
    cuda_synchronize(o_.device.index);
    for (int64_t repeat = 1;; repeat *= 4) {
      const auto start = Clock::now();
      for (int64_t i = 0; i < repeat; ++i) call();
      cuda_synchronize(o_.device.index);
      const double s = std::chrono::duration<double>(Clock::now() - start).count();
      if (s >= o_.seconds) return s / static_cast<double>(repeat);
    }
  }

  void measure_copy() {
    const Tensor x = image({batch(256), 1024, 1024});
    Tensor y = empty_like(x);
    const double s = seconds_per_call([&] { copy_(y, x); });
    copy_gb_s_ = 2.0 * static_cast<double>(x.nbytes()) / s * 1e-9;
    std::printf("copy on the device: %.1f GB/s (read and written)\n\n", copy_gb_s_);
    std::printf("| kernel | ms | GB/s (of copying) | GFLOP/s |\n| --- | ---: | ---: | ---: |\n");
  }

  void run(const Row& row) {
    if (!wanted(row.name)) return;
    try {
      const double s = seconds_per_call(row.call), gb = row.bytes / s * 1e-9;
      std::printf("| %s | %.4f | %s | %s |\n", row.name.c_str(), 1e3 * s,
                  row.bytes > 0 ? cat(static_cast<int64_t>(gb), " (",
                                      static_cast<int64_t>(100 * gb / copy_gb_s_ + 0.5), " %)")
                                      .c_str()
                                : "-",
                  row.flops > 0 ? cat(static_cast<int64_t>(row.flops / s * 1e-9)).c_str() : "-");
    } catch (const Error& e) {
      std::printf("| %s | %s | | |\n", row.name.c_str(), e.what());
    }
    std::fflush(stdout);
  }

  /// Forward, and the gradients of all inputs, of one function.
  void both(const std::string& name, const std::function<Tensor(const Tensors&)>& fn,
            const Tensors& inputs, double forward_bytes, double backward_bytes, double flops = 0) {
    if (wanted(name))
      run({name,
           [&] {
             NoGradGuard off;
             fn(inputs);
           },
           forward_bytes, flops});
    if (!wanted(name + "_grad")) return;
    Tensors leaves;
    for (const Tensor& t : inputs) leaves.push_back(view::alias(t).set_requires_grad(true));
    const Tensor y = fn(leaves), g = ones_like(y);
    run({name + "_grad", [&] { grad({y}, leaves, {g}, {.retain_graph = true}); }, backward_bytes,
         2 * flops});
  }

 private:
  Options o_;
  Generator generator_{1};
  double copy_gb_s_ = 1;
};

double bytes(const Tensor& t) { return static_cast<double>(t.nbytes()); }

void pointwise(Bench& b) {
  const Tensor x = b.image({b.batch(64), 56, 56, 256}), bias = b.image({256});
  const double n = bytes(x);
  b.both(
      "relu", [](const Tensors& t) { return relu(t[0]); }, {x}, 2 * n, 3 * n);
  b.both(
      "gelu", [](const Tensors& t) { return gelu(t[0]); }, {x}, 2 * n, 3 * n);
  b.both(
      "add", [](const Tensors& t) { return t[0] + t[1]; }, {x, b.image(x.shape())}, 3 * n, 0);
  b.both(
      "add_bias", [](const Tensors& t) { return t[0] + t[1]; }, {x, bias}, 2 * n, n);
  b.run({"sum_rows",
         [&] {
           NoGradGuard off;
           sum(x, {3});
         },
         n});
  b.run({"sum_columns",
         [&] {
           NoGradGuard off;
           sum(x, {0, 1, 2});
         },
         n});
  b.run({"sum_all",
         [&] {
           NoGradGuard off;
           sum(x);
         },
         n});
}

void norms(Bench& b) {
  const Tensor x = b.image({b.batch(64), 56, 56, 256});
  const Tensor weight = b.image({256}), bias = b.image({256}), mean = b.image({256}),
               var = b.image({256}, 0.5, 1);
  const double n = bytes(x);
  b.both(
      "batch_norm_train",
      [&](const Tensors& t) { return batch_norm(t[0], t[1], t[2], mean, var, {.training = true}); },
      {x, weight, bias}, 3 * n, 5 * n);
  b.both(
      "batch_norm_train_relu",
      [&](const Tensors& t) {
        return batch_norm(t[0], t[1], t[2], mean, var, {.training = true},
                          {.activation = Activation::relu});
      },
      {x, weight, bias}, 3 * n, 7 * n);
  b.both(
      "layer_norm", [](const Tensors& t) { return layer_norm(t[0], {256}, t[1], t[2]); },
      {x, weight, bias}, 2 * n, 3 * n);
  const Tensor logits = b.image({b.batch(1 << 16), 1000});
  b.both(
      "softmax_1000", [](const Tensors& t) { return softmax(t[0]); }, {logits}, 2 * bytes(logits),
      3 * bytes(logits));
  const Tensor targets = view::to(zeros({logits.size(0)}, DType::i64), logits.device());
  b.both(
      "cross_entropy_1000", [&](const Tensors& t) { return cross_entropy(t[0], targets); },
      {logits}, bytes(logits), 2 * bytes(logits));
}

void pools_and_images(Bench& b) {
  const Tensor x = b.image({b.batch(64), 112, 112, 64});
  const double n = bytes(x);
  b.both(
      "max_pool_3x3_s2",
      [](const Tensors& t) { return max_pool2d(t[0], {.kernel = 3, .stride = 2, .padding = 1}); },
      {x}, 1.25 * n, 1.5 * n);
  b.both(
      "global_avg_pool", [](const Tensors& t) { return global_avg_pool2d(t[0]); }, {x}, n, n);
  const Tensor f = b.image({b.batch(16), 64, 64, 256});
  b.both(
      "resize_bilinear_2x",
      [](const Tensors& t) {
        return resize(t[0], {128, 128});
      },
      {f}, 5 * bytes(f), 5 * bytes(f));
  const Tensor theta =
      view::to(from_vector<float>({0.9f, -0.1f, 0, 0.1f, 0.9f, 0}, {1, 2, 3}), x.device());
  const Tensor one = b.image({1, 256, 256, 128});
  const Tensor grid = affine_grid(theta, 256, 256);
  b.both(
      "grid_sample", [&](const Tensors& t) { return grid_sample(t[0], grid); }, {one},
      2 * bytes(one), 2 * bytes(one));
}

void detection(Bench& b) {
  const Tensor features = b.image({2, 200, 272, 256});
  std::vector<float> rois;
  for (int i = 0; i < 1000; ++i) {
    const float x = static_cast<float>(i * 37 % 900), y = static_cast<float>(i * 53 % 600);
    rois.insert(rois.end(), {static_cast<float>(i % 2), x, y, x + 40 + static_cast<float>(i % 97),
                             y + 30 + static_cast<float>(i % 89)});
  }
  const Tensor boxes = view::to(from_vector(rois, {1000, 5}), features.device());
  b.both(
      "roi_align_7x7_1000",
      [&](const Tensors& t) {
        return roi_align(t[0], boxes, {.spatial_scale = 0.25, .sampling_ratio = 2});
      },
      {features}, 0, 0);
  const Tensor corner = b.image({4000, 2}, 0, 800), size = b.image({4000, 2}, 10, 100);
  const Tensor all = concat({corner, corner + size}, 1), scores = b.image({4000}, 0, 1);
  b.run({"nms_4000", [&] { nms(all, scores, 0.7); }});
  const Tensor anchors = b.image({1, 200000});
  b.run({"topk_2000_of_200000", [&] { topk(anchors, 2000); }});
}

void convolutions(Bench& b) {
  struct Layer {
    const char* name;
    int64_t size, in, out, kernel, stride, groups;
  };
  constexpr Layer kLayers[] = {
      {"conv_7x7_s2_3_64", 224, 3, 64, 7, 2, 1},
      {"conv_1x1_64_256", 56, 64, 256, 1, 1, 1},
      {"conv_3x3_64_64", 56, 64, 64, 3, 1, 1},
      {"conv_3x3_128_128", 28, 128, 128, 3, 1, 1},
      {"conv_3x3_256_256", 14, 256, 256, 3, 1, 1},
      {"conv_3x3_512_512", 7, 512, 512, 3, 1, 1},
      {"conv_3x3_s2_256_256", 28, 256, 256, 3, 2, 1},
      {"conv_depthwise_3x3_144", 56, 144, 144, 3, 1, 144},
  };
  for (const Layer& l : kLayers) {
    const Tensor x = b.image({b.batch(64), l.size, l.size, l.in});
    const Tensor w = b.image({l.out, l.kernel, l.kernel, l.in / l.groups});
    const Conv2dOptions options{.stride = l.stride, .padding = l.kernel / 2, .groups = l.groups};
    const int64_t side = (l.size - 1) / l.stride + 1;
    const double out = static_cast<double>(x.size(0) * side * side * l.out);
    const double flops = 2 * out * static_cast<double>(w.numel() / l.out);
    const double forward = bytes(x) + bytes(w) + 4 * out;
    b.both(
        l.name, [&](const Tensors& t) { return conv2d(t[0], t[1], {}, options); }, {x, w}, forward,
        2 * forward, flops);
  }
  for (const int64_t n : {256, 1024, 4096}) {
    const int64_t m = std::max<int64_t>(16, n / b.batch(1));
    const Tensor p = b.image({m, m}), q = b.image({m, m});
    const double cube = static_cast<double>(m) * static_cast<double>(m) * static_cast<double>(m);
    b.run({cat("gemm_", m),
           [&] {
             NoGradGuard off;
             matmul(p, q);
           },
           0, 2 * cube});
  }
}

void training(Bench& b) {
  Tensors p, g, v;
  for (int i = 0; i < 160; ++i) {  // as many tensors and elements as ResNet-50 has
    p.push_back(b.image({160, 1000}));
    g.push_back(b.image({160, 1000}));
    v.push_back(b.image({160, 1000}));
  }
  b.run({"sgd_momentum",
         [&] {
           sgd_update_(p, g, v,
                       {.lr = 0.01,
                        .momentum = 0.9,
                        .dampening = 0,
                        .weight_decay = 1e-4,
                        .nesterov = false,
                        .first = false});
         },
         5 * 160 * bytes(p[0])});
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--device")
      o.device = parse_device(value);
    else if (name == "--seconds")
      o.seconds = std::stod(value);
    else if (name == "--scale")
      o.scale = std::stoll(value);
    else if (name == "--only")
      o.only.push_back(value);
    else
      throw ValueError(cat("unknown option ", name));
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  Bench b(options);
  b.measure_copy();
  pointwise(b);
  norms(b);
  pools_and_images(b);
  detection(b);
  convolutions(b);
  training(b);
} catch (const std::exception& e) {
  std::fprintf(stderr, "cuda_bench: %s\n", e.what());
  return 1;
}
