#include "cuda/emulator/options.h"

#include <gtest/gtest.h>

#include <map>

#include "tensor/error.h"

namespace tessera::cuda::emulator {
namespace {

Options parse(const std::map<std::string, std::string>& variables) {
  return parse_options([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(EmulatorOptions, Defaults) {
  const Options o = parse({});
  EXPECT_EQ(o.order, Order::forward);
  EXPECT_TRUE(o.poison && o.host_guard && o.strict_barriers && !o.strict_exit);
  EXPECT_EQ(o.preempt, 0);
}

TEST(EmulatorOptions, Values) {
  EXPECT_EQ(parse({{"TESSERA_EMULATOR_ORDER", "forward"}}).order, Order::forward);
  EXPECT_EQ(parse({{"TESSERA_EMULATOR_ORDER", "reverse"}}).order, Order::reverse);
  EXPECT_EQ(parse({{"TESSERA_EMULATOR_ORDER", "depth_first"}}).order, Order::depth_first);
  EXPECT_EQ(parse({{"TESSERA_EMULATOR_ORDER", "random"}}).order, Order::random);
  const Options o = parse({{"TESSERA_EMULATOR_ORDER", "random:77"},
                           {"TESSERA_EMULATOR_POISON", "off"},
                           {"TESSERA_EMULATOR_HOST_GUARD", "off"},
                           {"TESSERA_EMULATOR_STRICT_BARRIERS", "off"},
                           {"TESSERA_EMULATOR_STRICT_EXIT", "on"},
                           {"TESSERA_EMULATOR_PREEMPT", "0.25"}});
  EXPECT_EQ(o.order, Order::random);
  EXPECT_EQ(o.seed, 77u);
  EXPECT_TRUE(!o.poison && !o.host_guard && !o.strict_barriers && o.strict_exit);
  EXPECT_EQ(o.preempt, 0.25);
}

TEST(EmulatorOptions, BadValuesAreNamed) {
  const std::pair<const char*, const char*> bad[] = {
      {"TESSERA_EMULATOR_ORDER", "sideways"}, {"TESSERA_EMULATOR_ORDER", "random:"},
      {"TESSERA_EMULATOR_ORDER", "random:x"}, {"TESSERA_EMULATOR_ORDER", "random:1 "},
      {"TESSERA_EMULATOR_POISON", "yes"},     {"TESSERA_EMULATOR_STRICT_EXIT", ""},
      {"TESSERA_EMULATOR_PREEMPT", "2"},      {"TESSERA_EMULATOR_PREEMPT", "often"}};
  for (const auto& [name, value] : bad) {
    try {
      parse({{name, value}});
      ADD_FAILURE() << name << "=" << value << " was taken";
    } catch (const ValueError& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(std::string("'") + value + "'"), std::string::npos)
          << e.what();
    }
  }
}

}  // namespace
}  // namespace tessera::cuda::emulator
