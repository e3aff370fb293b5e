// In: a whole text's encoding. Out: its windows. See windows.h.
#include "tokens/windows.h"

#include <algorithm>
#include <string>

namespace textvec::tokens {
namespace {

std::size_t overlap_of(const WindowLimits& limits, std::size_t room) {
  // What a call's prompt leaves was checked with window_room(); beside some text the prompt may
  // make a token more.
  return std::min(limits.overlap.value_or(room / 8), room - 1);
}

Window window_at(const Encoding& whole, std::size_t token, std::size_t room,
                 std::size_t text_bytes) {
  const std::vector<Span>& spans = whole.spans;
  const std::size_t end = token + std::min(room, spans.size() - token);
  Window window{token, {0, text_bytes, static_cast<std::uint32_t>(end - token)}};
  if (token > 0) window.chunk.begin_byte = spans[token].begin;
  if (end < spans.size()) window.chunk.end_byte = std::max(spans[end - 1].end, spans[end].begin);
  return window;
}

std::vector<std::uint32_t> cut_out(const std::vector<std::uint32_t>& all, const Encoding& whole,
                                   const Window& window) {
  const auto at = [&](std::size_t token) {
    return all.begin() + static_cast<std::ptrdiff_t>(token);
  };
  const std::size_t begin = whole.text_begin + window.text_token;
  std::vector<std::uint32_t> part(at(0), at(whole.text_begin));
  part.insert(part.end(), at(begin), at(begin + window.chunk.tokens));
  part.insert(part.end(), at(whole.text_begin + whole.spans.size()), all.end());
  return part;
}

}  // namespace

Result<std::size_t> window_room(const WindowLimits& limits, std::size_t around) {
  if (limits.tokens_max <= around) {
    return Error{ErrorCode::InvalidArgument,
                 "a window of " + std::to_string(limits.tokens_max) +
                     " tokens has no room for text beside " + std::to_string(around) +
                     " special and prompt tokens; it takes at least " + std::to_string(around + 1)};
  }
  const std::size_t room = limits.tokens_max - around;
  if (limits.overlap && *limits.overlap >= room) {
    return Error{ErrorCode::InvalidArgument, "chunk_overlap is " + std::to_string(*limits.overlap) +
                                                 "; windows of " +
                                                 std::to_string(limits.tokens_max) +
                                                 " tokens take 0 to " + std::to_string(room - 1)};
  }
  return room;
}

Result<std::vector<Window>> split(const Encoding& whole, std::size_t text_bytes,
                                  const WindowLimits& limits) {
  const std::size_t tokens = whole.spans.size();
  if (whole.ids.size() <= limits.tokens_max)
    return std::vector{window_at(whole, 0, tokens, text_bytes)};
  const auto room = window_room({limits.tokens_max, std::nullopt}, whole.ids.size() - tokens);
  if (!room) return room.error();
  const std::size_t step = *room - overlap_of(limits, *room);
  const std::size_t count = 1 + (tokens - *room + step - 1) / step;
  if (count > kWindowsMax) {
    return Error{ErrorCode::InputTooLong, "text of " + std::to_string(count) + " windows of " +
                                              std::to_string(limits.tokens_max) +
                                              " tokens; at most " + std::to_string(kWindowsMax)};
  }
  std::vector<Window> windows;
  windows.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    windows.push_back(window_at(whole, i * step, *room, text_bytes));
  }
  return windows;
}

Encoding cut_out(const Encoding& whole, const Window& window) {
  return {cut_out(whole.ids, whole, window), cut_out(whole.type_ids, whole, window), false, 0, {}};
}

}  // namespace textvec::tokens
