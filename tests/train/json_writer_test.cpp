#include "train/json_writer.h"

#include "train/hash.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace mono {
namespace {

std::string json_of(auto&& value) {
  return JsonWriter().value(value).take();
}

TEST(JsonWriter, Values) {
  EXPECT_EQ(json_of(0.1), "0.1\n");
  EXPECT_EQ(json_of(1e300), "1e+300\n");
  EXPECT_EQ(json_of(-7), "-7\n");
  EXPECT_EQ(json_of(std::numeric_limits<uint64_t>::max()), "18446744073709551615\n");
  EXPECT_EQ(json_of(true), "true\n");
  EXPECT_EQ(json_of(std::nan("")), "null\n");
  EXPECT_EQ(json_of(std::numeric_limits<double>::infinity()), "null\n");
}

TEST(JsonWriter, Strings) {
  EXPECT_EQ(json_of("a\"b\\c\n\t\x01\x7f</script>"),
            "\"a\\\"b\\\\c\\n\\u0009\\u0001\\u007f</script>\"\n");
  EXPECT_EQ(json_of("\xC3\xA9\xF0\x9F\x94\xAC"), "\"\xC3\xA9\xF0\x9F\x94\xAC\"\n");
  // Not UTF-8: a lone byte, an overlong form, a surrogate, a sequence cut off.
  for (const char* bad : {"\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xE2\x82"})
    EXPECT_NE(json_of(bad).find("\xEF\xBF\xBD"), std::string::npos);
}

TEST(JsonWriter, Nesting) {
  JsonWriter json;
  json.begin_object().field("a", 1).key("list").begin_array();
  json.begin_object().field("x", 1).field("y", "z").end_object().value(2).end_array();
  json.key("none").begin_array().end_array().end_object();
  EXPECT_EQ(json.take(),
            "{\n  \"a\": 1,\n  \"list\": [\n    {\"x\": 1, \"y\": \"z\"},\n    2\n  ],\n"
            "  \"none\": []\n}\n");
}

TEST(Hash, PiecesEqualTheWhole) {
  Hasher hasher;
  hasher.update("mono");
  hasher.update("");
  hasher.update("layer");
  EXPECT_EQ(hasher.digest(), hash64("monolayer"));
  EXPECT_EQ(hash_text(hash64("")), "2d06800538d394c2");  // XXH3-64 of nothing
}

}  // namespace
}  // namespace mono
