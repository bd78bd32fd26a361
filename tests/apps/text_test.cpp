#include "apps/common/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::apps {
namespace {

TEST(EscapeHtml, SpecialAndControlCharacters) {
  EXPECT_EQ(escape_html("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(escape_html(std::string("x\0y\x1bz\x7f\n\t", 8)), "x y z \n\t");
  EXPECT_EQ(escape_html("gr\xc3\xbc n"), "gr\xc3\xbc n");
}

TEST(FormatDuration, Ranges) {
  EXPECT_EQ(format_duration(0), "0.0 s");
  EXPECT_EQ(format_duration(0.44), "0.4 s");
  EXPECT_EQ(format_duration(9.94), "9.9 s");
  EXPECT_EQ(format_duration(9.96), "10 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 00 min");
  EXPECT_EQ(format_duration(2 * 3600 + 7 * 60 + 29), "2 h 07 min");
  EXPECT_EQ(format_duration(24 * 3600 - 1), "1 d 0 h");
  EXPECT_EQ(format_duration(76 * 3600), "3 d 4 h");
  EXPECT_EQ(format_duration(-1), "-");
  EXPECT_EQ(format_duration(NAN), "-");
  EXPECT_EQ(format_duration(INFINITY), "-");
}

TEST(FormatBytes, Units) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(3.5 * 1024 * 1024 * 1024), "3.5 GiB");
}

TEST(FormatFixed, DigitsAndNan) {
  EXPECT_EQ(format_fixed(0.125, 2), "0.12");
  EXPECT_EQ(format_fixed(-3, 0), "-3");
  EXPECT_EQ(format_fixed(NAN, 2), "-");
}

TEST(Base64, VectorsOfTheStandard) {
  const auto encode = [](const std::string& text) {
    return base64(std::vector<uint8_t>(text.begin(), text.end()));
  };
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode(std::string("\xff\xfe\x00\x80", 4)), "//4AgA==");
}

}  // namespace
}  // namespace tessera::apps
