// tokenizer.json files that are damaged, hostile, or ask for what textvec switches off.
#include <gtest/gtest.h>

#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

// BadModel naming the file, nothing printed, and the process lives.
void expect_bad(std::string_view json, std::string_view what) {
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const auto tokenizer = Tokenizer::parse(json, "folder/tokenizer.json");
  const std::string printed = ::testing::internal::GetCapturedStderr() +  //
                              ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(printed, "") << what;
  ASSERT_FALSE(tokenizer) << what;
  EXPECT_EQ(tokenizer.error().code, ErrorCode::BadModel) << what;
  EXPECT_NE(tokenizer.error().message.find("folder/tokenizer.json"), std::string::npos)
      << tokenizer.error().message;
  EXPECT_LT(tokenizer.error().message.size(), 700U) << what;
}

std::string with_model(std::string_view model) {
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,)"
         R"("pre_tokenizer":null,"post_processor":null,"decoder":null,"model":)" +
         std::string(model) + "}";
}

std::string with_template(std::string_view pieces) {
  return replaced(with_model(R"({"type":"WordLevel","vocab":{"a":0,"x":1},"unk_token":"x"})"),
                  R"("post_processor":null)",
                  R"("post_processor":{"type":"TemplateProcessing","single":[)" +
                      std::string(pieces) +
                      R"(],"pair":[],"special_tokens":{"x":{"id":"x","ids":[1],"tokens":["x"]}}})");
}

constexpr std::string_view kTextPiece = R"({"Sequence":{"id":"A","type_id":0}})";
constexpr std::string_view kSpecialPiece = R"({"SpecialToken":{"id":"x","type_id":0}})";

std::string pieces(std::initializer_list<std::string_view> list) {
  std::string text;
  for (const auto piece : list) (text += text.empty() ? "" : ",") += piece;
  return text;
}

TEST(Broken, ThePartsBelowAreGoodUntilTheyAreBroken) {
  const auto tokenizer = Tokenizer::parse(
      with_template(pieces({kSpecialPiece, kTextPiece, kSpecialPiece, kSpecialPiece})), "t");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->special_tokens_added(), 3U);
  EXPECT_EQ(tokenizer->encode("a", {}).value().ids, (std::vector<std::uint32_t>{1, 0, 1, 1}));
}

// The crate would make terabytes of one letter, and for want of memory the process would end.
TEST(Broken, ReplaceStepsThatGrowATextWithoutEnd) {
  const auto chain = [](std::size_t steps, const std::string& pattern, const std::string& content) {
    std::string list;
    for (std::size_t i = 0; i < steps; ++i) {
      list += std::string(i == 0 ? "" : ",") + R"({"type":"Replace","pattern":{)" + pattern +
              R"(},"content":")" + content + "\"}";
    }
    return list;
  };
  const std::string good = with_model(R"({"type":"WordLevel","vocab":{"x":0},"unk_token":"x"})");
  const auto normalizing = [&](const std::string& list) {
    return replaced(good, R"("normalizer":null)",
                    R"("normalizer":{"type":"Sequence","normalizers":[)" + list + "]}");
  };
  const std::string letter = R"("String":"a")";
  EXPECT_TRUE(Tokenizer::parse(normalizing(chain(8, letter, "aa")), "t"));
  expect_bad(normalizing(chain(9, letter, "aa")), "2^9 of one letter");
  EXPECT_TRUE(Tokenizer::parse(normalizing(chain(1, letter, std::string(256, 'a'))), "t"));
  expect_bad(normalizing(chain(1, letter, std::string(257, 'a'))), "257 letters of one");
  EXPECT_TRUE(Tokenizer::parse(normalizing(chain(100, R"("String":"aa")", "aa")), "t"));
  for (const char* pattern : {"a*", "", "(?=a)", R"(\\b)", R"(a\\K)", " {2,}"}) {
    const std::string regex = R"("Regex":")" + std::string(pattern) + "\"";
    EXPECT_TRUE(Tokenizer::parse(normalizing(chain(8, regex, "a")), "t")) << pattern;
    expect_bad(normalizing(chain(9, regex, "a")), pattern);
  }
  expect_bad(normalizing(chain(9, R"("String":"")", "a")), "an empty pattern");
  const auto steps = [](std::size_t count, const std::string& step) {
    std::string list = step;
    for (std::size_t i = 1; i < count; ++i) list += "," + step;
    return list;
  };
  expect_bad(normalizing(steps(9, R"({"type":"ByteLevel"})")), "letters of two bytes of one");
  expect_bad(
      normalizing(steps(1, R"({"type":"Prepend","prepend":")" + std::string(257, 'a') + "\"}")),
      "a long beginning");
  expect_bad(
      replaced(good, R"("decoder":null)",
               R"("decoder":{"type":"Sequence","decoders":[)" + chain(9, letter, "aa") + "]}"),
      "a decoder");
}

// The crate reserves eight times what the first four bytes claim.
TEST(Broken, ACharacterMapThatClaimsMoreThanItHas) {
  const std::string good = with_model(R"({"type":"WordLevel","vocab":{"x":0},"unk_token":"x"})");
  const auto with_map = [&](std::string_view base64) {
    return replaced(good, R"("normalizer":null)",
                    R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Precompiled",)"
                    R"("precompiled_charsmap":")" +
                        std::string(base64) + R"("}]})");
  };
  EXPECT_TRUE(Tokenizer::parse(with_map("AAAAAA=="), "t"));      // 0 of 0
  EXPECT_TRUE(Tokenizer::parse(with_map("BAAAAAAAAAA="), "t"));  // 4 of 4
  expect_bad(with_map("AAAA2A=="), "0xd8000000 of 0");
  expect_bad(with_map("/////w=="), "all ones");
  expect_bad(with_map("////"), "no number");
  // No tree, and one text of 256 or 257 letters behind it.
  EXPECT_TRUE(Tokenizer::parse(with_map("AAAAAGFh" + repeated("YWFh", 84) + "YWE="), "t"));
  expect_bad(with_map("AAAAAGFh" + repeated("YWFh", 85)), "257 letters of one character");
  expect_bad(with_map("AAAA2A==").substr(0, with_map("AAAA2A==").size() - 1) + ",\"\xff\":0}",
             "what is wrong after it must not hide it");
}

TEST(Broken, NoJsonOrNoTokenizer) {
  for (const std::string_view json :
       {"", " ", "{", "[]", "null", "{}", "7", "\"a\"", "\xff\xfe", R"({"version":"2.0"})",
        R"({"version":"1.0"})", R"({"model":null})", R"({"model":3})"}) {
    expect_bad(json, json);
  }
  expect_bad(with_model(R"({"type":"BPE","vocab":{"a":0},"merges":[]})") + "x",
             "rubbish at the end");
  expect_bad(std::string_view("{\0}", 3), "a NUL");
}

TEST(Broken, CutAnywhere) {
  for (const char* family : {"wordpiece", "byte_level", "unigram"}) {
    const std::string json = tiny_json(family);
    for (std::size_t part = 1; part < 40; ++part) {
      const std::size_t bytes = json.size() * part / 40;
      expect_bad(std::string_view(json).substr(0, bytes), std::to_string(bytes) + " bytes");
    }
  }
}

TEST(Broken, WrongTypesAndRanges) {
  for (const std::string_view model : {
           R"({"type":"BPE","vocab":[],"merges":[]})",
           R"({"type":"BPE","vocab":{"a":-1},"merges":[]})",
           R"({"type":"BPE","vocab":{"a":"0"},"merges":[]})",
           R"({"type":"BPE","vocab":{"a":4294967296},"merges":[]})",
           R"({"type":"BPE","vocab":{"a":0},"merges":7})",
           R"({"type":"BPE","vocab":{"a":0},"merges":["a"]})",
           R"({"type":"BPE","vocab":{"a":0},"merges":[],"dropout":7})",
           R"({"type":"Unigram","vocab":[["a"]],"unk_id":0})",
           R"({"type":"Unigram","vocab":[["a",0.5]],"unk_id":9})",
           R"({"type":"Unigram","vocab":[],"unk_id":0})",
           R"({"type":"WordPiece","vocab":3})",
           R"({"type":"Other","vocab":{"a":0}})",
       }) {
    expect_bad(with_model(model), model);
  }
}

TEST(Broken, AnEmptyVocabulary) {
  expect_bad(with_model(R"({"type":"WordLevel","vocab":{},"unk_token":"x"})"), "WordLevel");
  expect_bad(with_model(R"({"type":"BPE","vocab":{},"merges":[]})"), "BPE");
}

// The crate copies a merge into a buffer as long as the longest token, and panics.
TEST(Broken, AMergeLongerThanEveryToken) {
  expect_bad(with_model(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]})"), "old form");
  expect_bad(with_model(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"]]})"),
             "new form");
  expect_bad(with_model(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","c"]]})"), "unknown");
  expect_bad(with_model(R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"]],)"
                        R"("continuing_subword_prefix":"###"})"),
             "a prefix longer than the token");
}

TEST(Broken, TemplatesThatDoNotPutTheTextOnce) {
  expect_bad(with_template(pieces({kTextPiece, kTextPiece})), "twice");
  expect_bad(with_template(pieces({kTextPiece, kSpecialPiece, kTextPiece})), "on both sides");
  expect_bad(with_template(pieces({kSpecialPiece})), "never");
  expect_bad(with_template(""), "nothing");
  expect_bad(with_template(R"({"Sequence":{"id":"B","type_id":0}})"), "the second text of a pair");
  expect_bad(with_template(R"({"SpecialToken":{"id":"y","type_id":0}},{"Sequence":{"id":"A",)"
                           R"("type_id":0}})"),
             "a special token that the file does not define");
}

TEST(Broken, TooDeep) {
  constexpr std::size_t kLevels = 100000;
  expect_bad(repeated("[", kLevels), "arrays");
  expect_bad(repeated(R"({"model":)", kLevels), "objects");
  const std::string normalizer = R"("normalizer":)" +
                                 repeated(R"({"type":"Sequence","normalizers":[)", kLevels) +
                                 repeated("]}", kLevels);
  const std::string model = R"({"type":"BPE","vocab":{"a":0},"merges":[]})";
  expect_bad(replaced(with_model(model), R"("normalizer":null)", normalizer), "normalizers");
  for (const std::size_t levels : {1000U, 100000U}) {
    const std::string pattern = repeated("(", levels) + "a" + repeated(")", levels);
    const std::string split = R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":")" + pattern +
                              R"("},"behavior":"Isolated","invert":false})";
    expect_bad(replaced(with_model(model), R"("pre_tokenizer":null)", split), "groups");
  }
}

TEST(Broken, PatternsThatDoNotCompile) {
  const std::string model = R"({"type":"BPE","vocab":{"a":0},"merges":[]})";
  for (const std::string_view pattern : {"(", "a{2,1}", "[z-a]", "\\\\p{Nothing}", "a{99999999}"}) {
    const std::string split = R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":")" +
                              std::string(pattern) + R"("},"behavior":"Isolated","invert":false})";
    expect_bad(replaced(with_model(model), R"("pre_tokenizer":null)", split), pattern);
  }
}

// Found only when a text needs it; the text's call fails, and the next text is served.
TEST(Broken, AMissingUnknownToken) {
  const auto tokenizer = Tokenizer::parse(
      with_model(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"[UNK]"})"), "tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto encoding = tokenizer->encode("b", {});
  ASSERT_FALSE(encoding);
  EXPECT_EQ(encoding.error().code, ErrorCode::Internal);
  EXPECT_EQ(tokenizer->encode("a", {}).value().ids, std::vector<std::uint32_t>{0});
}

TEST(Broken, FilesThatAreNoFiles) {
  const testing::TemporaryFolder folder;
  const auto absent = Tokenizer::load(folder / "tokenizer.json");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::NotFound);
  EXPECT_NE(absent.error().message.find("tokenizer.json"), std::string::npos);
  const auto is_folder = Tokenizer::load(folder.path());
  ASSERT_FALSE(is_folder);
  EXPECT_EQ(is_folder.error().code, ErrorCode::NotFound);
  testing::write_file(folder / "empty.json", "");
  const auto empty = Tokenizer::load(folder / "empty.json");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::BadModel);
}

TEST(Broken, FilesAboveTheSizeLimit) {
  const testing::TemporaryFolder folder;
  const auto file = folder / "tokenizer.json";
  testing::write_file(file, tiny_json("wordpiece"));
  constexpr std::size_t kBytesMax = 64U << 20;
  // White space after the JSON is allowed; so the limit alone decides.
  std::string json = tiny_json("wordpiece");
  json.resize(kBytesMax, ' ');
  testing::write_file(file, json);
  EXPECT_TRUE(Tokenizer::load(file));
  json.push_back(' ');
  testing::write_file(file, json);
  const auto refused = Tokenizer::load(file);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::BadModel);
  EXPECT_NE(refused.error().message.find("67108864"), std::string::npos) << refused.error().message;
}

TEST(SwitchedOff, PaddingAndTruncationOfTheFile) {
  const std::string json = tiny_json("wordpiece");  // pads to 6 tokens, and cuts there
  ASSERT_NE(json.find(R"("max_length":6)"), std::string::npos);
  ASSERT_NE(json.find(R"("Fixed":6)"), std::string::npos);
  const auto tokenizer = Tokenizer::parse(json, "tokenizer.json").value();
  EXPECT_EQ(tokenizer.encode("a", {}).value().ids.size(), 3U);
  EXPECT_EQ(tokenizer.encode("a a a a a a a a", {}).value().ids.size(), 10U);
  const auto huge = replaced(json, R"("Fixed":6)", R"("Fixed":4000000000)");
  EXPECT_EQ(Tokenizer::parse(huge, "t").value().encode("a", {}).value().ids.size(), 3U);
}

TEST(SwitchedOff, Dropout) {
  const std::string json = tiny_json("byte_level");
  const auto random =
      Tokenizer::parse(replaced(json, R"("dropout":null)", R"("dropout":1.0)"), "t");
  ASSERT_TRUE(random) << random.error().message;
  const auto expected = Tokenizer::parse(json, "t").value().encode("the house", {}).value().ids;
  EXPECT_EQ(random->encode("the house", {}).value().ids, expected);
  EXPECT_LT(expected.size(), 9U);  // with every merge dropped, a token a letter
}

}  // namespace
}  // namespace textvec::tokens
