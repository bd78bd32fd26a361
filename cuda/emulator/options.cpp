#include "cuda/emulator/options.h"

#include <charconv>
#include <cstring>
#include <string_view>

#include "tensor/error.h"

namespace tessera::cuda::emulator {
namespace {

template <class T>
bool read_number(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

void read_order(const char* text, Options& out) {
  const std::string_view order = text, seeded = "random:";
  if (order == "forward") {
    out.order = Order::forward;
  } else if (order == "reverse") {
    out.order = Order::reverse;
  } else if (order == "depth_first") {
    out.order = Order::depth_first;
  } else if (order == "random") {
    out.order = Order::random;
  } else if (order.starts_with(seeded) && read_number(order.substr(seeded.size()), out.seed)) {
    out.order = Order::random;
  } else {
    throw ValueError(
        cat("TESSERA_EMULATOR_ORDER must be forward, reverse, depth_first, random or "
            "random:SEED, got '",
            text, "'"));
  }
}

}  // namespace

Options parse_options(const std::function<const char*(const char*)>& look_up) {
  Options out;
  if (const char* text = look_up("TESSERA_EMULATOR_ORDER")) read_order(text, out);
  const std::pair<const char*, bool*> switches[] = {
      {"TESSERA_EMULATOR_POISON", &out.poison},
      {"TESSERA_EMULATOR_HOST_GUARD", &out.host_guard},
      {"TESSERA_EMULATOR_STRICT_BARRIERS", &out.strict_barriers},
      {"TESSERA_EMULATOR_STRICT_EXIT", &out.strict_exit}};
  for (const auto& [name, value] : switches) {
    const char* text = look_up(name);
    if (!text) continue;
    const bool on = std::strcmp(text, "on") == 0;
    TESSERA_CHECK(ValueError, on || std::strcmp(text, "off") == 0, name,
                  " must be on or off, got '", text, "'");
    *value = on;
  }
  if (const char* text = look_up("TESSERA_EMULATOR_PREEMPT"))
    TESSERA_CHECK(ValueError,
                  read_number(text, out.preempt) && out.preempt >= 0 && out.preempt <= 1,
                  "TESSERA_EMULATOR_PREEMPT must be a number from 0 to 1, got '", text, "'");
  return out;
}

}  // namespace tessera::cuda::emulator
