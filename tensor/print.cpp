#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ostream>

#include "tensor/tensor.h"
#include "tensor/view.h"

namespace tessera {
namespace {

constexpr int64_t kSummarizeAbove = 1000;
constexpr int64_t kEdgeItems = 3;
constexpr size_t kLineWidth = 75;

struct Number {
  double value;
  int digits;    // the fewest significant ones that read back as the same value of its dtype
  int exponent;  // decimal, of the first digit
};

bool same_value(double a, double b, DType dtype) {
  if (dtype == DType::f32) return static_cast<float>(a) == static_cast<float>(b);
  if (dtype == DType::f16)
    return Half(static_cast<float>(a)).bits == Half(static_cast<float>(b)).bits;
  if (dtype == DType::bf16)
    return BFloat16(static_cast<float>(a)).bits == BFloat16(static_cast<float>(b)).bits;
  return a == b;
}

Number measure(double v, DType dtype) {
  if (!std::isfinite(v)) return {v, 0, 0};
  char buffer[32];
  Number out{v, 1, 0};
  for (; out.digits <= 17; ++out.digits) {
    std::snprintf(buffer, sizeof buffer, "%.*e", out.digits - 1, v);
    if (same_value(std::strtod(buffer, nullptr), v, dtype)) break;
  }
  out.exponent = std::atoi(std::strchr(buffer, 'e') + 1);
  return out;
}

// NumPy's rule: plain decimals, or scientific for a wide range; at most eight digits after the
// point; the points stand below each other.
std::vector<std::string> float_texts(const std::vector<double>& values, DType dtype) {
  std::vector<Number> numbers;
  double largest = 0, smallest = INFINITY;
  for (double v : values) {
    numbers.push_back(measure(v, dtype));
    if (!std::isfinite(v) || v == 0) continue;
    largest = std::max(largest, std::abs(v));
    smallest = std::min(smallest, std::abs(v));
  }
  const bool scientific =
      largest > 0 && (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1000);
  const auto decimals = [&](const Number& n) {
    const int wanted = std::clamp(n.digits - 1 - (scientific ? 0 : n.exponent), 0, 8);
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, scientific ? "%#.*e" : "%#.*f", wanted, n.value);
    const char* point = std::strchr(buffer, '.');
    int used = wanted;  // cut at eight, it may end in zeros
    while (used > 0 && point[used] == '0') --used;
    return used;
  };
  int most = 0;
  for (const Number& n : numbers)
    if (std::isfinite(n.value)) most = std::max(most, decimals(n));
  std::vector<std::string> texts;
  for (const Number& n : numbers) {
    char buffer[64];
    if (std::isnan(n.value)) {
      texts.push_back("nan");
    } else if (std::isinf(n.value)) {
      texts.push_back(n.value > 0 ? "inf" : "-inf");
    } else if (scientific) {
      std::snprintf(buffer, sizeof buffer, "%#.*e", most, n.value);
      texts.push_back(buffer);
    } else {
      std::snprintf(buffer, sizeof buffer, "%#.*f", decimals(n), n.value);
      texts.push_back(buffer + std::string(static_cast<size_t>(most - decimals(n)), ' '));
    }
  }
  return texts;
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

// The elements that are printed, in order.
template <class T>
void collect(const Tensor& t, bool summarize, std::vector<T>& values) {
  if (t.rank() == 0) {
    values.push_back(t.item<T>());
    return;
  }
  if (!summarize) {
    values = t.to_vector<T>();
    return;
  }
  for (int64_t i : shown(t.size(0), true))
    if (i >= 0) collect(view::select(t, 0, i), true, values);
}

std::vector<std::string> texts_of(const Tensor& t, bool summarize) {
  if (is_floating(t.dtype())) {
    std::vector<double> values;
    collect(t, summarize, values);
    return float_texts(values, t.dtype());
  }
  std::vector<int64_t> values;
  collect(t, summarize, values);
  std::vector<std::string> texts;
  for (int64_t v : values)
    texts.push_back(t.dtype() == DType::boolean ? (v ? "True" : "False") : std::to_string(v));
  return texts;
}

struct Printer {
  bool summarize;
  std::vector<std::string> texts;
  size_t width = 0;  // of the longest
  std::string out{};
  size_t next = 0;

  std::string element() {
    const std::string& text = texts[next++];
    return std::string(width - text.size(), ' ') + text;
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
  const bool summarize = host.numel() > kSummarizeAbove;
  std::string out = "tensor(";
  if (host.numel() == 0) {
    out += "[]";
  } else {
    Printer printer{summarize, texts_of(host, summarize)};
    if (host.dtype() == DType::boolean && host.rank() > 0) printer.width = 5;
    for (const std::string& text : printer.texts)
      printer.width = std::max(printer.width, text.size());
    printer.print(host.shape(), 0, 7);
    out += printer.out;
  }
  if (host.numel() == 0 || summarize) out += cat(", shape=", to_string(host.shape()));
  if (host.dtype() != DType::f32) out += cat(", dtype=", to_string(host.dtype()));
  if (!tensor.device().is_cpu()) out += cat(", device=", to_string(tensor.device()));
  return out + ")";
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << to_string(tensor);
}

}  // namespace tessera
