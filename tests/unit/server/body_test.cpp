// Bodies of requests: what they may hold, and what is said of the rest.
#include "server/body.h"

#include <gtest/gtest.h>

namespace textvec::server {
namespace {

// "FIELD: message" of what is wrong with a body's inputs; empty: nothing.
std::string inputs_problem(const std::string& json, std::size_t texts_max = 8, bool ids = true) {
  Body body(json);
  const Inputs inputs = body.inputs("input", texts_max, ids);
  if (!body.problem()) return {};
  return body.problem()->field + ": " + body.problem()->error.message;
}

Inputs inputs_of(const std::string& json) {
  Body body(json);
  Inputs inputs = body.inputs("input", 8, true);
  EXPECT_FALSE(body.problem()) << body.problem()->error.message;
  return inputs;
}

TEST(Body, TakesTextsAndIds) {
  EXPECT_EQ(inputs_of(R"({"input":"a"})").texts, std::vector<std::string>{"a"});
  EXPECT_TRUE(inputs_of(R"({"input":"a"})").single);
  EXPECT_EQ(inputs_of(R"({"input":["a","\u00e9"]})").texts,
            (std::vector<std::string>{"a", "\xc3\xa9"}));
  EXPECT_FALSE(inputs_of(R"({"input":["a"]})").single);
  const Inputs one = inputs_of(R"({"input":[1,2,3]})");
  EXPECT_TRUE(one.single);
  EXPECT_EQ(one.ids, (std::vector<std::vector<std::uint32_t>>{{1, 2, 3}}));
  EXPECT_EQ(inputs_of(R"({"input":[[1],[2,3]]})").ids,
            (std::vector<std::vector<std::uint32_t>>{{1}, {2, 3}}));
  EXPECT_EQ(inputs_of(R"({"input":[[1],[2,3]]})").size(), 2U);
  // A repeated member: the last one counts. An unknown one does not.
  EXPECT_EQ(inputs_of(R"({"input":7,"x":{"y":[]},"input":"b"})").texts.front(), "b");
}

TEST(Body, SaysWhatIsWrongWithInputs) {
  EXPECT_EQ(inputs_problem("{}"), "input: is missing");
  EXPECT_EQ(inputs_problem(R"({"input":null})"), "input: is missing");
  EXPECT_EQ(inputs_problem(R"({"input":[]})"), "input: is an empty list");
  EXPECT_EQ(inputs_problem(R"({"input":true})"),
            "input: is a boolean; it takes a string or an array");
  EXPECT_EQ(inputs_problem(R"({"input":{"a":1}})"),
            "input: is an object; it takes a string or an array");
  EXPECT_EQ(inputs_problem(R"({"input":7})"),
            "input: is an integer; it takes a string or an array");
  EXPECT_EQ(inputs_problem(R"({"input":["a",1]})"),
            "input[1]: is an integer, where the first is a string");
  EXPECT_EQ(inputs_problem(R"({"input":[1,"a"]})"), "input[1]: is a string among token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[[1],"a"]})"),
            "input[1]: is a string, where the first is an array");
  EXPECT_EQ(inputs_problem(R"({"input":[[1],[]]})"), "input[1]: holds no token id");
  EXPECT_EQ(inputs_problem(R"({"input":[null]})"),
            "input[0]: is null; it takes a string or token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[["a"]]})"), "input[0][0]: is a string among token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[1]})", 8, false),
            "input[0]: is an integer; it takes a string");
}

TEST(Body, TakesIdsThatFit) {
  EXPECT_EQ(inputs_problem(R"({"input":[4294967295]})"), "");
  EXPECT_EQ(inputs_problem(R"({"input":[4294967296]})"),
            "input[0]: is 4294967296, which is no token id");
  EXPECT_EQ(inputs_problem(R"({"input":[0,-1]})"), "input[1]: is -1, which is no token id");
  EXPECT_EQ(inputs_problem(R"({"input":[1.5]})"),
            "input[0]: is a number; it takes a string or token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[1,1.5]})"), "input[1]: is a number among token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[1,9223372036854775808]})"),
            "input[1]: is a number among token ids");
  EXPECT_EQ(inputs_problem(R"({"input":[[1],[1e300]]})"),
            "input[1][0]: is a number among token ids");
}

TEST(Body, LimitsTheTexts) {
  const auto list = [](std::size_t count, const std::string& item) {
    std::string json = R"({"input":[)";
    for (std::size_t i = 0; i < count; ++i) json += (i == 0 ? "" : ",") + item;
    return json + "]}";
  };
  for (const std::string item : {"\"a\"", "[1]"}) {
    EXPECT_EQ(inputs_problem(list(2, item), 3), "");
    EXPECT_EQ(inputs_problem(list(3, item), 3), "");
    EXPECT_EQ(inputs_problem(list(4, item), 3), "input: has 4 texts; a request takes 3");
  }
  EXPECT_EQ(inputs_problem(list(100, "1"), 3), "");  // one text of 100 tokens
}

TEST(Body, LimitsDepthAndValues) {
  EXPECT_EQ(inputs_problem(std::string(100'000, '[')).find(": the body is no valid JSON"), 0U);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_EQ(inputs_problem(deep).find(": the body is no valid JSON"), 0U);
  std::string many = R"({"input":[1)";
  for (int i = 1; i < (1 << 20) - 3; ++i) many += ",1";  // with list and object 2^20 - 1
  EXPECT_EQ(inputs_problem(many + "1]}"), "");
  EXPECT_EQ(inputs_problem(many + ",1]}"), "");
  EXPECT_NE(inputs_problem(many + ",1,1]}").find("more than 1048576 values"), std::string::npos);
}

Fault fault_of(const std::string& json) {
  const Body body(json);
  EXPECT_TRUE(body.problem()) << json;
  return body.problem() ? body.problem()->fault : Fault::Plain;
}

TEST(Body, TellsWhatIsNoJson) {
  EXPECT_EQ(fault_of(""), Fault::Plain);
  EXPECT_EQ(fault_of("[]"), Fault::Plain);
  EXPECT_EQ(fault_of("\"a\""), Fault::Plain);
  for (const std::string json :
       {R"({"input":"a")", R"({"input":"a"}x)", R"({"input":"a"}{})", "{'a':1}", R"({"input":NaN})",
        R"({"input":Infinity})", R"({"a":1,})", "{\"a\":1}//", "\xef\xbb\xbf{}",
        R"({"a":"\ud800"})", R"({"a":"\udc00\ud800"})", R"({"a":1e400})", "{\"a\":\"\n\"}"}) {
    EXPECT_EQ(fault_of(json), Fault::BadJson) << json;
  }
  EXPECT_EQ(fault_of(std::string("{\0\"\0", 4)), Fault::BadJson);  // UTF-16
  for (const std::string bytes :
       {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf0\x9f\x98", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(fault_of("{\"input\":\"" + bytes + "\"}"), Fault::BadUtf8);
  }
}

TEST(Body, ReadsMembersOfTheirKind) {
  Body body(R"({"s":"a","b":true,"n":7,"null":null})");
  EXPECT_EQ(body.string("s"), "a");
  EXPECT_EQ(body.boolean("b"), true);
  EXPECT_EQ(body.integer("n", 7, 7), 7U);
  EXPECT_EQ(body.string("null"), std::nullopt);
  EXPECT_EQ(body.integer("absent", 0, 1), std::nullopt);
  EXPECT_EQ(body.choice("s", {"b", "a"}), 1U);
  EXPECT_FALSE(body.problem());
}

TEST(Body, RefusesMembersOfAnotherKind) {
  const auto integer = [](const std::string& value) {
    Body body("{\"n\":" + value + "}");
    body.integer("n", 2, 4);
    return body.problem() ? body.problem()->error.message : "";
  };
  EXPECT_EQ(integer("1"), "is 1; it takes 2 to 4");
  EXPECT_EQ(integer("2"), "");
  EXPECT_EQ(integer("4"), "");
  EXPECT_EQ(integer("5"), "is 5; it takes 2 to 4");
  EXPECT_EQ(integer("-1"), "is -1; it takes 2 to 4");
  EXPECT_EQ(integer("3.5"), "is a number; it takes an integer of 2 to 4");
  EXPECT_EQ(integer("1e308"), "is a number; it takes an integer of 2 to 4");
  EXPECT_EQ(integer("9223372036854775808"), "is a number; it takes an integer of 2 to 4");
  EXPECT_EQ(integer("\"3\""), "is a string; it takes an integer of 2 to 4");
  Body body(R"({"s":"up","b":1,"t":false})");
  EXPECT_EQ(body.choice("s", {"left", "right"}), std::nullopt);
  EXPECT_EQ(body.problem()->error.message, "is \"up\"; it takes one of left, right");
  EXPECT_EQ(body.problem()->field, "s");
  body.boolean("b");  // the first problem stays
  EXPECT_EQ(body.problem()->field, "s");
  Body other(R"({"b":1})");
  other.boolean("b");
  EXPECT_EQ(other.problem()->error.message, "is an integer; it takes true or false");
}

TEST(Body, NamesMembersOfObjectsInside) {
  Body body(R"({"p":{"n":9}})");
  Body inner = body.object("p");
  inner.integer("n", 0, 1);
  ASSERT_TRUE(inner.problem());
  EXPECT_EQ(inner.problem()->field, "p.n");
  Body wrong(R"({"p":[]})");
  EXPECT_TRUE(wrong.object("p").problem());
}

}  // namespace
}  // namespace textvec::server
