// In: any bytes, as a tokenizer.json. Property: it is refused, or it encodes every text to ids of
// its vocabulary within the limit, or says why not. A panic of the crate is an error like another.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <thread>

#include "fuzz/check.h"
#include "tokens/tokenizer.h"

namespace textvec::fuzz {
namespace {

using tokens::Limits;
using tokens::Tokenizer;

// Loading takes time by the file's length, which is no failure: the limit keeps an input fast.
constexpr std::size_t kFileBytesMax = std::size_t{1} << 16;

// Forms that normalizers, pre-tokenizers and models stumble over; short, because the file decides
// how much work a byte is.
constexpr std::string_view kTexts[] = {
    "",
    " ",
    "a",
    std::string_view("a\0b", 3),
    "The house, and 3 cats' sea.  ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\r\n\t \v\f\x7f\x01",
    "[CLS] a [SEP][PAD]<s></s><unk><|endoftext|>[UNK]<0x0A>##a",
    "\xe2\x96\x81\xe2\x96\x81"
    "a \xc4\xa0 \xc4\x8a",                          // what stands for spaces in vocabularies
    "cafe\xcc\x81 caf\xc3\xa9 \xcc\x81\xcc\x81",    // composed, decomposed, marks alone
    "\xef\xb7\xba \xef\xac\x83 \xc2\xbd",           // compatibility forms: one becomes eighteen
    "\xc4\xb0 \xe1\xba\x9e \xce\xa3",               // change their length with their case
    "\xe5\xae\xb6\xe6\x97\x8f \xed\x95\x9c",        // no spaces between words; Hangul
    "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9"  // joined
    "\xef\xb8\x8f\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
    "\xd7\xa9\xd7\x9c \xd8\xb3\xd9\x84\xe2\x80\x8f \xe0\xb8\xaa",        // right to left; Thai
    "\xef\xbb\xbf\xef\xbf\xbd\xef\xbf\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",  // no characters at all
};

void check_encode_error(const Error& error) {
  check_error(error, {ErrorCode::InvalidArgument, ErrorCode::InputTooLong, ErrorCode::Internal});
}

void check_text(const Tokenizer& tokenizer, std::string_view text, const Limits& limits) {
  const auto encoding = tokenizer.encode(text, limits);
  if (!encoding) return check_encode_error(encoding.error());
  check(limits.tokens_max == 0 || encoding->ids.size() <= limits.tokens_max, "the limit is kept");
  check(encoding->ids.size() >= tokenizer.special_tokens_added(), "special tokens stay");
  check(encoding->ids.size() == encoding->type_ids.size(), "every id has a type");
  for (const std::uint32_t id : encoding->ids) {
    check(id <= tokenizer.id_max(), "no id is above id_max");
  }
  const auto decoded = tokenizer.decode(encoding->ids, true);
  if (!decoded) check_encode_error(decoded.error());
}

void check_file(std::string_view json) {
  const bool lower_case = json.size() % 2 != 0;
  const auto tokenizer = Tokenizer::parse(json, "input", {lower_case, {}});
  if (!tokenizer) return check_error(tokenizer.error(), {ErrorCode::BadModel});
  check(tokenizer->vocabulary_size() != 0, "a tokenizer has a vocabulary");
  const std::size_t added = tokenizer->special_tokens_added();
  for (const std::string_view text : kTexts) {
    check_text(*tokenizer, text, {});
    check_text(*tokenizer, text, {added + 1});
    check_text(*tokenizer, text, {added, TooLong::Truncate, TruncationSide::Left});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  if (size > kFileBytesMax) {
    return -1;  // libFuzzer: not into the corpus
  }
  // The crate keeps the words of every BPE model for as long as the thread lives.
  std::thread(check_file, json).join();
  return 0;
}

}  // namespace textvec::fuzz
