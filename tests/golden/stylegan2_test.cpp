#include <gtest/gtest.h>

#include "ops/conv/conv2d_resample.h"
#include "ops/image/upfirdn2d.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/pointwise/bias_act.h"
#include "tensor/view.h"
#include "tests/golden/op_run.h"

namespace tessera::golden {
namespace {

Act act_named(const std::string& name) {
  const std::map<std::string, Act> acts = {
      {"linear", Act::linear}, {"relu", Act::relu},         {"lrelu", Act::lrelu},
      {"tanh", Act::tanh},     {"sigmoid", Act::sigmoid},   {"elu", Act::elu},
      {"selu", Act::selu},     {"softplus", Act::softplus}, {"swish", Act::swish}};
  const auto it = acts.find(name);
  TESSERA_CHECK(ValueError, it != acts.end(), "unknown activation '", name, "'");
  return it->second;
}

std::optional<double> number(const OpCall& c, const std::string& name) {
  return c.has(name) ? std::optional(c.attribute<double>(name)) : std::nullopt;
}

Tensor run_bias_act(const OpCall& c) {
  Tensor x = c.input("x");
  const auto input = c.attribute<std::string>("input", "1 * x");  // "3 * x"
  size_t end = 0;
  const double scale = std::stod(input, &end);
  TESSERA_CHECK(ValueError, input.substr(end) == " * x", "unknown input '", input, "'");
  if (scale != 1) x = x * scale;
  return bias_act(x, c.optional("b"),
                  {.act = act_named(c.attribute<std::string>("act")),
                   .alpha = number(c, "alpha"),
                   .gain = number(c, "gain"),
                   .clamp = number(c, "clamp")});
}

/// One number for all sides, [x, y] or [left, right, top, bottom].
ImagePad pads(const OpCall& c) {
  const Dims p = c.dims("padding");
  if (p.rank() == 4) return {p[0], p[1], p[2], p[3]};
  TESSERA_CHECK(ValueError, p.rank() == 1 || p.rank() == 2, "padding has ", p.rank(), " numbers");
  return {p[0], p[0], p.back(), p.back()};
}

/// One number or [x, y]: width first.
Size2 factor(const OpCall& c, const std::string& name) {
  const Dims d = c.has(name) ? c.dims(name) : Dims{1};
  return {d.back(), d[0]};
}

Tensor run_upfirdn2d(const OpCall& c) {
  return upfirdn2d(c.input("x"), c.has("filter") ? c.tensor("filter", DType::f32) : Tensor(),
                   {.up = factor(c, "up"),
                    .down = factor(c, "down"),
                    .padding = pads(c),
                    .gain = c.attribute("gain", 1.0),
                    .flip_filter = c.attribute("flip", false)});
}

/// The filter that the network's layers use, or the one that the case names as a text.
Tensor network_filter(const OpCall& c) {
  const Json taps = Json::parse(c.attribute<std::string>("filter", "[1,3,3,1]"));
  return view::to(setup_filter(from_vector(taps.get<std::vector<float>>())), test_device());
}

Tensor run_conv2d_resample(const OpCall& c) {
  const Tensor w = c.input("w");
  TESSERA_CHECK(ValueError, c.attribute<int64_t>("kernel", w.size(1)) == w.size(1),
                "kernel is not the size of w");
  return conv2d_resample(c.input("x"), w, network_filter(c),
                         {.up = c.attribute<int64_t>("up", 1),
                          .down = c.attribute<int64_t>("down", 1),
                          .padding = pads(c),
                          .groups = c.attribute<int64_t>("groups", 1),
                          .flip_weight = c.attribute("flip_weight", true)});
}

Tensor run_modulated_conv2d(const OpCall& c) {
  return modulated_conv2d(c.input("x"), c.input("w"), c.input("s"), network_filter(c),
                          {.up = c.attribute<int64_t>("up", 1),
                           .down = c.attribute<int64_t>("down", 1),
                           .padding = pads(c),
                           .demodulate = c.attribute("demodulate", true),
                           .flip_weight = c.attribute("flip_weight", true)});
}

const OpTable& stylegan2_ops() {
  static const OpTable table = {{"bias_act", {{"x", "y"}, run_bias_act}},
                                {"upfirdn2d", {{"x", "y"}, run_upfirdn2d}},
                                {"conv2d_resample", {{"x", "w", "y"}, run_conv2d_resample}},
                                {"modulated_conv2d", {{"x", "w", "y"}, run_modulated_conv2d}}};
  return table;
}

/// A case's operator is the one whose name it begins with.
std::string op_of(const std::string& name) {
  for (const auto& [op, run] : stylegan2_ops())
    if (name.starts_with(op + "_")) return op;
  return name;
}

void add_op(const std::filesystem::path& folder, const std::string& salt, const std::string& name,
            Json entry) {
  for (Json& input : entry.at("inputs"))  // all are in [-1, 1)
    input = {{"shape", input}, {"lo", -1}, {"hi", 1}};
  add_test("GoldenStylegan2", name, [folder, salt, name, entry] {
    const OpCase c{name, op_of(name), salt + "op/" + name + "/", entry,
                   read_arrays(folder / ("op_" + name + ".npz"))};
    check_listing(c);
    run_case(c, stylegan2_ops(), Computed::in_f32);
  });
}

void skip(const std::string& suite_part, const std::string& name) {
  add_test("GoldenStylegan2", name, [suite_part, name] {
    GTEST_SKIP() << "stylegan2 " << suite_part << " '" << name << "' is not part of Tessera yet";
  });
}

// The listing is read in full, so that each case shows by name.
void list_cases(const std::filesystem::path& folder) {
  const Json meta = read_json(folder / "meta.json");
  const auto salt = meta.at("salt").get<std::string>();
  for (const auto& [name, entry] : meta.at("networks").items()) skip("network", name);
  for (const auto& [name, entry] : meta.at("ops").items()) add_op(folder, salt, name, entry);
  for (const auto& [name, entry] : meta.at("augment").at("groups").items())
    for (const Json& percentile : meta.at("augment").at("percentiles"))
      skip("augmentation", name + "_" + percentile.dump());
  skip("resampling", "filters");
}

[[maybe_unused]] const bool added =
    add_suite("GoldenStylegan2", golden_dir() / "stylegan2", list_cases);

}  // namespace
}  // namespace tessera::golden
