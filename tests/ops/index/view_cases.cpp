#include "ops/index/view.h"
#include "tests/ops/op_case.h"

using namespace tessera;
using namespace tessera::testing;

TESSERA_OP_CASES(view) {
  // The raw views are checked element by element in tests/tensor; here they are the reference.
  const auto add_case = [&](std::string name, Shape shape, Tensor (*run)(const Tensor&),
                            Tensor (*reference)(const Tensor&)) {
    cases.add({.name = std::move(name),
               .inputs = {{.shape = shape}},
               .run = [run](const Tensors& in) { return Tensors{run(in[0])}; },
               .reference = [reference](const Tensors& in) { return Tensors{reference(in[0])}; }});
  };
  add_case(
      "reshape", {2, 6},
      [](const Tensor& x) {
        return reshape(x, {3, -1});
      },
      [](const Tensor& x) {
        return view::reshape(x, {3, 4});
      });
  add_case(
      "reshape_of_permuted", {2, 3, 4},
      [](const Tensor& x) {
        return reshape(permute(x, {2, 0, 1}), {4, 6});
      },
      [](const Tensor& x) {
        return view::reshape(view::permute(x, {2, 0, 1}), {4, 6});
      });
  add_case(
      "flatten", {2, 3, 4, 1}, [](const Tensor& x) { return flatten(x, 1, -2); },
      [](const Tensor& x) {
        return view::reshape(x, {2, 12, 1});
      });
  add_case(
      "permute", {2, 3, 4},
      [](const Tensor& x) {
        return permute(x, {2, -3, 1});
      },
      [](const Tensor& x) {
        return view::permute(x, {2, 0, 1});
      });
  add_case(
      "transpose", {2, 3, 4}, [](const Tensor& x) { return transpose(x, 0, -1); },
      [](const Tensor& x) { return view::transpose(x, 0, 2); });
  add_case(
      "slice_step", {3, 9}, [](const Tensor& x) { return slice(x, 1, 1, -1, 3); },
      [](const Tensor& x) { return view::slice(x, 1, 1, 8, 3); });
  add_case(
      "slice_empty", {3, 4}, [](const Tensor& x) { return slice(x, 0, 2, 1); },
      [](const Tensor& x) { return view::slice(x, 0, 2, 2); });
  add_case(
      "select", {3, 4}, [](const Tensor& x) { return select(x, 0, -1); },
      [](const Tensor& x) { return view::select(x, 0, 2); });
  add_case(
      "unsqueeze", {3, 4}, [](const Tensor& x) { return unsqueeze(x, -1); },
      [](const Tensor& x) {
        return view::reshape(x, {3, 4, 1});
      });
  add_case(
      "squeeze", {3, 1, 4}, [](const Tensor& x) { return squeeze(x, 1); },
      [](const Tensor& x) {
        return view::reshape(x, {3, 4});
      });
  add_case(
      "broadcast_to", {3, 1},
      [](const Tensor& x) {
        return broadcast_to(x, {2, 3, 4});
      },
      [](const Tensor& x) {
        return view::broadcast_to(x, {2, 3, 4});
      });
  add_case(
      "slice_scatter", {2, 3},
      [](const Tensor& x) {
        return slice_scatter(x, {2, 9}, 1, 2, 3);
      },
      [](const Tensor& x) {
        Tensor y = zeros({2, 9}, DType::f64);
        for (int64_t k = 0; k < 3; ++k) {
          Tensor column = view::select(y, 1, 2 + 3 * k);
          copy_(column, view::select(x, 1, k));
        }
        return y;
      });
  cases.add_error<ShapeError>("reshape_count",
                              [] {
                                reshape(zeros({2, 3}), {4});
                              },
                              {"[2, 3]", "[4]"});
  cases.add_error<ValueError>("select_range",
                              [] {
                                select(zeros({2, 3}), 1, 3);
                              },
                              {"select", "3", "[2, 3]"});
  cases.add_error<ValueError>("permute_twice", [] { permute(zeros({2, 3}), {0, 0}); }, {"permute"});
}
