// Ids, truncation and decoding as the Python tokenizers package gives them, for three families.
#include <gtest/gtest.h>

#include "model/json.h"
#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

using model::Json;

std::vector<std::uint32_t> ids_of(const Json& json) {
  std::vector<std::uint32_t> ids;
  for (const Json& id : json.array()) ids.push_back(static_cast<std::uint32_t>(id.integer()));
  return ids;
}

std::size_t size_of(const Json& json, std::string_view key) {
  return static_cast<std::size_t>(json.find(key)->integer());
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  Golden()
      : tokenizer_(tiny(GetParam())),
        golden_(model::read_json_file(tokenizer_file(std::string("golden_") + GetParam() + ".json"))
                    .value()) {}
  const Json::Array& cases() const { return golden_.find("cases")->array(); }

  Tokenizer tokenizer_;
  Json golden_;
};

TEST_P(Golden, DescribesTheVocabulary) {
  EXPECT_EQ(tokenizer_.vocabulary_size(), size_of(golden_, "vocabulary_size"));
  EXPECT_EQ(tokenizer_.id_max(), size_of(golden_, "id_max"));
  EXPECT_EQ(tokenizer_.special_ids(), ids_of(*golden_.find("special_ids")));
  EXPECT_EQ(tokenizer_.special_tokens_added(), size_of(golden_, "special_tokens_added"));
}

TEST_P(Golden, EncodesEveryText) {
  ASSERT_GT(cases().size(), 150U);
  for (const Json& golden : cases()) {
    const std::string& text = golden.find("text")->string();
    const auto encoding = tokenizer_.encode(text, {});
    ASSERT_TRUE(encoding) << encoding.error().message;
    EXPECT_EQ(encoding->ids, ids_of(*golden.find("ids"))) << text;
    EXPECT_EQ(encoding->type_ids, std::vector<std::uint32_t>(encoding->ids.size())) << text;
    const auto with_spans = tokenizer_.encode(text, {0, TooLong::Chunk});
    ASSERT_TRUE(with_spans) << with_spans.error().message;
    EXPECT_EQ(with_spans->ids, encoding->ids) << text;
    EXPECT_EQ(with_spans->type_ids, encoding->type_ids) << text;
    EXPECT_FALSE(encoding->truncated);
  }
}

TEST_P(Golden, LowersTheCaseOfEveryText) {
  const Tokenizer lower = tiny(GetParam(), true);
  for (const Json& golden : cases()) {
    const Json* lower_ids = golden.find("lower_ids");
    const Json& expected = lower_ids != nullptr ? *lower_ids : *golden.find("ids");
    const std::string& text = golden.find("text")->string();
    const auto encoding = lower.encode(text, {});
    ASSERT_TRUE(encoding) << encoding.error().message;
    EXPECT_EQ(encoding->ids, ids_of(expected)) << text;
  }
}

TEST_P(Golden, DecodesEveryText) {
  for (const Json& golden : cases()) {
    const auto ids = ids_of(*golden.find("ids"));
    EXPECT_EQ(tokenizer_.decode(ids, false).value(), golden.find("decoded")->string());
    EXPECT_EQ(tokenizer_.decode(ids, true).value(), golden.find("decoded_plain")->string());
  }
}

TEST_P(Golden, TruncatesAsThePackageDoes) {
  std::size_t compared = 0;
  for (const Json& golden : cases()) {
    const Json* truncated = golden.find("truncated");
    if (truncated == nullptr) continue;
    const std::string& text = golden.find("text")->string();
    const std::size_t whole = golden.find("ids")->array().size();
    for (const Json& cut : truncated->array()) {
      Limits limits;
      limits.tokens_max = static_cast<std::size_t>(cut.array()[0].integer());
      const bool right = cut.array()[1].string() == "right";
      limits.side = right ? TruncationSide::Right : TruncationSide::Left;
      const auto encoding = tokenizer_.encode(text, limits);
      ASSERT_TRUE(encoding) << encoding.error().message;
      EXPECT_EQ(encoding->ids, ids_of(cut.array()[2]))
          << text << ", " << limits.tokens_max << (right ? " right" : " left");
      EXPECT_EQ(encoding->type_ids.size(), encoding->ids.size());
      EXPECT_EQ(encoding->truncated, whole > limits.tokens_max);
      ++compared;
    }
  }
  EXPECT_GT(compared, 50U);
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, ::testing::Values("wordpiece", "byte_level", "unigram"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace textvec::tokens
