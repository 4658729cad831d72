#include "train/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kernels/base/error.h"

namespace mono {
namespace {

using ::testing::HasSubstr;

void expect_refused(const std::string& message, const std::function<void()>& read) {
  try {
    read();
    ADD_FAILURE() << "accepted, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(Json, WritesAndReadsBack) {
  Json json = Json::object();
  json["step"] = 12;
  json["loss"] = 0.1;
  json["text"] = "a\"b\\c\n\x01 \xC3\xA9";
  json["none"] = nullptr;
  json["bad"] = std::nan("");
  json["list"] = std::vector<int>{1, 2};
  json["seed"] = uint64_t{18446744073709551615u};
  json["inner"]["yes"] = true;
  json["step"] = 13;  // replaced in place
  EXPECT_EQ(
      json.line(),
      "{\"step\": 13, \"loss\": 0.1, \"text\": \"a\\\"b\\\\c\\u000a\\u0001 \xC3\xA9\", \"none\": "
      "null, \"bad\": null, \"list\": [1, 2], \"seed\": 18446744073709551615, \"inner\": "
      "{\"yes\": true}}");
  const JsonView read = parse_json(json.text(), "x.json");
  EXPECT_EQ(read["step"].integer(), 13);
  EXPECT_EQ(read["loss"].number(), 0.1);
  EXPECT_EQ(read["text"].string(), "a\"b\\c\n\x01 \xC3\xA9");
  EXPECT_TRUE(read["none"].is_null());
  EXPECT_FALSE(read.find("none").has_value());
  EXPECT_FALSE(read.find("absent").has_value());
  EXPECT_EQ(read["list"].array()[1].integer(), 2);
  EXPECT_EQ(read["seed"].unsigned_integer(), 18446744073709551615u);
  EXPECT_TRUE(read["inner"]["yes"].boolean());
  EXPECT_EQ(read.members().size(), 8u);
}

TEST(Json, DoublesSurviveBitForBit) {
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e21}) {
    Json json = Json::object();
    json["x"] = value;
    const double read = parse_json(json.line(), "x")["x"].number();
    EXPECT_EQ(read, value);
  }
}

TEST(Json, ReadingNamesFileAndKey) {
  const JsonView json = parse_json("{\"a\": {\"b\": [1, \"x\"]}, \"f\": 1.5}", "s.json");
  expect_refused("s.json: a.b.1: is a string, where an integer is expected",
                 [&] { json["a"]["b"].array()[1].integer(); });
  expect_refused("s.json: a: key 'c' is missing", [&] { json["a"]["c"]; });
  expect_refused("s.json: f: is a number with a fraction", [&] { json["f"].integer(); });
  expect_refused("s.json: a.b.0: 1 is out of range, 2 to 3",
                 [&] { json["a"]["b"].array()[0].integer(2, 3); });
}

TEST(Json, RefusesWhatIsNotStrict) {
  expect_refused("x: is not JSON at byte", [] { parse_json("{\"a\": }", "x"); });
  expect_refused("x: is not JSON", [] { parse_json("", "x"); });
  expect_refused("x: is not JSON", [] { parse_json("{} {}", "x"); });
  expect_refused("x: is not JSON", [] { parse_json("{\"a\": NaN}", "x"); });
  expect_refused("x: is not JSON", [] { parse_json("{\"a\": 1,}", "x"); });
  expect_refused("x: is not JSON", [] { parse_json("\"\xFF\"", "x"); });
  expect_refused("'a' appears twice", [] { parse_json("{\"a\": 1, \"a\": 2}", "x"); });
  expect_refused("64 levels", [] { parse_json(std::string(100000, '['), "x"); });
  expect_refused("1e999", [] { parse_json("[1e999]", "x"); });
  expect_refused("cannot open", [] { read_json_file("/absent.json"); });
}

TEST(Json, LinesUpToTheLastNewline) {
  std::vector<std::pair<int64_t, size_t>> rows;
  int64_t stop = 3;
  const auto take = [&](const JsonView& row, size_t end) {
    rows.emplace_back(row.integer(), end);
    return row.integer() != stop;
  };
  read_json_lines("1\n22\n3", "log", take);  // a row that is being written
  EXPECT_EQ(rows, (std::vector<std::pair<int64_t, size_t>>{{1, 2}, {22, 5}}));
  rows.clear();
  read_json_lines("1\n3\n{broken\n", "log", take);  // never looked at
  EXPECT_EQ(rows, (std::vector<std::pair<int64_t, size_t>>{{1, 2}, {3, 4}}));
  stop = 0;
  expect_refused("log:3: is not JSON", [&] { read_json_lines("1\n3\n{broken\n", "log", take); });
  expect_refused("log:12: is not JSON", [&] { read_json_lines("1\n\n", "log", take, 11); });
}

TEST(Json, ValuesAsText) {
  EXPECT_EQ(Json(0.1).line(), "0.1");
  EXPECT_EQ(Json(1e300).line(), "1e+300");
  EXPECT_EQ(Json(UINT64_MAX).line(), "18446744073709551615");
  EXPECT_EQ(Json(std::nan("")).line(), "null");
  EXPECT_EQ(Json("a\"b\\c\n\x01\x7f</script>").line(),
            "\"a\\\"b\\\\c\\u000a\\u0001\\u007f</script>\"");
  EXPECT_EQ(Json("\xC3\xA9\xF0\x9F\x94\xAC").line(), "\"\xC3\xA9\xF0\x9F\x94\xAC\"");
  for (const char* bad : {"\xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80"})
    EXPECT_NE(Json(bad).line().find("\xEF\xBF\xBD"), std::string::npos);
}

}  // namespace
}  // namespace mono
