#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/common/plot.h"

namespace tessera::apps {

/// Builds one self-contained HTML page: no scripts, no external resources, light or dark after the
/// reader's setting. All text passed in is escaped. Parts appear in the order of the calls.
class Report {
 public:
  /// A number to show large: "Rank@1", "95.3 %", "untrained: 31.2 %".
  struct Figure {
    std::string label, value, note;
  };
  /// How a table column is set.
  enum class Align { kLeft, kRight };

  explicit Report(std::string title, std::string subtitle = "");

  /// A heading; the parts that follow belong to it.
  Report& section(std::string_view title);
  Report& paragraph(std::string_view text);
  /// Preformatted text, for instance the command that made the report.
  Report& code(std::string_view text);
  /// A row of key figures.
  Report& figures(const std::vector<Figure>& figures);
  /// `align` is per column; missing entries are left-aligned. Throws ValueError where a row's
  /// length differs from the header's.
  Report& table(const std::vector<std::string>& header,
                const std::vector<std::vector<std::string>>& rows,
                const std::vector<Align>& align = {});
  /// Consecutive plots stand side by side where the page is wide enough.
  Report& plot(const Plot& plot);
  /// An image already encoded as `mime` (image/png, image/jpeg, ...), embedded in the page.
  /// Throws ValueError for an empty image or a mime type with other than letters, '/', '+', '-'.
  Report& image(std::span<const uint8_t> encoded, std::string_view mime,
                std::string_view caption = "", std::string_view alt = "");
  /// Small print at the end: version, date, machine.
  Report& footer(std::string_view text);

  /// The whole page.
  std::string html() const;

 private:
  void close_plots();

  std::string title_, subtitle_, body_, footer_;
  bool in_section_ = false, in_plots_ = false;
};

}  // namespace tessera::apps
