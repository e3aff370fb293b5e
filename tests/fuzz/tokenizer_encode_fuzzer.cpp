// In: any bytes, as a text for one tokenizer of each family. Property: what is not UTF-8 is refused
// at the right byte; a text that is too long loses tokens of its own, at the side asked for, and
// the template's special tokens stay; its windows hold every token and every byte of it.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/utf8.h"
#include "tokens/tokenizer.h"
#include "tokens/windows.h"

namespace textvec::fuzz {
namespace {

using tokens::Limits;
using tokens::Tokenizer;
using Ids = std::vector<std::uint32_t>;

constexpr std::string_view kPrompt = "query: ";

// A tokenizer and what its template puts around every text.
struct Family {
  explicit Family(const std::string& name)
      : tokenizer(Tokenizer::load(std::filesystem::path(TEXTVEC_TEST_DATA) / "tokenizers" /
                                  (name + ".json"))
                      .value()) {
    const Ids around = tokenizer.encode("", {}).value().ids;
    const auto split =
        around.begin() + static_cast<std::ptrdiff_t>(tokenizer.prefix_tokens("").value());
    leading.assign(around.begin(), split);
    trailing.assign(split, around.end());
  }

  Tokenizer tokenizer;
  Ids leading{};
  Ids trailing{};
};

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies = [] {
    std::vector<Family> all;
    for (const char* name : {"wordpiece", "byte_level", "unigram"}) all.emplace_back(name);
    return all;
  }();
  return kFamilies;
}

// The slow twin of truncation: the text's tokens alone, cut, and the template around them again.
Ids cut(const Family& family, const Ids& whole, std::size_t limit, TruncationSide side) {
  const auto leading = static_cast<std::ptrdiff_t>(family.leading.size());
  const auto trailing = static_cast<std::ptrdiff_t>(family.trailing.size());
  Ids own(whole.begin() + leading, whole.end() - trailing);
  while (own.size() + family.leading.size() + family.trailing.size() > limit) {
    own.erase(side == TruncationSide::Right ? own.end() - 1 : own.begin());
  }
  Ids ids = family.leading;
  ids.insert(ids.end(), own.begin(), own.end());
  ids.insert(ids.end(), family.trailing.begin(), family.trailing.end());
  return ids;
}

void check_refused(const Family& family, std::string_view text, std::size_t offset) {
  // Bytes are counted from where the text begins, whatever stands before it.
  for (const std::string_view prompt : {std::string_view(), kPrompt}) {
    const auto encoding = family.tokenizer.encode(text, {}, prompt);
    check(!encoding, "what is not UTF-8 is refused");
    check_error(encoding.error(), {ErrorCode::InvalidArgument});
    check(encoding.error().message ==
              "the text is not UTF-8: no character begins at byte " + std::to_string(offset),
          "the offset is right: " + encoding.error().message);
  }
  check(!family.tokenizer.prefix_tokens(text), "a prefix that is not UTF-8 is refused");
}

void check_prompt(const Family& family, std::string_view text) {
  const auto encoding = family.tokenizer.encode(text, {}, kPrompt);
  const auto joined = family.tokenizer.encode(std::string(kPrompt).append(text), {});
  check(encoding && joined && encoding->ids == joined->ids, "a prompt stands before the text");
}

void check_limit(const Family& family, std::string_view text, const Ids& whole, std::size_t limit) {
  for (const TruncationSide side : {TruncationSide::Right, TruncationSide::Left}) {
    const auto encoding = family.tokenizer.encode(text, {limit, TooLong::Truncate, side});
    check(encoding && encoding->ids == cut(family, whole, limit, side),
          "a long text loses its own tokens");
    check(encoding->type_ids.size() == encoding->ids.size(), "types are cut with their tokens");
    check(encoding->truncated == (whole.size() > limit), "truncated says whether it was");
  }
}

void check_too_long(const Family& family, std::string_view text, std::size_t tokens) {
  constexpr std::size_t kLimit = 5;
  const auto refused = family.tokenizer.encode(text, {kLimit, TooLong::Refuse});
  check(refused.has_value() == (tokens <= kLimit), "only a long text is refused");
  if (!refused) check_error(refused.error(), {ErrorCode::InputTooLong});
}

bool begins_character(std::string_view text, std::uint64_t byte) {
  return byte == text.size() || (static_cast<unsigned char>(text[byte]) & 0xC0U) != 0x80U;
}

void check_windows(const Family& family, std::string_view text, std::string_view prompt,
                   std::size_t room) {
  const auto whole = family.tokenizer.encode(text, {0, TooLong::Chunk}, prompt);
  check(whole && whole->ids == family.tokenizer.encode(text, {}, prompt)->ids,
        "a text that is to be split has the ids that it has otherwise");
  const std::size_t around = whole->ids.size() - whole->spans.size();
  const std::size_t overlap = room / 2;
  const auto windows = tokens::split(*whole, text.size(), {room + around, overlap});
  if (!windows) {
    check_error(windows.error(), {ErrorCode::InputTooLong});
    return;
  }
  Ids ids(whole->ids.begin(), whole->ids.begin() + static_cast<std::ptrdiff_t>(whole->text_begin));
  std::uint64_t end = 0;
  for (const tokens::Window& window : *windows) {
    const Ids part = tokens::cut_out(*whole, window).ids;
    check(part.size() <= room + around && part.size() == window.chunk.tokens + around,
          "a window has the size it says, and it fits");
    const bool first = &window == &windows->front();
    const std::size_t known = whole->text_begin + (first ? 0 : overlap);
    check(std::equal(ids.end() - static_cast<std::ptrdiff_t>(first ? 0 : overlap), ids.end(),
                     part.begin() + static_cast<std::ptrdiff_t>(whole->text_begin)),
          "neighbours share tokens");
    ids.insert(ids.end(), part.begin() + static_cast<std::ptrdiff_t>(known),
               part.end() - static_cast<std::ptrdiff_t>(family.trailing.size()));
    check(window.chunk.begin_byte <= end && window.chunk.begin_byte <= window.chunk.end_byte,
          "no byte is left out");
    check(begins_character(text, window.chunk.begin_byte) &&
              begins_character(text, window.chunk.end_byte),
          "a window's bytes are whole characters");
    end = window.chunk.end_byte;
  }
  ids.insert(ids.end(), family.trailing.begin(), family.trailing.end());
  check(ids == whole->ids, "the windows hold every token once but for what they share");
  check(windows->front().chunk.begin_byte == 0 && end == text.size(), "and every byte");
}

void check_text(const Family& family, std::string_view text) {
  const auto whole = family.tokenizer.encode(text, {});
  check(whole.has_value(), "UTF-8 is encoded");
  check(!whole->truncated, "without a limit nothing is cut");
  for (const std::uint32_t id : whole->ids) {
    check(id <= family.tokenizer.id_max(), "no id is above id_max");
  }
  // With room for everything the twin gives back what it got, unless the template is not whole.
  check(cut(family, whole->ids, whole->ids.size(), TruncationSide::Right) == whole->ids,
        "the template stands around the text");
  const std::size_t added = family.tokenizer.special_tokens_added();
  check(added == family.leading.size() + family.trailing.size(), "the empty text is the template");
  for (const std::size_t limit : {added, added + 1, std::size_t{5}, std::size_t{512}}) {
    check_limit(family, text, whole->ids, limit);
  }
  check_too_long(family, text, whole->ids.size());
  check_prompt(family, text);
  for (const std::size_t room : {std::size_t{1}, std::size_t{4}, whole->ids.size()}) {
    check_windows(family, text, "", room);
    check_windows(family, text, kPrompt, room);
  }
  const auto prefix = family.tokenizer.prefix_tokens(text);
  check(prefix && *prefix + family.trailing.size() == whole->ids.size(),
        "a prefix has all tokens but the trailing ones");
  const auto decoded = family.tokenizer.decode(whole->ids, false);
  check(decoded && is_utf8(*decoded), "ids decode to UTF-8");
  if (text.empty()) return;
  Limits too_small;
  too_small.bytes_max = text.size() - 1;
  check(!family.tokenizer.encode(text, too_small), "the limit of bytes is kept");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t valid = valid_utf8_bytes(text);
  for (const auto& family : families()) {
    if (valid != size) check_refused(family, text, valid);
    // Mutations break nearly every text; what comes before the break is a text.
    check_text(family, text.substr(0, valid));
  }
  return 0;
}

}  // namespace textvec::fuzz
