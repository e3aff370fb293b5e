// In: UTF-8 texts. Out: token ids. The Hugging Face tokenizers crate does the work, behind
// ffi/textvec_tokenizers.h; padding and truncation of tokenizer.json are switched off, because
// batches are padded by batch/ and truncation here keeps special tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::tokens {

struct Limits {
  std::size_t tokens_max = 0;  // special tokens included; 0: no limit
  TooLong too_long = TooLong::Truncate;
  TruncationSide side = TruncationSide::Right;
  std::size_t bytes_max = 1U << 20;  // of one text, prompt included
};

// Bytes of a text: whole characters from `begin` to before `end`.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct Encoding {
  std::vector<std::uint32_t> ids{};
  std::vector<std::uint32_t> type_ids{};  // as the post-processor says; mostly all 0
  bool truncated = false;

  // With TooLong::Chunk: the text's own tokens are ids[text_begin .. text_begin + spans.size());
  // the template's special tokens and the prompt's tokens stand around them. A token made of the
  // end of the prompt and the beginning of the text is the text's. Begins ascend, and so do ends.
  std::size_t text_begin = 0;
  std::vector<Span> spans{};  // in the text without its prompt
};

// What the model wants besides what tokenizer.json says.
struct Wishes {
  bool lower_case = false;
  // Ends every text: put there when the template does not. Empty, or not in the vocabulary:
  // nothing.
  std::string final_token{};
};

// Immutable and thread-safe after load().
class Tokenizer {
 public:
  // Errors: NotFound, BadModel (what the crate said).
  static Result<Tokenizer> load(const std::filesystem::path& tokenizer_json,
                                const Wishes& wishes = {});
  static Result<Tokenizer> parse(std::string_view json, std::string_view source,
                                 const Wishes& wishes = {});

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // One text with special tokens, `prompt` (UTF-8) before it. With TooLong::Chunk it stays whole,
  // whatever tokens_max says, for windows.h to split. Errors: InvalidArgument (bytes_max;
  // invalid UTF-8 with the byte offset in `text`), InputTooLong (both numbers named), Internal (the
  // crate failed or panicked). Never sets Error::text: the caller knows the index.
  Result<Encoding> encode(std::string_view text, const Limits& limits,
                          std::string_view prompt = {}) const;

  // Number of leading tokens that `prefix` makes, leading special tokens included.
  Result<std::size_t> prefix_tokens(std::string_view prefix) const;

  // Errors: InvalidArgument (an id that is not in the vocabulary, named).
  Result<std::string> decode(std::span<const std::uint32_t> ids, bool skip_special_tokens) const;
  Result<std::string> token_string(std::uint32_t id) const;

  std::size_t vocabulary_size() const noexcept;       // added tokens included
  std::uint32_t id_max() const noexcept;              // the largest id that encode() can give
  std::vector<std::uint32_t> special_ids() const;     // added tokens marked special, ascending
  std::size_t special_tokens_added() const noexcept;  // by the template around one text
  bool final_token_added() const noexcept;            // Wishes::final_token was not in the template

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace textvec::tokens
