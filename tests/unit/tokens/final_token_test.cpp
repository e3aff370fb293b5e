// The token that must end every text: put there when the template lacks it, and never cut off.
#include <gtest/gtest.h>

#include "support/tiny_qwen3.h"
#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

using Ids = std::vector<std::uint32_t>;

constexpr std::uint32_t kEnd = 0;  // TinyQwen3's <|endoftext|>
const Wishes kWish{false, "<|endoftext|>"};

// Whole words, and nothing around a text.
std::string plain_json() {
  const testing::TemporaryFolder folder;
  testing::TinyQwen3().write(folder.path());
  return testing::read_file(folder / "tokenizer.json");
}

Tokenizer plain(const Wishes& wishes) {
  return Tokenizer::parse(plain_json(), "t", wishes).value();
}

Ids ids_of(const Tokenizer& tokenizer, std::string_view text, const Limits& limits = {}) {
  return tokenizer.encode(text, limits).value().ids;
}

TEST(FinalToken, IsPutWhereTheTemplateLacksIt) {
  EXPECT_EQ(ids_of(plain({}), "w2 w3"), (Ids{2, 3}));
  const Tokenizer tokenizer = plain(kWish);
  EXPECT_TRUE(tokenizer.final_token_added());
  EXPECT_EQ(tokenizer.special_tokens_added(), 1U);
  EXPECT_EQ(ids_of(tokenizer, "w2 w3"), (Ids{2, 3, kEnd}));
  EXPECT_EQ(ids_of(tokenizer, ""), Ids{kEnd});
  // One in the text is the text's.
  EXPECT_EQ(ids_of(tokenizer, "w2 <|endoftext|>"), (Ids{2, kEnd, kEnd}));
}

TEST(FinalToken, IsNeverCutOff) {
  const Tokenizer tokenizer = plain(kWish);
  const auto cut = [&](std::size_t tokens_max, TruncationSide side) {
    return ids_of(tokenizer, "w2 w3 w4", {tokens_max, TooLong::Truncate, side, 1000});
  };
  for (const TruncationSide side : {TruncationSide::Right, TruncationSide::Left}) {
    EXPECT_EQ(cut(5, side), (Ids{2, 3, 4, kEnd}));
    EXPECT_EQ(cut(4, side), (Ids{2, 3, 4, kEnd}));
    EXPECT_EQ(cut(1, side), Ids{kEnd});
  }
  EXPECT_EQ(cut(3, TruncationSide::Right), (Ids{2, 3, kEnd}));
  EXPECT_EQ(cut(3, TruncationSide::Left), (Ids{3, 4, kEnd}));
}

TEST(FinalToken, IsNotPutTwice) {
  const Wishes separator{false, "[SEP]"};
  const auto file = tokenizer_file("wordpiece.json");
  const Tokenizer wished = Tokenizer::load(file, separator).value();
  EXPECT_FALSE(wished.final_token_added());
  EXPECT_EQ(ids_of(wished, "a house"), ids_of(tiny("wordpiece"), "a house"));
}

TEST(FinalToken, IsAddedBehindATemplateThatEndsOtherwise) {
  const Wishes padding{false, "[PAD]"};
  const Tokenizer wished = Tokenizer::load(tokenizer_file("wordpiece.json"), padding).value();
  EXPECT_TRUE(wished.final_token_added());
  Ids expected = ids_of(tiny("wordpiece"), "a house");
  expected.push_back(ids_of(plain({}), "<|endoftext|>").front());  // both are token 0
  EXPECT_EQ(ids_of(wished, "a house"), expected);
}

TEST(FinalToken, ThatTheVocabularyLacksChangesNothing) {
  const Tokenizer tokenizer = plain({false, "<|nothing|>"});
  EXPECT_FALSE(tokenizer.final_token_added());
  EXPECT_EQ(ids_of(tokenizer, "w2"), Ids{2});
}

}  // namespace
}  // namespace textvec::tokens
