// In: any bytes. Out: where they stop being UTF-8. The obvious slow twin of every fast check: each
// character is decoded, and must be what its code point encodes to (RFC 3629, section 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace textvec::fuzz {

inline std::string utf8_of(std::uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80U | ((code >> shift) & 0x3fU)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xc0U | (code >> 6)), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xe0U | (code >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xf0U | (code >> 18)), tail(12), tail(6), tail(0)};
}

// Whether all of `bytes` is one character.
inline bool is_character(std::string_view bytes) {
  // What the first byte of 1, 2, 3 and 4 adds to the code point; is_character is false for others.
  constexpr std::uint32_t kFirstBits[] = {0x7f, 0x1f, 0x0f, 0x07};
  if (bytes.empty() || bytes.size() > 4) return false;
  std::uint32_t code = static_cast<std::uint8_t>(bytes.front()) & kFirstBits[bytes.size() - 1];
  for (const char byte : bytes.substr(1))
    code = code << 6 | (static_cast<std::uint8_t>(byte) & 0x3fU);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return !surrogate && code <= 0x10ffff && utf8_of(code) == bytes;
}

// The first byte at which no character begins; the size when there is none.
inline std::size_t valid_utf8_bytes(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t size = 1;
    while (size <= 4 && !is_character(text.substr(at, size))) ++size;
    if (size > 4) return at;
    at += size;
  }
  return at;
}

inline bool is_utf8(std::string_view text) { return valid_utf8_bytes(text) == text.size(); }

}  // namespace textvec::fuzz
