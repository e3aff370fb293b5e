// In: a whole text's encoding. Out: the windows that a text of more tokens than the model takes is
// split into (TooLong::Chunk).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/result.h"
#include "tokens/tokenizer.h"

namespace textvec::tokens {

// Of one text. At 512 tokens a window that is a text of some 7 MB.
inline constexpr std::size_t kWindowsMax = 4096;

struct WindowLimits {
  std::size_t tokens_max = 0;  // of a window, with what stands around its tokens of the text
  // Tokens of the text that neighbours share; none: an eighth of what a window has room for.
  std::optional<std::size_t> overlap{};
};

struct Window {
  std::size_t text_token = 0;  // where it begins: an index into Encoding::spans
  Chunk chunk{};
};

// What a window has room for: tokens_max without the `around` special and prompt tokens. Errors:
// InvalidArgument (no room, or the overlap takes all of it; value and limit named).
Result<std::size_t> window_room(const WindowLimits& limits, std::size_t around);

// `whole` is what encode() gave with TooLong::Chunk for a text of `text_bytes`. One window when all
// tokens fit. Each takes as many tokens as it has room for, until one reaches the text's end, and
// that one may be short: so a window does not change when the text grows behind it, the windows are
// those of the tokenizers package's stride, and the weights keep a short one from counting much.
// Balanced windows would give up the first two. A window's bytes reach to where the next token
// begins, the first one's from 0, the last one's to the end: together they hold the whole text.
// Errors: InputTooLong (kWindowsMax; both numbers named), InvalidArgument (as of window_room()).
Result<std::vector<Window>> split(const Encoding& whole, std::size_t text_bytes,
                                  const WindowLimits& limits);

// The window's own ids and type ids, with the special and prompt tokens of the whole around them.
Encoding cut_out(const Encoding& whole, const Window& window);

}  // namespace textvec::tokens
