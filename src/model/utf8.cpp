// In: bytes. Out: where characters end. See utf8.h.
#include "model/utf8.h"

namespace textvec::model {

std::size_t character_bytes(std::string_view text) {
  struct Form {
    unsigned char first_min, first_max, second_min, second_max;
    std::size_t bytes;
  };
  constexpr Form kForms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                             {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                             {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                             {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  const auto within = [&](std::size_t index, unsigned char min, unsigned char max) {
    const auto byte = static_cast<unsigned char>(text[index]);
    return byte >= min && byte <= max;
  };
  for (const Form& form : kForms) {
    if (text.size() < form.bytes || !within(0, form.first_min, form.first_max)) continue;
    bool whole = within(1, form.second_min, form.second_max);
    for (std::size_t i = 2; i < form.bytes; ++i) whole = whole && within(i, 0x80, 0xbf);
    return whole ? form.bytes : 0;
  }
  return 0;
}

std::string shortened(std::string_view text) {
  constexpr std::size_t kBytesMax = 200;
  if (text.size() <= kBytesMax) return std::string(text);
  std::size_t end = kBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace textvec::model
