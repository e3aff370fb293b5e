// In: UTF-8 texts. Out: token ids. The only file that calls the tokenizers crate. See tokenizer.h.
#include "tokens/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include "textvec_tokenizers.h"

namespace textvec::tokens {
namespace {

constexpr std::size_t kFileBytesMax = 64U << 20;  // Gemma's, the largest in common use, has 33 MB

struct AnswerFree {
  void operator()(textvec_tokenizers_answer* answer) const noexcept {
    textvec_tokenizers_answer_free(answer);
  }
};
using Answer = std::unique_ptr<textvec_tokenizers_answer, AnswerFree>;

struct HandleFree {
  void operator()(textvec_tokenizers_tokenizer* handle) const noexcept {
    textvec_tokenizers_free(handle);
  }
};
using Handle = std::unique_ptr<textvec_tokenizers_tokenizer, HandleFree>;

// string_view promises nothing about the pointer of an empty one, and neither do Rust's slices.
const std::uint8_t* bytes_of(std::string_view text) noexcept {
  return text.empty() ? nullptr : reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string text_of(const textvec_tokenizers_answer& answer) {
  if (answer.text_bytes == 0) return {};
  return {reinterpret_cast<const char*>(answer.text), answer.text_bytes};
}

std::vector<std::uint32_t> list_of(const std::uint32_t* first, std::size_t count) {
  if (count == 0 || first == nullptr) return {};
  return {first, first + count};
}

// Whether the answer holds a result; else the error that it stands for. `prompt_bytes` stand before
// the text, and its author does not count them.
Result<void> check(const textvec_tokenizers_answer& answer, std::size_t prompt_bytes = 0) {
  switch (answer.status) {
    case TEXTVEC_TOKENIZERS_DONE:
      return {};
    case TEXTVEC_TOKENIZERS_INVALID_UTF8:
      return Error{ErrorCode::InvalidArgument,
                   "the text is not UTF-8: no character begins at byte " +
                       std::to_string(answer.offset - std::min(answer.offset, prompt_bytes))};
    case TEXTVEC_TOKENIZERS_INVALID_ARGUMENT:
      return Error{ErrorCode::InvalidArgument, text_of(answer)};
    case TEXTVEC_TOKENIZERS_PANICKED:
      return Error{ErrorCode::Internal, "the tokenizer panicked: " + text_of(answer)};
    default:
      return Error{ErrorCode::Internal, "the tokenizer failed: " + text_of(answer)};
  }
}

Result<std::string> read_file(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {  // a pipe would block
    return Error{ErrorCode::NotFound, "no file " + file.string()};
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::NotFound, "cannot open " + file.string()};
  // One byte more than allowed is asked for, so that a file which grows meanwhile is refused too.
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  const std::uintmax_t wanted = error ? 0 : std::min<std::uintmax_t>(size, kFileBytesMax + 1);
  std::string bytes(static_cast<std::size_t>(wanted), '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (stream.bad()) return Error{ErrorCode::BadModel, "cannot read " + file.string()};
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  return bytes;
}

// Cuts tokens of the text, never of the template.
void cut(std::vector<std::uint32_t>& ids, const textvec_tokenizers_about& about,
         std::size_t tokens_max, TruncationSide side) {
  const std::size_t excess = ids.size() - tokens_max;
  const std::size_t first =
      side == TruncationSide::Right ? ids.size() - about.trailing - excess : about.leading;
  const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
  ids.erase(begin, begin + static_cast<std::ptrdiff_t>(excess));
}

// The first byte of the character that `byte` belongs to.
std::size_t character_begin(std::string_view text, std::size_t byte) {
  const auto inside = [&](std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
  };
  while (byte > 0 && inside(byte)) --byte;
  return byte;
}

std::size_t character_end(std::string_view text, std::size_t byte) {
  const std::size_t begin = character_begin(text, byte);
  if (begin == byte) return byte;
  do ++byte;
  while (byte < text.size() && character_begin(text, byte) == begin);
  return byte;
}

// Finds the text's own tokens in an answer with spans. `text` begins with the prompt. The crate's
// offsets are those of the text as it was given, but normalisers that reorder combining marks, and
// tokens for which it finds no place, make some go back: those are moved up to where they fit.
void find_text(Encoding& encoding, const textvec_tokenizers_answer& answer,
               const textvec_tokenizers_about& about, std::string_view text,
               std::size_t prompt_bytes) {
  const std::size_t end = answer.ids_count - about.trailing;
  std::size_t token = about.leading;
  while (prompt_bytes > 0 && token < end && answer.spans[token].end <= prompt_bytes) ++token;
  encoding.text_begin = token;
  encoding.spans.reserve(end - token);
  Span last{prompt_bytes, prompt_bytes};
  for (; token < end; ++token) {
    const textvec_tokenizers_span& span = answer.spans[token];
    last.begin = std::max(last.begin, character_begin(text, std::min(span.begin, text.size())));
    last.end = std::max({last.begin, last.end,  //
                         character_end(text, std::min(span.end, text.size()))});
    encoding.spans.push_back({last.begin - prompt_bytes, last.end - prompt_bytes});
  }
}

}  // namespace

struct Tokenizer::Impl {
  Handle handle;
  textvec_tokenizers_about about;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& tokenizer_json,
                                  const Wishes& wishes) {
  const auto bytes = read_file(tokenizer_json);
  if (!bytes) return bytes.error();
  return parse(*bytes, tokenizer_json.string(), wishes);
}

Result<Tokenizer> Tokenizer::parse(std::string_view json, std::string_view source,
                                   const Wishes& wishes) {
  const std::string name(source);
  if (json.size() > kFileBytesMax) {
    return Error{ErrorCode::BadModel, name + " has more than " + std::to_string(kFileBytesMax) +
                                          " bytes, which is the limit"};
  }
  textvec_tokenizers_tokenizer* raw = nullptr;
  const Answer answer(
      textvec_tokenizers_load(bytes_of(json), json.size(), wishes.lower_case ? 1 : 0,
                              bytes_of(wishes.final_token), wishes.final_token.size(), &raw));
  Handle handle(raw);
  if (answer->status != TEXTVEC_TOKENIZERS_DONE || handle == nullptr) {
    return Error{ErrorCode::BadModel, name + " is no usable tokenizer: " + text_of(*answer)};
  }
  const textvec_tokenizers_about about = textvec_tokenizers_describe(handle.get());
  return Tokenizer(std::make_unique<Impl>(Impl{std::move(handle), about}));
}

Result<Encoding> Tokenizer::encode(std::string_view text, const Limits& limits,
                                   std::string_view prompt) const {
  const std::size_t added = special_tokens_added();
  if (limits.tokens_max != 0 && limits.tokens_max < added) {
    return Error{ErrorCode::InvalidArgument, "a limit of " + std::to_string(limits.tokens_max) +
                                                 " tokens is below the " + std::to_string(added) +
                                                 " special tokens around every text"};
  }
  if (text.size() + prompt.size() > limits.bytes_max) {
    return Error{ErrorCode::InvalidArgument,
                 "text of " + std::to_string(text.size() + prompt.size()) +
                     (prompt.empty() ? " bytes" : " bytes with its prompt") + "; the limit is " +
                     std::to_string(limits.bytes_max)};
  }
  std::string joined;
  if (!prompt.empty()) {
    joined.reserve(prompt.size() + text.size());
    text = joined.append(prompt).append(text);
  }
  const bool whole = limits.too_long == TooLong::Chunk;
  const Answer answer(
      textvec_tokenizers_encode(impl_->handle.get(), bytes_of(text), text.size(), whole ? 1 : 0));
  if (const auto checked = check(*answer, prompt.size()); !checked) return checked.error();
  if (answer->ids_count < added) {
    return Error{ErrorCode::Internal, "the tokenizer gave " + std::to_string(answer->ids_count) +
                                          " tokens; the template alone has " +
                                          std::to_string(added)};
  }
  const bool too_long = !whole && limits.tokens_max != 0 && answer->ids_count > limits.tokens_max;
  if (too_long && limits.too_long == TooLong::Refuse) {
    return Error{ErrorCode::InputTooLong, "text of " + std::to_string(answer->ids_count) +
                                              " tokens; the model takes " +
                                              std::to_string(limits.tokens_max)};
  }
  Encoding encoding{list_of(answer->ids, answer->ids_count),
                    list_of(answer->type_ids, answer->ids_count),
                    too_long,
                    0,
                    {}};
  if (whole) find_text(encoding, *answer, impl_->about, text, prompt.size());
  if (too_long) {
    cut(encoding.ids, impl_->about, limits.tokens_max, limits.side);
    cut(encoding.type_ids, impl_->about, limits.tokens_max, limits.side);
  }
  return encoding;
}

Result<std::size_t> Tokenizer::prefix_tokens(std::string_view prefix) const {
  const auto encoding = encode(prefix, {});
  if (!encoding) return encoding.error();
  return encoding->ids.size() - impl_->about.trailing;
}

Result<std::string> Tokenizer::decode(std::span<const std::uint32_t> ids,
                                      bool skip_special_tokens) const {
  const Answer answer(textvec_tokenizers_decode(impl_->handle.get(), ids.data(), ids.size(),
                                                skip_special_tokens ? 1 : 0));
  if (const auto checked = check(*answer); !checked) return checked.error();
  return text_of(*answer);
}

Result<std::string> Tokenizer::token_string(std::uint32_t id) const {
  const Answer answer(textvec_tokenizers_token(impl_->handle.get(), id));
  if (const auto checked = check(*answer); !checked) return checked.error();
  return text_of(*answer);
}

std::size_t Tokenizer::vocabulary_size() const noexcept { return impl_->about.vocabulary_size; }

std::uint32_t Tokenizer::id_max() const noexcept { return impl_->about.id_max; }

std::vector<std::uint32_t> Tokenizer::special_ids() const {
  const Answer answer(textvec_tokenizers_special_ids(impl_->handle.get()));
  return list_of(answer->ids, answer->ids_count);
}

std::size_t Tokenizer::special_tokens_added() const noexcept {
  return impl_->about.leading + impl_->about.trailing;
}

bool Tokenizer::final_token_added() const noexcept { return impl_->about.final_token_added != 0; }

}  // namespace textvec::tokens
