#include "apps/common/report.h"

#include <algorithm>

#include "apps/common/text.h"

namespace tessera::apps {
namespace {

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1f2937;
  --muted: #667085; --line: #e3e6eb; --accent: #2a6dd5; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171c; --card: #1d2128; --ink: #e6e9ee; --muted: #98a2b3; --line: #2f353f;
    --accent: #6ea3f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 32px 20px 48px; }
header { border-left: 5px solid var(--accent); padding-left: 16px; margin-bottom: 28px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; }
header p { margin: 6px 0 0; color: var(--muted); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 20px 24px; margin: 0 0 20px; }
h2 { font-size: 18px; margin: 0 0 12px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px;
  margin: 12px 0; }
.figure { border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.figure b { display: block; font-size: 26px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.figure span, .figure small { color: var(--muted); }
.figure small { display: block; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 18px 6px 0; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 600; }
.r { text-align: right; }
pre { overflow-x: auto; background: var(--page); border: 1px solid var(--line);
  border-radius: 8px; padding: 12px 14px; font-size: 13px; }
.plots > :only-child { max-width: 640px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 16px; margin: 12px 0; }
svg { width: 100%; height: auto; }
figure { margin: 16px 0; }
figure img { max-width: 100%; height: auto; border-radius: 8px; border: 1px solid var(--line);
  display: block; }
figcaption { color: var(--muted); margin-bottom: 8px; }
footer { color: var(--muted); font-size: 13px; white-space: pre-line; }
)css";

}  // namespace

Report::Report(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void Report::close_plots() {
  if (in_plots_) body_ += "</div>\n";
  in_plots_ = false;
}

Report& Report::section(std::string_view title) {
  close_plots();
  if (in_section_) body_ += "</section>\n";
  body_ += cat("<section>\n<h2>", escape_html(title), "</h2>\n");
  in_section_ = true;
  return *this;
}

Report& Report::paragraph(std::string_view text) {
  close_plots();
  body_ += cat("<p>", escape_html(text), "</p>\n");
  return *this;
}

Report& Report::code(std::string_view text) {
  close_plots();
  body_ += cat("<pre>", escape_html(text), "</pre>\n");
  return *this;
}

Report& Report::figures(const std::vector<Figure>& figures) {
  close_plots();
  body_ += "<div class=\"figures\">\n";
  for (const Figure& f : figures) {
    body_ += cat("<div class=\"figure\"><span>", escape_html(f.label), "</span><b>",
                 escape_html(f.value), "</b>");
    if (!f.note.empty()) body_ += cat("<small>", escape_html(f.note), "</small>");
    body_ += "</div>\n";
  }
  body_ += "</div>\n";
  return *this;
}

Report& Report::table(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows,
                      const std::vector<Align>& align) {
  close_plots();
  const auto cell = [&](const char* tag, size_t column, const std::string& text) {
    const bool right = column < align.size() && align[column] == Align::kRight;
    body_ += cat("<", tag, right ? " class=\"r\">" : ">", escape_html(text), "</", tag, ">");
  };
  body_ += "<div class=\"scroll\"><table>\n<tr>";
  for (size_t i = 0; i < header.size(); ++i) cell("th", i, header[i]);
  body_ += "</tr>\n";
  for (const auto& row : rows) {
    TESSERA_CHECK(ValueError, row.size() == header.size(), "report: a table row has ", row.size(),
                  " cells, the header ", header.size());
    body_ += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) cell("td", i, row[i]);
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
  return *this;
}

Report& Report::plot(const Plot& plot) {
  const std::string svg = plot_svg(plot);
  if (!in_plots_) body_ += "<div class=\"plots\">\n";
  in_plots_ = true;
  body_ += svg;
  return *this;
}

Report& Report::image(std::span<const uint8_t> encoded, std::string_view mime,
                      std::string_view caption, std::string_view alt) {
  const bool plain = std::all_of(mime.begin(), mime.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || c == '/' || c == '+' || c == '-';
  });
  TESSERA_CHECK(ValueError, !encoded.empty() && !mime.empty() && plain,
                "report: an image needs data and a mime type like image/png, got '", mime, "'");
  close_plots();
  body_ += "<figure>";
  if (!caption.empty()) body_ += cat("<figcaption>", escape_html(caption), "</figcaption>");
  body_ += cat("<img alt=\"", escape_html(alt.empty() ? caption : alt), "\" src=\"data:", mime,
               ";base64,", base64(encoded), "\"></figure>\n");
  return *this;
}

Report& Report::footer(std::string_view text) {
  footer_ = text;
  return *this;
}

std::string Report::html() const {
  std::string page =
      cat("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          escape_html(title_), "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n<main>\n",
          "<header><h1>", escape_html(title_), "</h1>");
  if (!subtitle_.empty()) page += cat("<p>", escape_html(subtitle_), "</p>");
  page += "</header>\n";
  page += body_;
  if (in_plots_) page += "</div>\n";
  if (in_section_) page += "</section>\n";
  if (!footer_.empty()) page += cat("<footer>", escape_html(footer_), "</footer>\n");
  page += "</main>\n</body>\n</html>\n";
  return page;
}

}  // namespace tessera::apps
