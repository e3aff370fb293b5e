// The limits of one text: tokens and bytes at n - 1, n and n + 1, what is kept, what is refused.
#include <gtest/gtest.h>

#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

constexpr std::string_view kText = "a small house by the sea";

class TokenLimit : public ::testing::TestWithParam<const char*> {
 protected:
  TokenLimit() : tokenizer_(tiny(GetParam())), whole_(tokenizer_.encode(kText, {}).value().ids) {}

  Tokenizer tokenizer_;
  std::vector<std::uint32_t> whole_;
};

TEST_P(TokenLimit, AtTheLimitAndAboveTheTextStaysWhole) {
  for (const std::size_t limit : {whole_.size(), whole_.size() + 1}) {
    for (const TooLong too_long : {TooLong::Truncate, TooLong::Refuse}) {
      for (const TruncationSide side : {TruncationSide::Right, TruncationSide::Left}) {
        const auto encoding = tokenizer_.encode(kText, {limit, too_long, side});
        ASSERT_TRUE(encoding) << encoding.error().message;
        EXPECT_EQ(encoding->ids, whole_);
        EXPECT_FALSE(encoding->truncated);
      }
    }
  }
}

TEST_P(TokenLimit, OneTokenTooManyIsCutFromTheChosenSideOfTheText) {
  const std::size_t limit = whole_.size() - 1;
  const auto begin = whole_.begin();
  const auto end = whole_.end();
  // Where the special tokens stand around the text.
  const std::ptrdiff_t leading = std::string_view(GetParam()) == "byte_level" ? 0 : 1;
  auto right = whole_;
  right.erase(right.end() - 2);
  auto left = whole_;
  left.erase(left.begin() + leading);
  for (const auto& [side, expected] :
       {std::pair(TruncationSide::Right, right), std::pair(TruncationSide::Left, left)}) {
    const auto encoding = tokenizer_.encode(kText, {limit, TooLong::Truncate, side});
    ASSERT_TRUE(encoding) << encoding.error().message;
    EXPECT_EQ(encoding->ids, expected);
    EXPECT_TRUE(std::equal(begin, begin + leading, encoding->ids.begin()));
    EXPECT_EQ(encoding->ids.back(), *(end - 1));
    EXPECT_TRUE(encoding->truncated);
  }
}

TEST_P(TokenLimit, OneTokenTooManyIsRefusedWithBothNumbers) {
  const std::size_t limit = whole_.size() - 1;
  for (const TruncationSide side : {TruncationSide::Right, TruncationSide::Left}) {
    const auto encoding = tokenizer_.encode(kText, {limit, TooLong::Refuse, side});
    ASSERT_FALSE(encoding);
    EXPECT_EQ(encoding.error().code, ErrorCode::InputTooLong);
    EXPECT_EQ(encoding.error().message, "text of " + std::to_string(whole_.size()) +
                                            " tokens; the model takes " + std::to_string(limit));
    EXPECT_FALSE(encoding.error().text.has_value());
  }
}

TEST_P(TokenLimit, MayLeaveNothingButTheSpecialTokens) {
  const std::size_t added = tokenizer_.special_tokens_added();
  const auto encoding = tokenizer_.encode(kText, {added});
  ASSERT_TRUE(encoding) << encoding.error().message;
  EXPECT_EQ(encoding->ids, tokenizer_.encode("", {}).value().ids);
  EXPECT_EQ(encoding->ids.size(), added);
}

TEST_P(TokenLimit, ZeroIsNoLimit) {
  const auto text = repeated("sea ", 3000);
  const auto encoding = tokenizer_.encode(text, {0, TooLong::Refuse});
  ASSERT_TRUE(encoding) << encoding.error().message;
  EXPECT_GT(encoding->ids.size(), 3000U);
}

TEST_P(TokenLimit, CountsThePrefixWithoutWhatFollowsTheText) {
  for (const std::string_view prefix : {"query: ", "search the sea:\n", "a"}) {
    const auto ids = tokenizer_.encode(prefix, {}).value().ids;
    // Every template here ends with one special token.
    EXPECT_EQ(tokenizer_.prefix_tokens(prefix).value(), ids.size() - 1) << prefix;
  }
  EXPECT_EQ(tokenizer_.prefix_tokens("").value(), tokenizer_.special_tokens_added() - 1);
}

INSTANTIATE_TEST_SUITE_P(Families, TokenLimit,
                         ::testing::Values("wordpiece", "byte_level", "unigram"),
                         [](const auto& family) { return std::string(family.param); });

TEST(Limits, BelowTheSpecialTokensNothingFits) {
  const Tokenizer tokenizer = tiny("wordpiece");
  for (const TooLong too_long : {TooLong::Truncate, TooLong::Refuse}) {
    const auto encoding = tokenizer.encode("a", {1, too_long});
    ASSERT_FALSE(encoding);
    EXPECT_EQ(encoding.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(encoding.error().message,
              "a limit of 1 tokens is below the 2 special tokens around every text");
  }
}

TEST(Limits, TypeIdsAreCutWithTheirTokens) {
  // XLNet's way: the last special token has another type than the text.
  const auto json =
      replaced(tiny_json("wordpiece"), R"({"SpecialToken":{"id":"[SEP]","type_id":0}})",
               R"({"SpecialToken":{"id":"[SEP]","type_id":2}})");
  const auto tokenizer = Tokenizer::parse(json, "tokenizer.json").value();
  for (const TruncationSide side : {TruncationSide::Right, TruncationSide::Left}) {
    const auto encoding = tokenizer.encode(kText, {4, TooLong::Truncate, side});
    ASSERT_TRUE(encoding) << encoding.error().message;
    EXPECT_EQ(encoding->type_ids, (std::vector<std::uint32_t>{0, 0, 0, 2}));
  }
}

TEST(Limits, BytesAtBelowAndAbove) {
  const Tokenizer tokenizer = tiny("wordpiece");
  Limits limits;
  limits.bytes_max = 10;
  EXPECT_TRUE(tokenizer.encode(std::string(9, 'a'), limits));
  EXPECT_TRUE(tokenizer.encode(std::string(10, 'a'), limits));
  const auto refused = tokenizer.encode(std::string(11, 'a'), limits);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(refused.error().message, "text of 11 bytes; the limit is 10");
}

TEST(Limits, BytesAreCountedBeforeAnythingElseIsDone) {
  const Tokenizer tokenizer = tiny("wordpiece");
  Limits limits;
  limits.bytes_max = 3;
  const auto refused = tokenizer.encode("\xff\xff\xff\xff", limits);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "text of 4 bytes; the limit is 3");
}

}  // namespace
}  // namespace textvec::tokens
