#include "tensor/profile.h"

#include <gtest/gtest.h>

#include <thread>

#include "tensor/kernel_slot.h"
#include "tensor/view.h"

namespace tessera {
namespace kernel {
namespace {

struct Pair {
  Tensor a, b;
};
template <class F>
void visit_tensors(const Pair& pair, F&& f) {
  visit_tensors(pair.a, f);
  visit_tensors(pair.b, f);
}

constinit KernelSlot<void(const Tensor& x, double scale, Tensor& y)> scaled{
    "scaled", [](const Tensor& x, double, Tensor&) { return 3 * x.numel(); }};
constinit KernelSlot<void(const Pair&, const Tensors&, Tensor& y)> many{"many"};
constinit KernelSlot<int(const Tensor&)> counted{"counted"};
constinit KernelSlot<void(const Tensor&x, Tensor&y)> outer{"outer"}, slow{"slow"},
    failing{"failing"};

void busy(double seconds) {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds)
    ;
}

void scaled_cpu(const Tensor& x, double scale, Tensor& y) {
  for (int64_t i = 0; i < x.numel(); ++i)
    y.data<float>()[i] = static_cast<float>(scale) * x.data<float>()[i];
}
void many_cpu(const Pair&, const Tensors&, Tensor&) {}
int counted_cpu(const Tensor& x) { return static_cast<int>(x.numel()); }
void slow_cpu(const Tensor&, Tensor&) { busy(0.004); }
void outer_cpu(const Tensor& x, Tensor& y) {
  busy(0.002);
  slow(kCpu, x, y);
  scaled(kCpu, x, 2.0, y);
}
void failing_cpu(const Tensor& x, Tensor& y) {
  copy(kCpu, x, y);
  throw ValueError("failing: on purpose");
}

}  // namespace
}  // namespace kernel

TESSERA_KERNEL(scaled, cpu, kernel::scaled_cpu);
TESSERA_KERNEL(many, cpu, kernel::many_cpu);
TESSERA_KERNEL(counted, cpu, kernel::counted_cpu);
TESSERA_KERNEL(slow, cpu, kernel::slow_cpu);
TESSERA_KERNEL(outer, cpu, kernel::outer_cpu);
TESSERA_KERNEL(failing, cpu, kernel::failing_cpu);

namespace {

const ProfileRow* find(const std::vector<ProfileRow>& rows, const std::string& kernel,
                       const std::string& where = "") {
  for (const ProfileRow& row : rows)
    if (row.kernel == kernel && row.where == where) return &row;
  return nullptr;
}

class ProfileTest : public ::testing::Test {
 protected:
  std::vector<ProfileRow> rows(bool by_shape = false) const { return profile_->rows(by_shape); }
  std::string trace() const {
    std::string text;
    profile_->write_trace([&](std::string_view piece) { text += piece; });
    return text;
  }

  Tensor x_ = ones({4, 8}), y_ = empty({4, 8});
  std::shared_ptr<Profile> profile_ = std::make_shared<Profile>();
};

TEST_F(ProfileTest, SeesCallsOnlyWhileGuarded) {
  kernel::scaled(kCpu, x_, 2.0, y_);
  EXPECT_FALSE(kernels_observed);
  {
    const KernelObserverGuard guard(profile_);
    EXPECT_TRUE(kernels_observed);
    for (int i = 0; i < 3; ++i) kernel::scaled(kCpu, x_, 5.0, y_);
  }
  EXPECT_FALSE(kernels_observed);
  kernel::scaled(kCpu, x_, 2.0, y_);
  EXPECT_EQ(y_.to_vector<float>()[0], 2.0f);
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(profile_->calls(), 3);
  const ProfileRow row = rows()[0];
  EXPECT_EQ(row.kernel, "scaled");
  EXPECT_EQ(row.where, "");
  EXPECT_EQ(row.calls, 3);
  EXPECT_EQ(row.flops, 3 * 3 * 32);
  EXPECT_EQ(row.bytes, 3 * 2 * 32 * 4);
  EXPECT_GT(row.seconds, 0);
}

TEST_F(ProfileTest, CountsDistinctBytesOfEveryArgument) {
  const Tensor half = empty({4}, DType::f16);
  const Tensor repeated = view::broadcast_to(empty({8}), {1000, 8});
  const Tensor none = empty({0, 8});
  const KernelObserverGuard guard(profile_);
  // x_ twice, by two handles; an undefined tensor; repeated elements; no elements.
  kernel::many(kCpu, {x_, Tensor()}, {x_.detach(), half, repeated, none, Tensor()}, y_);
  EXPECT_EQ(rows()[0].bytes, 32 * 4 + 4 * 2 + 8 * 4 + 0 + 32 * 4);
  EXPECT_EQ(rows()[0].flops, 0);
  EXPECT_EQ(rows(true)[0].shapes, "f32[4, 8] f32[4, 8] f16[4] f32[1000, 8] f32[0, 8] f32[4, 8]");
}

TEST_F(ProfileTest, RowsByShape) {
  Tensor z = ones({2});
  const KernelObserverGuard guard(profile_);
  kernel::scaled(kCpu, x_, 1.0, y_);
  for (int i = 0; i < 2; ++i) kernel::scaled(kCpu, z, 1.0, z);
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(rows()[0].calls, 3);
  EXPECT_EQ(rows()[0].bytes, 2 * 32 * 4 + 2 * 2 * 4);
  EXPECT_EQ(rows(true).size(), 2u);
  // A list of many tensors is cut.
  kernel::many(kCpu, {}, Tensors(100, z), y_);
  std::string shapes;
  for (const ProfileRow& row : rows(true))
    if (row.kernel == "many") shapes = row.shapes;
  EXPECT_TRUE(shapes.ends_with(" f32[2] and 93 more")) << shapes;
}

TEST_F(ProfileTest, NestedKernelsCountOnce) {
  const KernelObserverGuard guard(profile_);
  const double before = profile_->seconds();
  kernel::outer(kCpu, x_, y_);
  const double wall = profile_->seconds() - before;
  const auto all = rows();
  ASSERT_EQ(all.size(), 3u);
  ASSERT_TRUE(find(all, "outer") && find(all, "slow"));
  EXPECT_GE(find(all, "outer")->seconds, 0.002);
  EXPECT_GE(find(all, "slow")->seconds, 0.004);
  double sum = 0;
  for (const ProfileRow& row : all) {
    EXPECT_EQ(row.calls, 1) << row.kernel;
    EXPECT_GE(row.seconds, 0) << row.kernel;
    sum += row.seconds;
  }
  EXPECT_LE(sum, wall);
  EXPECT_NEAR(profile_->kernel_seconds(), sum, 1e-8);
}

TEST_F(ProfileTest, TwoProfilesDoNotMix) {
  const auto second = std::make_shared<Profile>();
  const KernelObserverGuard guard(profile_);
  {
    const KernelObserverGuard inner(second);
    const KernelSpan span("both");
    kernel::outer(kCpu, x_, y_);
  }
  kernel::outer(kCpu, x_, y_);
  ASSERT_TRUE(find(rows(), "outer", "both"));
  ASSERT_TRUE(find(second->rows(), "outer", "both"));
  EXPECT_GE(find(rows(), "outer", "both")->seconds, 0.002);
  EXPECT_GE(find(second->rows(), "outer", "both")->seconds, 0.002);
  EXPECT_EQ(profile_->calls(), 6);
  EXPECT_EQ(second->calls(), 3);
}

TEST_F(ProfileTest, SpansNameWhereAKernelRan) {
  const KernelObserverGuard guard(profile_);
  {
    const KernelSpan backward("backward");
    kernel::scaled(kCpu, x_, 1.0, y_);
    const KernelSpan node("conv2d");
    kernel::outer(kCpu, x_, y_);
  }
  kernel::scaled(kCpu, x_, 1.0, y_);
  for (const char* where : {"", "backward", "backward/conv2d"}) {
    ASSERT_TRUE(find(rows(), "scaled", where)) << where;
    EXPECT_EQ(find(rows(), "scaled", where)->calls, 1) << where;
  }
  // Spans that began before or end after the profile do no harm.
  auto late = std::make_shared<Profile>();
  auto late_guard = std::make_unique<KernelObserverGuard>(late);
  {
    const KernelSpan outlives("outlives");
    late_guard.reset();
    kernel::scaled(kCpu, x_, 1.0, y_);
  }
  EXPECT_TRUE(late->rows().empty());
}

TEST_F(ProfileTest, ExceptionsPassAndLeaveNoTrace) {
  const KernelObserverGuard guard(profile_);
  const auto fails = [&] {
    const KernelSpan span("span");
    kernel::failing(kCpu, x_, y_);
  };
  EXPECT_THROW(fails(), ValueError);
  EXPECT_FALSE(find(rows(), "failing", "span"));
  EXPECT_TRUE(find(rows(), "copy", "span"));
  kernel::scaled(kCpu, x_, 1.0, y_);
  ASSERT_TRUE(find(rows(), "scaled", ""));
  // A kernel that is not there is no call.
  const Device cuda{DeviceType::cuda, 0};
  EXPECT_THROW(kernel::scaled(cuda, x_, 1.0, y_), Error);  // no kernel, or no GPU
  EXPECT_EQ(find(rows(), "scaled")->calls, 1);
}

TEST_F(ProfileTest, Threads) {
  constexpr int kThreads = 4, kCalls = 500;
  {
    const KernelObserverGuard guard(profile_);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([t] {
        const KernelSpan span(t % 2 == 0 ? "even" : "odd");
        const Tensor x = ones({8});
        Tensor y = empty({8});
        for (int i = 0; i < kCalls; ++i) kernel::scaled(kCpu, x, 1.0, y);
      });
    for (int i = 0; i < 100; ++i) {  // observers come and go, rows are read
      const KernelObserverGuard other(std::make_shared<Profile>());
      profile_->rows();
      trace();
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const char* where : {"even", "odd"}) {
    ASSERT_TRUE(find(rows(), "scaled", where));
    EXPECT_EQ(find(rows(), "scaled", where)->calls, kThreads / 2 * kCalls);
    EXPECT_EQ(find(rows(), "fill", where)->calls, kThreads / 2);
  }
  EXPECT_EQ(profile_->kernel_seconds(), 0);  // this thread ran none
}

TEST_F(ProfileTest, Trace) {
  {
    const KernelObserverGuard guard(profile_);
    const KernelSpan span("a \"quoted\"\n\\ name");
    kernel::outer(kCpu, x_, y_);
  }
  const std::string text = trace();
  for (const char* part :
       {"\"name\":\"outer\"", "\"ph\":\"X\"", "\"in\":\"a \\\"quoted\\\"\\u000a\\\\ name\"",
        "\"shapes\":[\"f32[4, 8]\",\"f32[4, 8]\"],\"bytes\":256,\"flops\":96",
        "\"dur\":", "\"cat\":\"span\"", "\"device\":\"cpu\"", "\"dropped_events\":0"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
}

// Keeps what is called at the outermost level, as a plan of a network would.
class Recorder final : public KernelObserver {
 public:
  void call(KernelCall& call) override {
    if (depth_ == 0) calls.push_back(call.clone());
    ++depth_;
    call.run();
    --depth_;
  }
  std::vector<std::unique_ptr<KernelCall>> calls;

 private:
  int depth_ = 0;
};

TEST_F(ProfileTest, CallsCanBeKeptAndRunAgain) {
  const auto recorder = std::make_shared<Recorder>();
  {
    const KernelObserverGuard profiling(profile_), recording(recorder);
    kernel::scaled(kCpu, x_, 3.0, y_);
    Tensor z = empty({4, 8});
    kernel::outer(kCpu, y_, z);
    kernel::many(kCpu, {x_, y_}, {z}, z);
  }
  EXPECT_EQ(profile_->calls(), 5);  // both observers saw them
  ASSERT_EQ(recorder->calls.size(), 3u);
  EXPECT_STREQ(recorder->calls[0]->slot().name(), "scaled");
  EXPECT_EQ(recorder->calls[0]->flops(), 96);
  EXPECT_EQ(recorder->calls[0]->device(), kCpu);
  EXPECT_EQ(recorder->calls[2]->tensors().size(), 4u);
  const Tensor& z = *recorder->calls[1]->tensors()[1];
  EXPECT_EQ(z.to_vector<float>()[5], 6.0f);
  fill_(x_, 10.0);
  {
    const KernelObserverGuard profiling(profile_);
    for (auto& call : recorder->calls) call->run();
    for (auto& call : recorder->calls) call->clone()->run();
  }
  EXPECT_EQ(z.to_vector<float>()[5], 60.0f);
  EXPECT_EQ(profile_->calls(), 15);  // calls that are run again are seen
}

class Skipper final : public KernelObserver {
 public:
  void call(KernelCall&) override {}
};

TEST_F(ProfileTest, KernelsThatReturnSomething) {
  {
    const KernelObserverGuard guard(profile_);
    EXPECT_EQ(kernel::counted(kCpu, x_), 32);
    EXPECT_EQ(rows()[0].kernel, "counted");
  }
  {
    const KernelObserverGuard guard(std::make_shared<Recorder>());
    EXPECT_THROW(kernel::counted(kCpu, x_), Error);  // has no copy
  }
  fill_(y_, 3.0);
  const KernelObserverGuard guard(std::make_shared<Skipper>());
  fill_(y_, 7.0);
  EXPECT_EQ(y_.data<float>()[0], 3.0f);
  EXPECT_THROW(kernel::counted(kCpu, x_), Error);  // there is nothing to return
}

}  // namespace
}  // namespace tessera
