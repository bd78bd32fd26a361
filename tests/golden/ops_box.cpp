#include <regex>

#include "ops/detect/box.h"
#include "ops/detect/nms.h"
#include "tensor/view.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

/// Boxes from rows of four numbers by the case's recipe: corners c - s / 2 and c + s / 2 with
/// c = p[:, :2] * a + b and s = (p[:, 2:] + d) * e; a, b, d and e are read from its text.
Tensor boxes(const OpCall& c, const std::string& name) {
  const auto text = c.attribute<std::string>("boxes");
  static const std::regex recipe(
      R"(box = \[c - s/2, c \+ s/2\], c = p\[:, :2\]\*([0-9.]+) \+ ([0-9.]+), )"
      R"(s = \(p\[:, 2:\] \+ ([0-9.]+)\)\*([0-9.]+))");
  std::smatch part;
  TESSERA_CHECK(ValueError, std::regex_match(text, part, recipe), "unknown boxes '", text, "'");
  const double a = std::stod(part[1]), b = std::stod(part[2]);
  const double d = std::stod(part[3]), e = std::stod(part[4]);
  std::vector<double> v = c.input(name).to_vector<double>();
  for (size_t i = 0; i + 3 < v.size(); i += 4) {
    for (size_t k = i; k < i + 2; ++k) {
      const double centre = v[k] * a + b, size = (v[k + 2] + d) * e;
      v[k] = centre - size / 2;
      v[k + 2] = centre + size / 2;
    }
  }
  return view::to(view::to(from_vector(v, c.input(name).shape()), c.dtype()), test_device());
}

/// "index % 4".
Tensor classes(const OpCall& c, int64_t count) {
  const auto text = c.attribute<std::string>("classes");
  static const std::regex rule(R"(index % ([1-9][0-9]*))");
  std::smatch part;
  TESSERA_CHECK(ValueError, std::regex_match(text, part, rule), "unknown classes '", text, "'");
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(i % std::stoll(part[1]));
  return view::to(from_vector(out), test_device());
}

}  // namespace

void add_box_ops(OpTable& table) {
  table["nms"] = {{}, [](const OpCall& c) {
                    return nms(boxes(c, "p"), c.input("s"), c.attribute<double>("threshold"));
                  }};
  table["batched_nms"] = {{}, [](const OpCall& c) {
                            const Tensor p = boxes(c, "p");
                            return batched_nms(p, c.input("s"), classes(c, p.size(0)),
                                               c.attribute<double>("threshold"));
                          }};
  table["box_iou"] = {{}, [](const OpCall& c) { return box_iou(boxes(c, "p"), boxes(c, "q")); }};
  table["giou"] = {
      {}, [](const OpCall& c) { return generalized_box_iou(boxes(c, "p"), boxes(c, "q")); }};
  table["ciou"] = {{},
                   [](const OpCall& c) { return complete_box_iou(boxes(c, "p"), boxes(c, "q")); }};
}

}  // namespace tessera::golden
