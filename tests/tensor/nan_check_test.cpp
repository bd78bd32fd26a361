#include "tensor/nan_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tensor/view.h"

namespace tessera {
namespace {

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const ValueError& e) {
    return e.what();
  }
  return "nothing was thrown";
}

void expect_parts(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is missing from: " << text;
}

TEST(NanCheck, NumbersPass) {
  const KernelObserverGuard guard(std::make_shared<NanCheck>());
  const Tensor x = from_vector<float>({1, 2, INFINITY, -INFINITY});
  EXPECT_EQ(view::clone(x).numel(), 4);
  Tensor empty_one = zeros({0, 3});
  fill_(empty_one, 1);
}

TEST(NanCheck, NamesTheKernelThatMakesOne) {
  const KernelObserverGuard guard(std::make_shared<NanCheck>());
  Tensor x = zeros({2, 3});
  expect_parts(message_of([&] {
                 const KernelSpan span("forward");
                 fill_(x, NAN);
               }),
               {"fill", "in forward", "[2, 3]", "element 0", "made from numbers"});
}

TEST(NanCheck, SaysWhichInputBroughtIt) {
  const Tensor x = from_vector<double>({0, NAN, 2});
  const KernelObserverGuard guard(std::make_shared<NanCheck>());
  expect_parts(message_of([&] { view::clone(x); }),
               {"copy", "[3]", "element 1", "came in by argument 1"});
}

TEST(NanCheck, IntegersAreLeftAlone) {
  const KernelObserverGuard guard(std::make_shared<NanCheck>());
  EXPECT_EQ(view::to(from_vector<int64_t>({1, 2}), DType::i32).numel(), 2);
}

}  // namespace
}  // namespace tessera
