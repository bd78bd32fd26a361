#include "apps/common/ranking_sheet.h"

#include <algorithm>
#include <cmath>

namespace tessera::apps {
namespace {

using data::Canvas;
using data::Color;
using data::Image;
using data::Rect;
using data::TextAnchor;

/// Measures of a sheet, all derived from the size of a cell.
struct Measures {
  explicit Measures(const RankingSheetOptions& o, bool notes)
      : cell_w(o.cell_width), cell_h(o.cell_height) {
    frame = std::max(2.0, std::round(cell_w / 26.0));
    gap = std::max(4.0, std::round(cell_w / 16.0));
    text = std::clamp(std::round(cell_w / 7.0), 11.0, 22.0);
    note_text = std::clamp(std::round(cell_w / 9.0), 10.0, 14.0);
    margin = 2 * gap;
    header = std::round(text * 1.5);
    note = notes ? std::round(note_text * 1.6) : 0;
    column = cell_w + 2 * frame + gap;
    row = header + cell_h + 2 * frame + note + 1.5 * gap;
    separator = 2 * gap;  // between the query and its ranks
    title = o.title.empty() ? 0 : std::round(std::max(16.0, text) * 2.0);
  }
  double cell_w, cell_h, frame, gap, text, note_text, margin, header, note, column, row, separator,
      title;
};

void draw_cell(Canvas& canvas, const Image& image, const Measures& m, double x, double y,
               const Color& color, const std::string& heading, const std::string& note) {
  const double full_w = m.cell_w + 2 * m.frame, full_h = m.cell_h + 2 * m.frame;
  canvas.text({x + full_w / 2, y + m.header - m.text * 0.4}, heading, color,
              {.size = m.text, .weight = 1.35, .anchor = TextAnchor::kCenter});
  const double top = y + m.header;
  canvas.fill_rectangle({x, top, full_w, full_h}, color);
  const Rect inside{x + m.frame, top + m.frame, m.cell_w, m.cell_h};
  canvas.fill_rectangle(inside, {238, 240, 243});
  const double scale = std::min(m.cell_w / static_cast<double>(image.width),
                                m.cell_h / static_cast<double>(image.height));
  const double w = static_cast<double>(image.width) * scale;
  const double h = static_cast<double>(image.height) * scale;
  canvas.paste(image, {inside.x + (m.cell_w - w) / 2, inside.y + (m.cell_h - h) / 2, w, h});
  if (!note.empty()) {
    canvas.text({x + full_w / 2, top + full_h + m.note_text * 1.15}, note, data::colors::kMuted,
                {.size = m.note_text, .anchor = TextAnchor::kCenter});
  }
}

double title_size(const Measures& m) { return std::max(16.0, m.text * 1.15); }

bool any_notes(const std::vector<RankingRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const RankingRow& row) {
    return !row.note.empty() || std::any_of(row.ranked.begin(), row.ranked.end(),
                                            [](const RankedImage& r) { return !r.note.empty(); });
  });
}

}  // namespace

Image ranking_sheet(const std::vector<RankingRow>& rows, const RankingSheetOptions& options) {
  TESSERA_CHECK(ValueError, !rows.empty(), "ranking sheet: no rows");
  TESSERA_CHECK(ValueError,
                options.cell_height >= 16 && options.cell_width >= 16 && options.top >= 1,
                "ranking sheet: cells must be at least 16 x 16 and top positive, got ",
                options.cell_height, " x ", options.cell_width, " and ", options.top);
  const Measures m(options, any_notes(rows));
  const double width = 2 * m.margin + (options.top + 1) * m.column - m.gap + m.separator;
  const double height =
      m.margin * 1.5 + m.title + static_cast<double>(rows.size()) * m.row - m.gap * 0.5;
  Image sheet(static_cast<int64_t>(height), static_cast<int64_t>(width), 3, 255);
  Canvas canvas(sheet);
  if (m.title > 0) {
    canvas.text({m.margin, m.margin * 0.5 + title_size(m) * 1.1}, options.title, data::colors::kInk,
                {.size = title_size(m), .weight = 1.3});
  }
  double y = m.margin * 0.5 + m.title;
  for (const RankingRow& row : rows) {
    TESSERA_CHECK(ValueError, !row.query.empty(), "ranking sheet: a query image is empty");
    draw_cell(canvas, row.query, m, m.margin, y, data::colors::kInk, "query", row.note);
    const size_t count = std::min(row.ranked.size(), static_cast<size_t>(options.top));
    for (size_t i = 0; i < count; ++i) {
      const RankedImage& r = row.ranked[i];
      TESSERA_CHECK(ValueError, !r.image.empty(), "ranking sheet: the image at rank ", i + 1,
                    " is empty");
      const double x = m.margin + m.separator + static_cast<double>(i + 1) * m.column;
      draw_cell(canvas, r.image, m, x, y, r.correct ? data::colors::kGreen : data::colors::kRed,
                cat(i + 1), r.note);
    }
    y += m.row;
  }
  return sheet;
}

}  // namespace tessera::apps
