#include "nn/module.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "nn/ema.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "ops/pointwise/arithmetic.h"
#include "tensor/view.h"

namespace tessera::nn {
namespace {

using Names = std::vector<std::string>;

Names names_of(const StateDict& entries) {
  Names names;
  for (const StateEntry& e : entries) names.push_back(e.name);
  return names;
}

// A buffer registered before the parameter, a child, a scratch buffer.
class Cell final : public Module {
 public:
  Cell() {
    add_buffer("count", zeros({}, DType::i64));
    scale = add_parameter("scale", ones({3}));
    add_buffer("scratch", zeros({2}), false);
    linear = make_module<Linear>("linear", 3, 2);
  }
  Tensor scale;
  std::shared_ptr<Linear> linear;
};

class Net final : public Module {
 public:
  Net() {
    conv = make_module<Conv2d>("conv", 3, 4, 3);
    norm = make_module<BatchNorm>("norm", 4);
    cell = make_module<Cell>("cell");
    add_module("again", cell->linear);
    top = add_parameter("top", zeros({2}));
  }
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::shared_ptr<Cell> cell;
  Tensor top;
};

TEST(Module, NamesAndOrderAreTorchs) {
  Net net;
  // torch: a module's parameters, then its persistent buffers, then its children.
  EXPECT_EQ(
      names_of(net.state_dict()),
      (Names{"top", "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
             "norm.running_var", "norm.num_batches_tracked", "cell.scale", "cell.count",
             "cell.linear.weight", "cell.linear.bias", "again.weight", "again.bias"}));
  EXPECT_EQ(names_of(net.named_buffers()),
            (Names{"norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
                   "cell.count", "cell.scratch"}));
}

TEST(Module, SharedTensorsAreParametersOnce) {
  Net net;
  EXPECT_EQ(names_of(net.named_parameters()),
            (Names{"top", "conv.weight", "conv.bias", "norm.weight", "norm.bias", "cell.scale",
                   "cell.linear.weight", "cell.linear.bias"}));
  EXPECT_EQ(net.parameters().size(), 8u);
  EXPECT_EQ(net.parameter_count(), 2 + 4 * 27 + 4 + 4 + 4 + 3 + 6 + 2);
  Names modules;
  for (const auto& [name, module] : net.named_modules()) modules.push_back(name);
  EXPECT_EQ(modules, (Names{"", "conv", "norm", "cell", "cell.linear"}));
}

TEST(Module, RefusesBadNames) {
  Sequential s;
  s.emplace<Identity>("a");
  EXPECT_THROW(s.emplace<Identity>("a"), ValueError);
  EXPECT_THROW(s.emplace<Identity>(""), ValueError);
  EXPECT_THROW(s.emplace<Identity>("a.b"), ValueError);
  EXPECT_THROW(s.push_back("b", nullptr), ValueError);
  EXPECT_EQ(s.size(), 1u);
}

TEST(Module, TrainEvalReachesEveryChild) {
  Net net;
  EXPECT_TRUE(net.cell->linear->training());
  net.eval();
  EXPECT_FALSE(net.training());
  EXPECT_FALSE(net.cell->linear->training());
  net.train();
  EXPECT_TRUE(net.norm->training());
}

TEST(Module, ApplyVisitsChildrenFirst) {
  Net net;
  std::vector<Module*> seen;
  net.apply([&](Module& m) { seen.push_back(&m); });
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), &net);
  EXPECT_EQ(seen.front(), net.conv.get());
}

TEST(Module, ToConvertsInPlaceAndKeepsHandles) {
  Net net;
  const Tensor weight = net.conv->weight, mean = net.norm->running_mean;
  const std::vector<double> before = weight.to_vector<double>();
  net.to(DType::f64);
  EXPECT_EQ(weight.dtype(), DType::f64);
  EXPECT_EQ(mean.dtype(), DType::f64);
  EXPECT_EQ(net.norm->num_batches_tracked.dtype(), DType::i64);
  EXPECT_EQ(weight.to_vector<double>(), before);
  EXPECT_TRUE(weight.requires_grad());
  EXPECT_TRUE(net.parameters()[1].shares_storage(weight));
  EXPECT_EQ(net.state_dict()[12].tensor.dtype(), DType::f64);  // the shared entry as well
  EXPECT_THROW(net.to(DType::i32), DTypeError);
}

TEST(Module, GradientsReachTheHandlesAfterConversion) {
  Linear linear(3, 2);
  linear.to(DType::f64);
  const Tensor y = linear(ones({1, 3}, DType::f64));
  backward(y, ones_like(y));
  EXPECT_EQ(linear.weight.grad().to_vector<double>(), std::vector<double>(6, 1.0));
  linear.zero_grad();
  EXPECT_FALSE(linear.weight.grad().defined());
}

TEST(Module, FreezeAndThaw) {
  Net net;
  net.set_requires_grad(false);
  for (const Tensor& p : net.parameters()) EXPECT_FALSE(p.requires_grad());
  net.set_requires_grad(true);
  for (const Tensor& p : net.parameters()) EXPECT_TRUE(p.requires_grad());
}

TEST(Module, StateDictRoundTrip) {
  Net a, b;
  fill_(a.norm->running_mean, 3);
  const LoadReport report = b.load_state_dict(a.state_dict());
  EXPECT_TRUE(report.clean());
  const StateDict x = a.state_dict(), y = b.state_dict();
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(x[i].tensor.to_vector<double>(), y[i].tensor.to_vector<double>()) << x[i].name;
    EXPECT_FALSE(x[i].tensor.shares_storage(y[i].tensor)) << x[i].name;
  }
}

TEST(Module, StrictLoadReportsEverythingAndChangesNothing) {
  Net net;
  StateDict source;
  for (const StateEntry& e : Net().state_dict()) {
    if (e.name == "conv.bias" || e.name == "norm.weight") continue;
    source.push_back(e);
    if (e.name == "top") source.back().tensor = ones({5});
    if (e.name == "cell.count") source.back().tensor = ones({});  // floating for an integer
  }
  source.push_back({"extra.one", zeros({1})});
  source.push_back({"extra.two", zeros({1})});
  std::vector<std::vector<double>> before;
  for (const StateEntry& e : net.state_dict()) before.push_back(e.tensor.to_vector<double>());
  try {
    net.load_state_dict(source);
    FAIL() << "a strict load of a dict that does not fit must throw";
  } catch (const ValueError& e) {
    const std::string text = e.what();
    for (const char* part :
         {"missing conv.bias", "missing norm.weight", "unexpected extra.one",
          "unexpected extra.two", "mismatched top: source [5], module [2]", "cell.count"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in:\n" << text;
  }
  const StateDict after = net.state_dict();
  for (size_t i = 0; i < after.size(); ++i)
    EXPECT_EQ(after[i].tensor.to_vector<double>(), before[i]) << after[i].name;

  const LoadReport report = net.load_state_dict(source, false);
  EXPECT_EQ(report.missing, (Names{"conv.bias", "norm.weight"}));
  EXPECT_EQ(report.unexpected, (Names{"extra.one", "extra.two"}));
  EXPECT_EQ(report.mismatched.size(), 2u);
  EXPECT_EQ(net.top.to_vector<double>(), (std::vector<double>{0, 0}));
  EXPECT_EQ(net.conv->weight.to_vector<double>(), source[1].tensor.to_vector<double>());
}

TEST(Module, LoadAsksForValuesOneAtATimeAndOnlyIfTheyFit) {
  const Linear from(3, 2);
  Linear to(3, 2), other(4, 2);
  StateDict described = from.state_dict();
  described.push_back({"more", zeros({1})});
  std::vector<size_t> asked;
  const auto fill = [&](size_t i, Tensor& target) {
    asked.push_back(i);
    copy_(target, described[i].tensor.detach());
  };
  EXPECT_THROW(to.load_state_dict(described, fill), ValueError);
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(other.load_state_dict(described, fill, false).mismatched.size(), 1u);
  EXPECT_EQ(asked, (std::vector<size_t>{1}));
  EXPECT_EQ(to.load_state_dict(described, fill, false).unexpected, (Names{"more"}));
  EXPECT_EQ(to.weight.to_vector<float>(), from.weight.to_vector<float>());
  EXPECT_TRUE(to.weight.requires_grad());
}

TEST(Module, LoadConvertsFloatingTypesAndAcceptsOldFilesWithoutTheCounter) {
  BatchNorm a(2), b(2);
  a.to(DType::f64);
  fill_(a.running_var, 7);
  StateDict source = a.state_dict();
  source.pop_back();  // num_batches_tracked
  b.load_state_dict(source);
  EXPECT_EQ(b.running_var.dtype(), DType::f32);
  EXPECT_EQ(b.running_var.to_vector<double>(), (std::vector<double>{7, 7}));
}

TEST(Module, PublishedLayoutRoundTrip) {
  const Tensor w = view::reshape(arange(2 * 3 * 4 * 5, DType::f32), {2, 3, 4, 5});  // OHWI
  const Tensor there = to_published(w, Layout::filter);
  EXPECT_EQ(there.shape(), Shape({2, 5, 3, 4}));
  // OIHW element (1, 2, 0, 3) is OHWI element (1, 0, 3, 2).
  EXPECT_EQ(there.to_vector<double>()[((1 * 5 + 2) * 3 + 0) * 4 + 3],
            w.to_vector<double>()[((1 * 3 + 0) * 4 + 3) * 5 + 2]);
  const Tensor back = from_published(there, Layout::filter);
  EXPECT_EQ(back.shape(), w.shape());
  EXPECT_EQ(back.to_vector<double>(), w.to_vector<double>());
}

TEST(Module, ReplaceModule) {
  class Open final : public Module {
   public:
    Open() { make_module<Linear>("fc", 2, 3); }
    void swap_fc(ModulePtr m) { replace_module("fc", std::move(m)); }
    void swap_none() { replace_module("no", nullptr); }
  };
  Open open;
  open.swap_fc(std::make_shared<Linear>(2, 7));
  EXPECT_EQ(open.parameters()[0].shape(), Shape({7, 2}));
  EXPECT_THROW(open.swap_none(), ValueError);
  EXPECT_THROW(open.swap_fc(nullptr), ValueError);
  EXPECT_EQ(open.parameters()[0].shape(), Shape({7, 2}));
}

TEST(Module, ForwardMissing) {
  Cell cell;
  EXPECT_THROW(cell(zeros({1})), NotImplementedError);
}

TEST(Ema, AveragesParametersAndCopiesBuffers) {
  Linear linear(2, 1);
  linear.to(DType::f64);
  fill_(linear.weight, 1);
  fill_(linear.bias, 0);
  Ema ema(linear, 0.9);
  fill_(linear.weight, 2);
  ema.update();
  EXPECT_NEAR(ema.state()[0].tensor.to_vector<double>()[0], 1.1, 1e-12);
  ema.update();
  EXPECT_NEAR(ema.state()[0].tensor.to_vector<double>()[1], 1.19, 1e-12);
  EXPECT_EQ(ema.updates(), 2);

  BatchNorm norm(2);
  Ema of_norm(norm, 0.5);
  fill_(norm.running_mean, 4);
  fill_(norm.num_batches_tracked, 3);
  of_norm.update();
  EXPECT_EQ(of_norm.state()[2].tensor.to_vector<double>(), (std::vector<double>{4, 4}));
  EXPECT_EQ(of_norm.state()[4].tensor.item<int64_t>(), 3);
}

TEST(Ema, WarmUpOfTheDecay) {
  Linear linear(1, 1, false);
  linear.to(DType::f64);
  fill_(linear.weight, 0);
  Ema ema(linear, 0.999, true);
  fill_(linear.weight, 1);
  ema.update();  // decay 2 / 11
  EXPECT_NEAR(ema.state()[0].tensor.item(), 9.0 / 11, 1e-12);
  ema.update();  // decay 3 / 12
  EXPECT_NEAR(ema.state()[0].tensor.item(), 1 - 2.0 / 11 * 3 / 12, 1e-12);
}

TEST(Ema, ASharedTensorIsAveragedAndSwappedOnce) {
  Sequential tied;
  const auto linear = tied.emplace<Linear>("one", 1, 1, false);
  tied.push_back("two", linear);
  fill_(linear->weight, 1);
  Ema ema(tied, 0.5);
  ASSERT_EQ(names_of(ema.state()), (Names{"one.weight", "two.weight"}));
  fill_(linear->weight, 3);
  ema.update();
  for (const StateEntry& e : ema.state()) EXPECT_EQ(e.tensor.item(), 2) << e.name;
  ema.swap();
  EXPECT_EQ(linear->weight.item(), 2);
  ema.swap();
  EXPECT_EQ(linear->weight.item(), 3);
  EXPECT_EQ(ema.state()[1].tensor.item(), 2);
}

TEST(Ema, SwapTwiceRestoresAndLoadChecks) {
  Linear linear(1, 1, false);
  fill_(linear.weight, 1);
  Ema ema(linear, 0.5);
  fill_(linear.weight, 3);
  ema.update();
  ema.swap();
  EXPECT_EQ(linear.weight.item(), 2);
  ema.swap();
  EXPECT_EQ(linear.weight.item(), 3);

  Ema other(linear, 0.5);
  other.load(ema.state(), ema.updates());
  EXPECT_EQ(other.updates(), 1);
  EXPECT_EQ(other.state()[0].tensor.item(), 2);
  EXPECT_THROW(other.load({}, 0), ValueError);
  EXPECT_THROW(other.load({{"weight", zeros({2, 2})}}, 0), ValueError);
  EXPECT_THROW(other.load({{"bias", zeros({1, 1})}}, 0), ValueError);
  EXPECT_THROW(other.load({{"weight", zeros({1, 1}, DType::i64)}}, 0), ValueError);
  EXPECT_THROW(other.load(ema.state(), -1), ValueError);
  EXPECT_EQ(other.state()[0].tensor.item(), 2);
  EXPECT_THROW(Ema(linear, 1.0), ValueError);
  EXPECT_THROW(Ema(linear, -0.1), ValueError);
}

}  // namespace
}  // namespace tessera::nn
