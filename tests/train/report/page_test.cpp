#include "train/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/base/error.h"
#include "tests/train/report/markup.h"
#include "train/data/png.h"

namespace mono::report {
namespace {

using test::Element;
using test::parse_markup;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "<script>alert(1)</script><img src=x onerror=\"alert(1)\"> & '";

// A page with this text wherever text goes.
Page full_page(const std::string& text) {
  Page page(text);
  page.badge(text, Badge::caution);
  page.lead(text);
  page.section(text);
  page.paragraph(text);
  page.subsection(text);
  page.note(text);
  page.list({text, text});
  page.definitions({{text, text}});
  page.code(text);
  page.code(text, text);
  const Table table{.caption = text,
                    .columns = {{text, false}, {text, true}},
                    .rows = {{text, Cell(text, Tone::outside)}}};
  page.table(table);
  page.folded_table(table);
  page.figure(LineChart{.title = text, .series = {{.name = text, .x = {1, 2}, .y = {1, 2}}}}, text);
  const uint8_t pixels[] = {1, 2, 3, 4};
  page.image(encode_png({2, 2, 1}, pixels), text, text, 100);
  page.section("End");
  return page;
}

TEST(Pages, AreWellFormedAndLoadNothing) {
  const std::string html = full_page("words").html();
  test::show_to_browser("every_element", html);
  const Element root = parse_markup(html);
  EXPECT_EQ(root.name, "html");
  EXPECT_EQ(root.attribute("lang"), "en");
  EXPECT_EQ(root.all("title").front()->text, "words");
  std::string policy;
  for (const Element* meta : root.all("meta"))
    if (meta->attribute("http-equiv") == "Content-Security-Policy")
      policy = meta->attribute("content");
  EXPECT_EQ(policy, "default-src 'none'; style-src 'unsafe-inline'; img-src data:");
  std::set<std::string> ids;
  root.each([&](const Element& element) {
    EXPECT_NE(element.name, "script");
    EXPECT_NE(element.name, "link");
    EXPECT_NE(element.name, "iframe");
    for (const auto& [key, value] : element.attributes) {
      EXPECT_FALSE(key.starts_with("on")) << key;
      EXPECT_TRUE(key != "href" || value.starts_with("#")) << value;
      EXPECT_TRUE(key != "src" || value.starts_with("data:image/png;base64,"));
      EXPECT_TRUE(key != "id" || ids.insert(value).second) << value << " twice";
      EXPECT_NE(key, "style");
    }
  });
  EXPECT_THAT(html, Not(HasSubstr("url(")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
}

TEST(Pages, TextStaysText) {
  const Element root = parse_markup(full_page(kHostile).html());
  EXPECT_TRUE(root.all("script").empty());
  EXPECT_EQ(root.all("img").size(), 1u);
  EXPECT_EQ(root.all("img").front()->attribute("alt"), kHostile);
  EXPECT_EQ(root.all("h1").front()->text, kHostile);
  EXPECT_EQ(root.all("dd").front()->text, kHostile);
  EXPECT_EQ(root.all("code").front()->text, kHostile);
  EXPECT_EQ(root.all("caption").front()->text, kHostile);
}

TEST(Pages, CanBeReadAloud) {
  const Element root = parse_markup(full_page("words").html());
  int level = 0;
  root.each([&](const Element& element) {
    if (element.name.size() != 2 || element.name[0] != 'h' || element.name == "hr") return;
    const int now = element.name[1] - '0';
    EXPECT_LE(now, level + 1) << "a heading is skipped";
    level = now;
  });
  for (const Element* table : root.all("table"))
    for (const Element* head : table->all("th")) {
      EXPECT_FALSE(head->attribute("scope").empty());
      EXPECT_FALSE(head->text.empty());
    }
  // Every entry of the contents leads somewhere.
  std::set<std::string> ids;
  root.each([&](const Element& element) { ids.insert(element.attribute("id")); });
  for (const Element* link : root.all("a"))
    EXPECT_TRUE(ids.contains(link->attribute("href").substr(1)));
  EXPECT_EQ(root.all("main").size(), 1u);
}

TEST(Pages, NumbersAreAlignedAndMarked) {
  Page page("t");
  page.table({.columns = {{"method"}, {"ours", true}, {"difference", true}},
              .rows = {{"a", Cell("1.0", Tone::strong), Cell("+0.1", Tone::inside)},
                       {"b", "2.0", Cell("+9.0", Tone::outside)}}});
  const Element root = parse_markup(page.html());
  const auto cells = root.all("td");
  EXPECT_EQ(cells[0]->attribute("class"), "num strong");
  EXPECT_EQ(cells[1]->attribute("class"), "num inside");
  EXPECT_EQ(cells[1]->children.at(0).text, "✓");
  EXPECT_EQ(cells[3]->children.at(0).text, "✗");
  EXPECT_EQ(root.all("th")[3]->attribute("scope"), "row");
}

TEST(Pages, FaultsOfTheCallerAreFound) {
  Page page("t");
  EXPECT_THROW(page.subsection("before any section"), Error);
  EXPECT_THROW(page.table({.columns = {{"a"}}, .rows = {{"1", "2"}}}), Error);
  const uint8_t gif[] = {'G', 'I', 'F', '8', '9', 'a', 0, 0, 0};
  EXPECT_THROW(page.image(gif, "alt", ""), Error);
}

TEST(Pages, AnEmptyOneIsAPageToo) {
  const Element root = parse_markup(Page("").html());
  EXPECT_TRUE(root.all("nav").empty());
}

TEST(Pages, TwentyThousandPointsAreASmallPage) {
  Scatter chart{.title = "20,000 points"};
  for (int g = 0; g < 8; ++g) {
    Points points{.name = "batch " + std::to_string(g)};
    for (int i = 0; i < 2500; ++i) {
      points.x.push_back(std::sin(static_cast<float>(i * (g + 1))) + static_cast<float>(g));
      points.y.push_back(std::cos(static_cast<float>(i * i % 1009)));
    }
    chart.groups.push_back(std::move(points));
  }
  chart.inset = Inset{"a part", 1, 2, 0, 1, {}};
  Page page("Many points");
  page.section("Points");
  page.figure(chart, "Each is a dot of one path.");
  const std::string html = page.html();
  test::show_to_browser("twenty_thousand_points", html);
  EXPECT_LT(html.size(), 1'000'000u);
  EXPECT_LT(parse_markup(html).all("path").size(), 100u);
}

TEST(Base64, AsInTheStandard) {
  const auto of = [](const std::string& text) {
    return base64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  EXPECT_EQ(of(""), "");  // RFC 4648, section 10
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
  EXPECT_EQ(of("\xff\xfe\xfd"), "//79");
}

}  // namespace
}  // namespace mono::report
