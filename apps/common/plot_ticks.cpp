#include <algorithm>
#include <cmath>

#include "apps/common/plot.h"
#include "apps/common/text.h"

namespace tessera::apps {

std::vector<double> nice_ticks(double low, double high, int most) {
  TESSERA_CHECK(ValueError, std::isfinite(low) && std::isfinite(high) && low < high && most >= 2,
                "ticks: need low < high and at least 2 ticks, got ", low, " .. ", high, ", ", most);
  // The smallest round step that gives no more than `most` ticks.
  double power = std::pow(10.0, std::floor(std::log10((high - low) / most)));
  for (;; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double step = power * factor, slack = step * 1e-9;
      const double first = std::ceil((low - slack) / step),
                   last = std::floor((high + slack) / step);
      if (last - first + 1 > most) continue;
      std::vector<double> ticks;
      for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0.0 : i * step);
      if (ticks.size() < 2) return {low, high};
      return ticks;
    }
  }
}

std::vector<double> log_ticks(double low, double high) {
  TESSERA_CHECK(ValueError, low > 0 && low < high && std::isfinite(high),
                "ticks: a logarithmic axis needs 0 < low < high, got ", low, " .. ", high);
  const auto collect = [&](std::initializer_list<double> factors) {
    std::vector<double> ticks;
    for (double e = std::floor(std::log10(low)); e <= std::ceil(std::log10(high)); ++e) {
      for (const double factor : factors) {
        const double value = factor * std::pow(10.0, e);
        if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) ticks.push_back(value);
      }
    }
    return ticks;
  };
  std::vector<double> ticks = collect({1});
  if (ticks.size() < 3) ticks = collect({1, 2, 5});
  if (ticks.size() < 2) return nice_ticks(low, high, 4);
  // Many decades: keep every second, third, ... one.
  const size_t keep = (ticks.size() + 7) / 8;
  std::vector<double> thinned;
  for (size_t i = 0; i < ticks.size(); i += keep) thinned.push_back(ticks[i]);
  return thinned;
}

std::string tick_label(double value, double step) {
  if (value == 0) return "0";
  const double size = std::max(std::abs(value), std::abs(step));
  if (size >= 1e6 || size < 1e-4) {
    // Mantissa with the digits the step needs, trailing zeros dropped.
    auto exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    const double mantissa = value / std::pow(10.0, exponent);
    std::string text = format_fixed(mantissa, 2);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return cat(text, "e", exponent);
  }
  const double digits = std::floor(std::log10(std::max(std::abs(step), 1e-9)) + 1e-9);
  return format_fixed(value, std::clamp(static_cast<int>(-digits), 0, 8));
}

}  // namespace tessera::apps
