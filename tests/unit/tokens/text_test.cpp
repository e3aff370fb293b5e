// Hostile and unusual texts, ids that do not exist, many threads.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

constexpr const char* kFamilies[] = {"wordpiece", "byte_level", "unigram"};

TEST(Text, EmptyGivesTheSpecialTokens) {
  for (const char* family : kFamilies) {
    const Tokenizer tokenizer = tiny(family);
    EXPECT_EQ(tokenizer.encode("", {}).value().ids.size(), tokenizer.special_tokens_added());
    EXPECT_EQ(tokenizer.encode(std::string_view(), {}).value().ids.size(),
              tokenizer.special_tokens_added());
  }
}

TEST(Text, GoesOnAfterANul) {
  const Tokenizer tokenizer = tiny("byte_level");
  const std::string_view text("a\0b", 3);
  const auto ids = tokenizer.encode(text, {}).value().ids;
  EXPECT_EQ(ids.size(), 4U);  // a, NUL, b, the end
  EXPECT_EQ(tokenizer.decode(ids, true).value(), text);
}

struct BadUtf8 {
  const char* name;
  std::string_view bytes;
  std::size_t offset;
};

TEST(Text, InvalidUtf8IsRefusedWithItsOffset) {
  constexpr BadUtf8 kTexts[] = {
      {"a byte that never occurs", "abc\xff", 3},
      {"an overlong NUL", "ab\xc0\x80", 2},
      {"an overlong slash", "\xe0\x80\xaf", 0},
      {"half of a surrogate pair", "abcd\xed\xa0\x80z", 4},
      {"a whole surrogate pair", "\xed\xa0\xbd\xed\xb8\x80", 0},
      {"above U+10FFFF", "a\xf4\x90\x80\x80", 1},
      {"four bytes cut to three", "\xe5\xae\xb6\xf0\x9f\x98", 3},
      {"a character that another interrupts", "\xe5\xae.", 0},
      {"a continuation without a start", "a\xb6", 1},
  };
  for (const char* family : kFamilies) {
    for (const bool lower_case : {false, true}) {
      const Tokenizer tokenizer = tiny(family, lower_case);
      for (const BadUtf8& bad : kTexts) {
        const auto encoding = tokenizer.encode(bad.bytes, {});
        ASSERT_FALSE(encoding) << bad.name;
        EXPECT_EQ(encoding.error().code, ErrorCode::InvalidArgument) << bad.name;
        EXPECT_EQ(encoding.error().message, "the text is not UTF-8: no character begins at byte " +
                                                std::to_string(bad.offset))
            << bad.name;
      }
      EXPECT_FALSE(tokenizer.prefix_tokens("\xff"));
    }
  }
}

TEST(Text, ByteLevelGivesEveryCharacterBack) {
  const Tokenizer tokenizer = tiny("byte_level");
  // All are in NFC, which this tokenizer makes first.
  for (const std::string_view text : {
           "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xd8\xb3\xd9\x84\xd8\xa7\xd9\x85",  // right to left
           "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",  // joined
           "caf\xc3\xa9 \xef\xbf\xbd \xe5\xae\xb6\xe6\x97\x8f", "\r\n\t  \v\x7f",
           "\xf4\x8f\xbf\xbf\xee\x80\x80\xef\xbb\xbf",  // U+10FFFF, private use, byte order mark
       }) {
    const auto ids = tokenizer.encode(text, {}).value().ids;
    EXPECT_EQ(tokenizer.decode(ids, true).value(), text);
  }
}

TEST(Text, NfdGivesTheIdsOfNfcWhereTheTokenizerSaysSo) {
  const Tokenizer tokenizer = tiny("byte_level");
  EXPECT_EQ(tokenizer.encode("cafe\xcc\x81", {}).value().ids,
            tokenizer.encode("caf\xc3\xa9", {}).value().ids);
}

TEST(Text, SpecialTokensInTheTextAreSpecialTokens) {
  const Tokenizer tokenizer = tiny("wordpiece");
  const auto ids = tokenizer.encode("[SEP]", {}).value().ids;
  ASSERT_EQ(ids.size(), 3U);
  EXPECT_EQ(ids[1], ids[2]);
  // Truncation must not take them for the template's.
  const auto cut = tokenizer.encode("[CLS][CLS]a b[SEP][SEP]", {4}).value().ids;
  EXPECT_EQ(cut, (std::vector<std::uint32_t>{ids[0], ids[0], ids[0], ids[2]}));
  // Lower-casing spares them, as in sentence-transformers.
  EXPECT_EQ(tiny("wordpiece", true).encode("[SEP]", {}).value().ids, ids);
}

TEST(Text, IdsWithoutATokenAreNamed) {
  for (const char* family : kFamilies) {
    const Tokenizer tokenizer = tiny(family);
    for (const std::uint32_t id : {tokenizer.id_max() + 1, 0x7fffffffU, 0xffffffffU}) {
      const std::string message = "token id " + std::to_string(id) + " is not in the vocabulary";
      const auto text = tokenizer.decode(std::vector<std::uint32_t>{0, id}, false);
      ASSERT_FALSE(text);
      EXPECT_EQ(text.error().code, ErrorCode::InvalidArgument);
      EXPECT_EQ(text.error().message, message);
      const auto token = tokenizer.token_string(id);
      ASSERT_FALSE(token);
      EXPECT_EQ(token.error().code, ErrorCode::InvalidArgument);
      EXPECT_EQ(token.error().message, message);
    }
    EXPECT_TRUE(tokenizer.token_string(tokenizer.id_max()));
    EXPECT_EQ(tokenizer.decode({}, false).value(), "");
  }
}

TEST(Text, TokensHaveTheirNames) {
  const Tokenizer tokenizer = tiny("wordpiece");
  const auto ids = tokenizer.encode("a", {}).value().ids;
  ASSERT_EQ(ids.size(), 3U);
  EXPECT_EQ(tokenizer.token_string(ids[0]).value(), "[CLS]");
  EXPECT_EQ(tokenizer.token_string(ids[1]).value(), "a");
  EXPECT_EQ(tokenizer.token_string(ids[2]).value(), "[SEP]");
}

// Quadratic or exponential work would not end within the time that ctest gives.
TEST(Text, AQuarterOfAMebibyteOfOneCharacterEnds) {
  constexpr std::size_t kBytes = 1U << 18;
  for (const char* family : kFamilies) {
    const Tokenizer tokenizer = tiny(family);
    for (const std::string_view unit : {"a", "^", " ", "\n", "7", "\xcc\x81", "\xf0\x9f\x98\x80",
                                        " a", "[", "<|endoftext|>", "\t\n", "'s"}) {
      const std::string text = repeated(unit, kBytes / unit.size());
      const auto encoding = tokenizer.encode(text, {512});
      ASSERT_TRUE(encoding) << family << " " << unit << ": " << encoding.error().message;
      EXPECT_LE(encoding->ids.size(), 512U);
    }
  }
}

TEST(Text, ManyThreadsGetTheSameIds) {
  const std::string texts[] = {"a small house by the sea", "caf\xc3\xa9 [SEP] \xe5\xae\xb6",
                               repeated("the sea and the house, ", 50), ""};
  for (const char* family : kFamilies) {
    const Tokenizer tokenizer = tiny(family);
    std::vector<std::vector<std::uint32_t>> expected;
    for (const auto& text : texts) expected.push_back(tiny(family).encode(text, {}).value().ids);
    std::atomic<std::size_t> wrong = 0;
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t round = 0; round < 100; ++round) {
          const std::size_t which = (thread + round) % std::size(texts);
          const auto encoding = tokenizer.encode(texts[which], {});
          if (!encoding || encoding->ids != expected[which]) ++wrong;
          if (tokenizer.encode("\xff", {})) ++wrong;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0U) << family;
  }
}

}  // namespace
}  // namespace textvec::tokens
