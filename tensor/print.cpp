#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>

#include "tensor/tensor.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constexpr int64_t kSummarizeAbove = 1000;
constexpr int64_t kEdgeItems = 3;
constexpr size_t kLineWidth = 75;

// One format for all elements, chosen as NumPy does: plain decimals with the fewest digits (at most
// eight) that show every value, or scientific for a wide range.
struct Format {
  bool floating, scientific = false;
  int digits = 0;
  size_t width = 0;

  std::string text(double v) const {
    char buffer[64];
    if (!floating) {
      std::snprintf(buffer, sizeof buffer, "%lld", static_cast<long long>(v));
    } else if (std::isnan(v)) {
      return "nan";
    } else if (std::isinf(v)) {
      return v > 0 ? "inf" : "-inf";
    } else if (scientific) {
      std::snprintf(buffer, sizeof buffer, "%.*e", digits, v);
    } else {
      std::snprintf(buffer, sizeof buffer, "%.*f", digits, v);
      std::string plain = buffer;
      if (digits == 0) return plain + ".";
      // Zeros at the end become blanks, so that the points stand below each other.
      for (size_t i = plain.size(); plain[i - 1] == '0'; --i) plain[i - 1] = ' ';
      return plain;
    }
    return buffer;
  }
};

int decimals_needed(double v) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.8f", v);
  std::string text = buffer;
  while (text.back() == '0') text.pop_back();
  return static_cast<int>(text.size() - text.find('.') - 1);
}

Format choose_format(const std::vector<double>& values, bool floating) {
  Format format{.floating = floating};
  double largest = 0, smallest = INFINITY;
  for (double v : values) {
    if (!std::isfinite(v)) continue;
    const double a = std::abs(v);
    largest = std::max(largest, a);
    if (a > 0) smallest = std::min(smallest, a);
    if (floating) format.digits = std::max(format.digits, decimals_needed(v));
  }
  if (floating && largest > 0 &&
      (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1e3 * 1e5)) {
    format.scientific = true;
    format.digits = 8;
  }
  for (double v : values) format.width = std::max(format.width, format.text(v).size());
  return format;
}

// Indices printed along an axis; -1 stands for the ellipsis.
std::vector<int64_t> shown(int64_t size, bool summarize) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size; ++i) {
    if (summarize && size > 2 * kEdgeItems && i == kEdgeItems) {
      out.push_back(-1);
      i = size - kEdgeItems;
    }
    out.push_back(i);
  }
  return out;
}

void collect(const Tensor& t, bool summarize, std::vector<double>& values) {
  if (t.rank() == 0) {
    values.push_back(t.item());
    return;
  }
  if (!summarize) {
    values = t.to_vector<double>();
    return;
  }
  for (int64_t i : shown(t.size(0), true))
    if (i >= 0) collect(view::select(t, 0, i), true, values);
}

struct Printer {
  Format format;
  bool boolean, summarize;
  std::string out;
  std::vector<double> values;
  size_t next = 0;

  std::string element() {
    const double v = values[next++];
    std::string text = boolean ? (v != 0 ? "True" : "False") : format.text(v);
    const size_t width = boolean ? 5 : format.width;
    return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
  }

  void print(const Shape& shape, int axis, size_t indent) {
    if (axis == shape.rank()) {
      out += element();
      return;
    }
    out += '[';
    const bool innermost = axis == shape.rank() - 1;
    size_t column = indent + 1;
    bool first = true;
    for (int64_t i : shown(shape[axis], summarize)) {
      if (innermost) {
        const std::string text = i < 0 ? "..." : element();
        if (!first && column + text.size() + 1 > kLineWidth) {
          out += '\n' + std::string(indent + 1, ' ');
          column = indent + 1;
        } else if (!first) {
          out += ' ';
        }
        out += text;
        column += text.size() + 1;
      } else {
        if (!first)
          out += std::string(static_cast<size_t>(shape.rank() - axis - 1), '\n') +
                 std::string(indent + 1, ' ');
        if (i < 0)
          out += "...";
        else
          print(shape, axis + 1, indent + 1);
      }
      first = false;
    }
    out += ']';
  }
};

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "tensor(undefined)";
  const Tensor host = view::to(tensor.detach(), kCpu);
  Printer printer;
  printer.summarize = host.numel() > kSummarizeAbove;
  if (host.numel() > 0) collect(host, printer.summarize, printer.values);
  printer.boolean = host.dtype() == DType::boolean;
  printer.format = choose_format(printer.values, is_floating(host.dtype()));
  printer.print(host.shape(), 0, 7);
  std::string out = "tensor(" + printer.out;
  if (host.numel() == 0 || printer.summarize) out += cat(", shape=", to_string(host.shape()));
  if (host.dtype() != DType::f32) out += cat(", dtype=", to_string(host.dtype()));
  if (!tensor.device().is_cpu()) out += cat(", device=", to_string(tensor.device()));
  return out + ")";
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << to_string(tensor);
}

}  // namespace tessera
