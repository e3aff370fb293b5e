// JSON: what is accepted, what is refused and where, exact numbers, typed look-ups at their limits.
#include "model/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>

#include "support/temporary_folder.h"

namespace textvec::model {
namespace {

std::string nested(std::size_t depth, const char* open, const char* close) {
  std::string text;
  for (std::size_t level = 0; level < depth; ++level) text += open;
  text += "1";
  for (std::size_t level = 0; level < depth; ++level) text += close;
  return text;
}

void expect_refused(std::string_view text) {
  const auto json = parse_json(text, "line 7");
  ASSERT_FALSE(json) << text;
  EXPECT_EQ(json.error().code, ErrorCode::BadModel) << text;
  EXPECT_EQ(json.error().message.rfind("line 7 ", 0), 0U) << json.error().message;
  EXPECT_NE(json.error().message.find(" at byte "), std::string::npos) << json.error().message;
}

TEST(ParseJson, KeepsEveryKindOfValue) {
  const auto json =
      parse_json(R"( {"n":null,"b":true,"i":-5,"d":2.5,"s":"x","a":[1,[]],"o":{"k":{}}} )", "t");
  ASSERT_TRUE(json) << json.error().message;
  const auto& object = json->object();
  ASSERT_EQ(object.size(), 7U);
  EXPECT_TRUE(object.at("n").is(Json::Kind::Null));
  EXPECT_TRUE(object.at("b").boolean());
  EXPECT_EQ(object.at("i").integer(), -5);
  EXPECT_EQ(object.at("i").number(), -5.0);
  EXPECT_EQ(object.at("d").number(), 2.5);
  EXPECT_EQ(object.at("s").string(), "x");
  ASSERT_EQ(object.at("a").array().size(), 2U);
  EXPECT_EQ(object.at("a").array()[0].integer(), 1);
  EXPECT_TRUE(object.at("a").array()[1].array().empty());
  EXPECT_TRUE(object.at("o").object().at("k").object().empty());
}

TEST(ParseJson, TakesAScalarAsTheWholeText) {
  EXPECT_EQ(parse_json("7", "t")->integer(), 7);
  EXPECT_EQ(parse_json("\"\"", "t")->string(), "");
  EXPECT_TRUE(parse_json("null", "t")->is(Json::Kind::Null));
}

TEST(ParseJson, FindsMembersThatAreNotNull) {
  const auto json = parse_json(R"({"a":1,"n":null})", "t");
  ASSERT_TRUE(json);
  ASSERT_NE(json->find("a"), nullptr);
  EXPECT_EQ(json->find("a")->integer(), 1);
  EXPECT_EQ(json->find("n"), nullptr);
  EXPECT_EQ(json->find("b"), nullptr);
  EXPECT_EQ(json->find("a")->find("a"), nullptr);
}

TEST(ParseJson, LetsTheLastOfARepeatedKeyWin) {
  EXPECT_EQ(parse_json(R"({"a":1,"b":2,"a":3})", "t")->find("a")->integer(), 3);
}

TEST(ParseJson, GoesThirtyTwoLevelsDeep) {
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair("{\"a\":", "}")}) {
    EXPECT_TRUE(parse_json(nested(31, open, close), "t"));
    EXPECT_TRUE(parse_json(nested(32, open, close), "t"));
    expect_refused(nested(33, open, close));
    expect_refused(nested(100'000, open, close));
  }
}

TEST(ParseJson, LimitsTheNumberOfValues) {
  constexpr std::size_t kMax = std::size_t{1} << 22;
  std::string text = "[0";
  for (std::size_t count = 2; count < kMax; ++count) text += ",0";  // the list itself is one
  EXPECT_TRUE(parse_json(text + "]", "t"));
  const auto json = parse_json(text + ",0]", "t");
  ASSERT_FALSE(json);
  EXPECT_NE(json.error().message.find("4194304"), std::string::npos) << json.error().message;
}

TEST(ParseJson, RefusesWhatTheStandardDoesNotKnow) {
  for (const std::string_view text :
       {"",          " ",           "[1,]",     "{\"a\":1,}", "[1 2]",
        "// x\n1",   "1 /* x */",   "NaN",      "[Infinity]", "-Infinity",
        "'a'",       "{a:1}",       "01",       "+1",         "1.",
        ".5",        "0x10",        "1e",       "-",          "tru",
        "nul",       "True",        "1 2",      "[1]]",       "[",
        "{",         "{\"a\"",      "{\"a\":",  "\"",         "\"\\x41\"",
        "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"", "\"a\tb\"",   "\xEF\xBB\xBF{}"}) {
    expect_refused(text);
  }
  expect_refused(std::string_view("\"a\0b\"", 5));
  expect_refused(std::string_view("1\0", 2));
}

TEST(ParseJson, SaysAtWhichByteItStopped) {
  const auto wrong = parse_json("[1, x]", "t");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("at byte 4:"), std::string::npos) << wrong.error().message;
  const auto extra = parse_json("{} {}", "t");
  ASSERT_FALSE(extra);
  EXPECT_NE(extra.error().message.find("at byte 3:"), std::string::npos) << extra.error().message;
  const auto ended = parse_json("[1, 2", "t");
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().message.find("at byte 5:"), std::string::npos) << ended.error().message;
}

TEST(ParseJson, RefusesInvalidUtf8) {
  for (const std::string_view bytes :
       {"\x80", "\xBF", "\xFF", "\xFE", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC3\x28", "\xE0\x80\x80",
        "\xE2\x82", "\xE2\x28\xA1", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\x80",
        "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80"}) {
    expect_refused("\"" + std::string(bytes) + "\"");
    expect_refused("\"ab" + std::string(bytes) + "cd\"");
    expect_refused("{\"" + std::string(bytes) + "\":1}");
  }
}

TEST(ParseJson, KeepsValidUtf8) {
  for (const std::string_view bytes :
       {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    const auto json = parse_json("\"" + std::string(bytes) + "\"", "t");
    ASSERT_TRUE(json) << json.error().message;
    EXPECT_EQ(json->string(), bytes);
  }
}

TEST(ParseJson, ReadsEscapesAndSurrogatePairs) {
  const auto json =
      parse_json(R"(["\"\\\/\b\f\n\r\t", "\u0041\u00e9\u20ac", "\ud83d\ude00"])", "t");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->array()[0].string(), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(json->array()[1].string(), "A\xC3\xA9\xE2\x82\xAC");
  EXPECT_EQ(json->array()[2].string(), "\xF0\x9F\x98\x80");
}

TEST(ParseJson, RefusesLoneSurrogates) {
  for (const std::string_view text :
       {R"("\ud800")", R"("\udbff")", R"("\udc00")", R"("\udfff")", R"("\ud800A")",
        R"("\ud800\u0041")", R"("\ud800\ud800")", R"("\ud83d\n")", R"({"\ud800":1})"}) {
    expect_refused(text);
  }
}

TEST(ParseJson, TellsIntegersFromNumbers) {
  const auto kind = [](std::string_view text) { return parse_json(text, "t")->kind(); };
  EXPECT_EQ(parse_json("9223372036854775807", "t")->integer(),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_json("-9223372036854775808", "t")->integer(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_json("-0", "t")->number(), 0.0);
  for (const std::string_view text :
       {"9223372036854775808", "18446744073709551615", "18446744073709551616",
        "-9223372036854775809", "1e3", "1.0", "1000000000000000019884624838656"}) {
    EXPECT_EQ(kind(text), Json::Kind::Number) << text;
    EXPECT_EQ(parse_json(text, "t")->number(), std::strtod(text.data(), nullptr)) << text;
  }
}

TEST(ParseJson, ReadsNumbersToTheLastBit) {
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 20'000; ++round) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    char text[64];
    std::snprintf(text, sizeof(text), "%.*e", round % 17, value);  // 1 to 17 digits
    if (std::isinf(std::strtod(text, nullptr))) continue;          // rounded up beyond the largest
    const auto json = parse_json(text, "t");
    ASSERT_TRUE(json) << text << ": " << json.error().message;
    EXPECT_EQ(json->number(), std::strtod(text, nullptr)) << text;
  }
}

TEST(ParseJson, LimitsNumbersToDoubles) {
  EXPECT_EQ(parse_json("1.7976931348623157e308", "t")->number(),
            std::numeric_limits<double>::max());
  EXPECT_EQ(parse_json("5e-324", "t")->number(), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(parse_json("1e-400", "t")->number(), 0.0);
  EXPECT_EQ(parse_json("0e999", "t")->number(), 0.0);
  expect_refused("1e309");
  expect_refused("[-1e309]");
  expect_refused("1e99999999999");
  expect_refused(std::string(400, '9'));
}

TEST(ReadJsonFile, NamesTheFileAndItsLimit) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "a.json", R"({"a":12})");  // 8 bytes
  EXPECT_TRUE(read_json_file(folder / "a.json", 9));
  EXPECT_EQ(read_json_file(folder / "a.json", 8)->find("a")->integer(), 12);
  const auto large = read_json_file(folder / "a.json", 7);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::BadModel);
  EXPECT_EQ(large.error().message,
            (folder / "a.json").string() + " has 8 bytes; at most 7 are read");
  for (const auto& path : {folder / "absent.json", folder.path()}) {
    const auto json = read_json_file(path);
    ASSERT_FALSE(json);
    EXPECT_EQ(json.error().code, ErrorCode::NotFound);
    EXPECT_NE(json.error().message.find(path.string()), std::string::npos);
  }
  testing::write_file(folder / "empty.json", "");
  EXPECT_EQ(read_json_file(folder / "empty.json").error().code, ErrorCode::BadModel);
}

class JsonReaderTest : public ::testing::Test {
 protected:
  const Json json_ = *parse_json(R"({"i":5,"d":2.5,"s":"x","b":true,"n":null,"m":-1,"a":[]})", "t");
  const JsonReader reader_{json_, "config.json"};
};

TEST_F(JsonReaderTest, ReadsSizesInTheirRange) {
  EXPECT_EQ(*reader_.size("i", 5, 5), 5U);
  EXPECT_EQ(*reader_.size("i", 4, 6), 5U);
  EXPECT_EQ(reader_.size("i", 6, 9).error().message, "config.json: i is 5; it takes 6 to 9");
  EXPECT_EQ(reader_.size("i", 0, 4).error().message, "config.json: i is 5; it takes 0 to 4");
  EXPECT_EQ(reader_.size("m", 0, 4).error().message, "config.json: m is -1; it takes 0 to 4");
  EXPECT_EQ(reader_.size("x", 0, 4).error().message, "config.json: x is missing");
  EXPECT_EQ(reader_.size("n", 0, 4).error().message, "config.json: n is missing");
  EXPECT_EQ(reader_.size("d", 0, 4).error().message,
            "config.json: d is a number; it takes an integer of 0 to 4");
  EXPECT_EQ(reader_.size("s", 0, 4).error().code, ErrorCode::BadModel);
}

TEST_F(JsonReaderTest, ReadsTheOtherKinds) {
  EXPECT_EQ(*reader_.number("d"), 2.5);
  EXPECT_EQ(*reader_.number("i"), 5.0);
  EXPECT_EQ(*reader_.string("s"), "x");
  EXPECT_TRUE(*reader_.boolean_or("b", false));
  EXPECT_EQ(reader_.number("s").error().message, "config.json: s is a string; it takes a number");
  EXPECT_EQ(reader_.string("a").error().message, "config.json: a is an array; it takes a string");
  EXPECT_EQ(reader_.boolean_or("i", true).error().message,
            "config.json: i is an integer; it takes a boolean");
  EXPECT_EQ(reader_.string("x").error().message, "config.json: x is missing");
  EXPECT_TRUE(reader_.has("i"));
  EXPECT_FALSE(reader_.has("n"));
}

TEST_F(JsonReaderTest, FallsBackOnlyForWhatIsAbsent) {
  for (const char* key : {"x", "n"}) {
    EXPECT_EQ(*reader_.size_or(key, 99, 0, 4), 99U);
    EXPECT_EQ(*reader_.number_or(key, 0.5), 0.5);
    EXPECT_EQ(*reader_.string_or(key, "y"), "y");
    EXPECT_FALSE(*reader_.boolean_or(key, false));
  }
  EXPECT_EQ(*reader_.size_or("i", 99, 0, 9), 5U);
  EXPECT_EQ(*reader_.number_or("d", 0.5), 2.5);
  EXPECT_EQ(*reader_.string_or("s", "y"), "x");
  for (const auto& code :
       {reader_.size_or("i", 9, 0, 4).error().code, reader_.size_or("s", 9, 0, 4).error().code,
        reader_.number_or("s", 0).error().code, reader_.string_or("i", "").error().code}) {
    EXPECT_EQ(code, ErrorCode::BadModel);
  }
}

TEST_F(JsonReaderTest, FindsNothingInWhatIsNoObject) {
  const Json number(std::int64_t{1});
  EXPECT_EQ(JsonReader(number, "t").size("a", 0, 1).error().message, "t: a is missing");
}

TEST(AppendJson, WritesStringsThatReadBack) {
  std::string all;
  for (int byte = 0; byte < 0x80; ++byte) all += static_cast<char>(byte);
  all += "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
  std::string text;
  append_json_string(text, all);
  EXPECT_EQ(parse_json(text, "t")->string(), all);

  text = "x";
  append_json_string(text, std::string_view("a\"\\\n\0\x1f/\x7f", 8));
  EXPECT_EQ(text, "x\"a\\\"\\\\\\n\\u0000\\u001f/\x7f\"");
}

TEST(AppendJson, KeepsEveryCharacterAndReplacesWhatIsNone) {
  std::string all;
  for (std::uint32_t code = 0x80; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const auto tail = [&](int shift) {
      return static_cast<char>(0x80U | ((code >> shift) & 0x3fU));
    };
    if (code < 0x800) {
      all += {static_cast<char>(0xc0U | (code >> 6)), tail(0)};
    } else if (code < 0x10000) {
      all += {static_cast<char>(0xe0U | (code >> 12)), tail(6), tail(0)};
    } else {
      all += {static_cast<char>(0xf0U | (code >> 18)), tail(12), tail(6), tail(0)};
    }
  }
  std::string text;
  append_json_string(text, all);
  EXPECT_TRUE(text == "\"" + all + "\"");

  for (const auto& [bytes, expected] : std::initializer_list<std::pair<const char*, const char*>>{
           {"a\xff", "\"a\\ufffd\""},
           {"\xc0\x80", "\"\\ufffd\\ufffd\""},                          // an overlong NUL
           {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},               // half a surrogate pair
           {"\xf4\x90\x80\x80z", "\"\\ufffd\\ufffd\\ufffd\\ufffdz\""},  // above U+10FFFF
           {"\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\""},               // cut
           {"\xe5\xae.", "\"\\ufffd\\ufffd.\""}}) {
    text.clear();
    append_json_string(text, bytes);
    EXPECT_EQ(text, expected);
  }
}

TEST(AppendJson, WritesTheShortestNumberThatReadsBack) {
  const auto written = [](float value) {
    std::string text;
    append_json_number(text, value);
    return text;
  };
  EXPECT_EQ(written(0.1F), "0.1");
  EXPECT_EQ(written(-2.0F), "-2");
  EXPECT_EQ(written(16777216.0F), "16777216");
  std::mt19937 random(20240607);
  for (int round = 0; round < 20'000; ++round) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(std::strtof(written(value).c_str(), nullptr), value);
    EXPECT_TRUE(parse_json(written(value), "t")) << written(value);
  }
}

}  // namespace
}  // namespace textvec::model
