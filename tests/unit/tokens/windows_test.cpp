// The windows of a text that is too long: how many, which tokens, which bytes.
#include "tokens/windows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "unit/tokens/tiny_tokenizers.h"

namespace textvec::tokens {
namespace {

using Ids = std::vector<std::uint32_t>;

// One special token before, two of a prompt, `tokens` of the text, one special token behind. Token
// i has bytes 3i and 3i + 1, and a space stands behind it.
constexpr std::size_t kAround = 4;
Encoding encoding_of(std::size_t tokens) {
  Encoding encoding;
  encoding.ids = {900, 901, 902};
  encoding.text_begin = 3;
  for (std::size_t i = 0; i < tokens; ++i) {
    encoding.ids.push_back(static_cast<std::uint32_t>(i));
    encoding.spans.push_back({3 * i, 3 * i + 2});
  }
  encoding.ids.push_back(903);
  encoding.type_ids.assign(encoding.ids.size(), 0);
  encoding.type_ids.back() = 2;
  return encoding;
}

std::vector<Window> windows_of(std::size_t tokens, std::size_t room, std::size_t overlap) {
  return split(encoding_of(tokens), 3 * tokens, {room + kAround, overlap}).value();
}

// The slow twin: windows as lists of token numbers, one token at a time.
std::vector<std::vector<std::size_t>> slow_windows(std::size_t tokens, std::size_t room,
                                                   std::size_t overlap) {
  std::vector<std::vector<std::size_t>> windows(1);
  for (std::size_t token = 0; token < tokens; ++token) {
    if (windows.back().size() == room) {
      const auto& full = windows.back();
      windows.emplace_back(full.end() - static_cast<std::ptrdiff_t>(overlap), full.end());
    }
    windows.back().push_back(token);
  }
  return windows;
}

TEST(Split, GivesTheWindowsOfTheSlowTwin) {
  for (const std::size_t room : {1U, 2U, 5U, 8U}) {
    for (std::size_t overlap = 0; overlap < room; ++overlap) {
      for (std::size_t tokens = 0; tokens < 40; ++tokens) {
        const auto expected = slow_windows(tokens, room, overlap);
        const auto windows = windows_of(tokens, room, overlap);
        ASSERT_EQ(windows.size(), expected.size()) << tokens << " " << room << " " << overlap;
        for (std::size_t i = 0; i < windows.size(); ++i) {
          ASSERT_EQ(windows[i].chunk.tokens, expected[i].size());
          if (expected[i].empty()) continue;
          ASSERT_EQ(windows[i].text_token, expected[i].front());
        }
      }
    }
  }
}

TEST(Split, OneTokenBelowAtAndAboveTheRoom) {
  EXPECT_EQ(windows_of(7, 8, 3).size(), 1U);
  EXPECT_EQ(windows_of(8, 8, 3).size(), 1U);
  const auto two = windows_of(9, 8, 3);
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].chunk, (Chunk{0, 24, 8}));   // to where token 8 begins
  EXPECT_EQ(two[1].chunk, (Chunk{15, 27, 4}));  // tokens 5 to 8
}

TEST(Split, WithoutAnOverlapAnEighthIsShared) {
  const auto eighth = split(encoding_of(100), 300, {16 + kAround, std::nullopt}).value();
  EXPECT_EQ(eighth[1].text_token, 14U);
  const auto none = split(encoding_of(100), 300, {7 + kAround, std::nullopt}).value();
  EXPECT_EQ(none[1].text_token, 7U);
}

TEST(Split, EachWindowHasWhatStandsAroundTheText) {
  const Encoding whole = encoding_of(9);
  const auto windows = split(whole, 27, {8 + kAround, 3}).value();
  const Encoding last = cut_out(whole, windows[1]);
  EXPECT_EQ(last.ids, (Ids{900, 901, 902, 5, 6, 7, 8, 903}));
  EXPECT_EQ(last.type_ids, (Ids{0, 0, 0, 0, 0, 0, 0, 2}));
  const auto one = split(whole, 27, {9 + kAround, 3}).value();
  EXPECT_EQ(cut_out(whole, one.front()).ids, whole.ids);
}

TEST(Split, TakesSoManyWindowsAndNoMore) {
  EXPECT_EQ(windows_of(kWindowsMax + 1, 2, 1).size(), kWindowsMax);
  const auto refused = split(encoding_of(kWindowsMax + 2), 0, {2 + kAround, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InputTooLong);
  EXPECT_EQ(refused.error().message, "text of 4097 windows of 6 tokens; at most 4096");
}

TEST(Split, APromptThatLeavesNoRoomIsNamed) {
  const auto refused = split(encoding_of(5), 15, {kAround, 0});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(refused.error().message.find("at least 5"), std::string::npos)
      << refused.error().message;
}

TEST(WindowRoom, TheOverlapsLimitIsExact) {
  EXPECT_EQ(window_room({12, 7}, 4).value(), 8U);
  const auto refused = window_room({12, 8}, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(refused.error().message, "chunk_overlap is 8; windows of 12 tokens take 0 to 7");
  EXPECT_EQ(window_room({5, 0}, 4).value(), 1U);
  EXPECT_FALSE(window_room({4, 0}, 4));
}

class WindowsOf : public ::testing::TestWithParam<const char*> {
 protected:
  Encoding whole(std::string_view text, std::string_view prompt = {}) const {
    return tokenizer_.encode(text, {0, TooLong::Chunk}, prompt).value();
  }

  Tokenizer tokenizer_ = tiny(GetParam());
};

// Ligatures and wide letters that normalisers take apart, a combining mark to reorder, a family of
// emoji, special tokens, spaces at both ends.
constexpr std::string_view kHard =
    "  \xef\xac\x81ne \xef\xbc\xa1\xef\xbc\xa2 a\xcc\x81\xcc\xa7 \xf0\x9f\x98\x80\xf0\x9f\x91\xa9"
    "\xe2\x80\x8d\xf0\x9f\x91\xa7 \xe6\xb5\xb7\xe8\xbe\xb9 <s>[SEP]<|endoftext|> sea\x01\t\n ";

bool begins_character(std::string_view text, std::size_t byte) {
  return byte == text.size() || (static_cast<unsigned char>(text[byte]) & 0xC0U) != 0x80U;
}

TEST_P(WindowsOf, TheWholeTextHasTheIdsItHasOtherwise) {
  for (const std::string_view text :
       {kHard, std::string_view("a small house"), std::string_view()}) {
    EXPECT_EQ(whole(text).ids, tokenizer_.encode(text, {}).value().ids);
    EXPECT_EQ(whole(text, "query: ").ids, tokenizer_.encode(text, {}, "query: ").value().ids);
    EXPECT_EQ(whole(text).spans.size(), whole(text).ids.size() - tokenizer_.special_tokens_added());
    // Chunking is not the tokenizer's to refuse or to do.
    EXPECT_EQ(tokenizer_.encode(text, {3, TooLong::Chunk}).value().ids, whole(text).ids);
  }
}

TEST_P(WindowsOf, BytesAreWholeCharactersWithoutAHole) {
  for (const std::string_view prompt : {"", "query: ", "the sea:"}) {
    const Encoding encoding = whole(kHard, prompt);
    const std::size_t around = encoding.ids.size() - encoding.spans.size();
    for (std::size_t room = 1; room <= encoding.spans.size(); ++room) {
      for (std::size_t overlap = 0; overlap < room; overlap += 1 + room / 4) {
        const auto windows = split(encoding, kHard.size(), {room + around, overlap});
        ASSERT_TRUE(windows) << windows.error().message;
        EXPECT_EQ(windows->front().chunk.begin_byte, 0U);
        EXPECT_EQ(windows->back().chunk.end_byte, kHard.size());
        for (std::size_t i = 0; i < windows->size(); ++i) {
          const Chunk& chunk = (*windows)[i].chunk;
          ASSERT_LE(chunk.begin_byte, chunk.end_byte);
          ASSERT_TRUE(begins_character(kHard, chunk.begin_byte)) << chunk.begin_byte;
          ASSERT_TRUE(begins_character(kHard, chunk.end_byte)) << chunk.end_byte;
          if (i == 0) continue;
          ASSERT_LE(chunk.begin_byte, (*windows)[i - 1].chunk.end_byte);
        }
      }
    }
  }
}

TEST_P(WindowsOf, APromptStandsBeforeEveryWindow) {
  const std::string prompt = "search the sea: ";
  const Encoding encoding = whole("a small house by the sea", prompt);
  // What the prompt alone gives, but for its space, which may be one with the text's first word.
  const Ids alone = tokenizer_.encode("search the sea:", {}).value().ids;
  const Ids head(alone.begin(), alone.end() - 1);
  const auto windows = split(encoding, 24, {head.size() + 1 + 3, 1}).value();
  ASSERT_GT(windows.size(), 1U);
  Ids own;
  for (const Window& window : windows) {
    const Ids ids = cut_out(encoding, window).ids;
    ASSERT_LE(ids.size(), head.size() + 1 + 3);
    EXPECT_TRUE(std::equal(head.begin(), head.end(), ids.begin()));
    EXPECT_EQ(ids.back(), alone.back());
    const std::size_t shared = own.empty() ? 0 : 1;
    own.insert(own.end(), ids.begin() + static_cast<std::ptrdiff_t>(head.size() + shared),
               ids.end() - 1);
  }
  EXPECT_EQ(own, Ids(encoding.ids.begin() + static_cast<std::ptrdiff_t>(head.size()),
                     encoding.ids.end() - 1));
  EXPECT_EQ(windows.front().chunk.begin_byte, 0U);
}

INSTANTIATE_TEST_SUITE_P(Families, WindowsOf,
                         ::testing::Values("wordpiece", "byte_level", "unigram"),
                         [](const auto& family) { return std::string(family.param); });

// Of the bytes of an emoji each may be a token: a window that ends inside holds all of it.
TEST(Windows, AreWidenedToWholeEmoji) {
  const Tokenizer tokenizer = tiny("byte_level");
  const std::string_view text = "a\xf0\x9f\x98\x80z";
  const Encoding whole = tokenizer.encode(text, {0, TooLong::Chunk}).value();
  ASSERT_GE(whole.spans.size(), 4U) << "the emoji is one token, and nothing is tested";
  const auto windows = split(whole, text.size(), {2 + 1, 0}).value();
  EXPECT_EQ(windows[0].chunk, (Chunk{0, 5, 2}));
  EXPECT_EQ(windows[1].chunk.begin_byte, 1U);
}

TEST(Windows, ATokenOfPromptAndTextIsTheTexts) {
  const Tokenizer tokenizer = tiny("unigram");
  const Encoding whole = tokenizer.encode("small", {0, TooLong::Chunk}, "by the ").value();
  // The space is the prompt's, and the word's token begins with it.
  ASSERT_EQ(whole.spans.size(), 1U);
  EXPECT_EQ(whole.spans.front().begin, 0U);
  EXPECT_EQ(whole.spans.front().end, 5U);
  EXPECT_EQ(whole.text_begin, tokenizer.encode("by the", {}).value().ids.size() - 1);
}

}  // namespace
}  // namespace textvec::tokens
