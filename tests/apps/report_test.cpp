#include "apps/common/report.h"

#include <gtest/gtest.h>

namespace tessera::apps {
namespace {

const std::vector<uint8_t> kFoobar{'f', 'o', 'o', 'b', 'a', 'r'};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t count(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

Report full_report() {
  Report report("Title <1>", "sub & title");
  report.section("Key <figures>")
      .figures({{"Rank@1", "95 %", "before: <30 %"}, {"mAP", "80 %", ""}});
  Plot plot;
  plot.series = {{.name = "a", .x = {0, 1}, .y = {1, 2}}};
  report.section("Curves").plot(plot).plot(plot);
  report.table({"epoch", "loss"}, {{"1", "<script>alert(1)</script>"}},
               {Report::Align::kLeft, Report::Align::kRight});
  report.section("Pictures").image(kFoobar, "image/png", "ten \"queries\"");
  report.code("tessera --x <y>").footer("v1 & co");
  return report;
}

TEST(Report, PartsAppearInOrderAndEscaped) {
  const std::string html = full_report().html();
  const char* parts[] = {"<title>Title &lt;1&gt;</title>",
                         "<h1>Title &lt;1&gt;</h1>",
                         "sub &amp; title",
                         "Key &lt;figures&gt;",
                         "95 %",
                         "before: &lt;30 %",
                         "<h2>Curves</h2>",
                         "<svg ",
                         "<th>epoch</th>",
                         "<th class=\"r\">loss</th>",
                         "&lt;script&gt;",
                         "<h2>Pictures</h2>",
                         "ten &quot;queries&quot;",
                         "src=\"data:image/png;base64,Zm9vYmFy\"",
                         "tessera --x &lt;y&gt;",
                         "v1 &amp; co",
                         "</html>"};
  size_t at = 0;
  for (const char* part : parts) {
    const size_t found = html.find(part, at);
    ASSERT_NE(found, std::string::npos) << part;
    at = found;
  }
  EXPECT_FALSE(contains(html, "<script"));
}

TEST(Report, TagsAreBalancedWhateverTheOrder) {
  Report plots_last("t");
  Plot plot;
  plots_last.section("a").plot(plot);
  Report bare("t");
  bare.paragraph("p");
  for (const std::string& html : {full_report().html(), plots_last.html(), bare.html()}) {
    for (const std::string tag :
         {"section", "div", "table", "tr", "figure", "svg", "main", "pre"}) {
      EXPECT_EQ(count(html, "<" + tag + ">") + count(html, "<" + tag + " "),
                count(html, "</" + tag + ">"))
          << tag;
    }
  }
}

TEST(Report, IsSelfContained) {
  const std::string html = full_report().html();
  EXPECT_FALSE(contains(html, "<link"));
  EXPECT_FALSE(contains(html, "@import"));
  EXPECT_FALSE(contains(html, "url("));
  // The only address is the name space of SVG.
  EXPECT_EQ(count(html, "http"), count(html, "http://www.w3.org/2000/svg"));
  EXPECT_TRUE(contains(html, "prefers-color-scheme: dark"));
}

TEST(Report, Errors) {
  Report report("t");
  EXPECT_THROW(report.table({"a", "b"}, {{"1"}}), ValueError);
  EXPECT_THROW(report.image({}, "image/png"), ValueError);
  EXPECT_THROW(report.image(kFoobar, "image/png\" onload=\"y"), ValueError);
}

}  // namespace
}  // namespace tessera::apps
