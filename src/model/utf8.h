// In: bytes. Out: where characters end. For messages and JSON; texts to embed are checked by the
// tokenizer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace textvec::model {

// Of the character that `text` begins with, when that is one of two to four bytes of UTF-8 (Unicode
// 15, table 3-7); 0 when it is not.
std::size_t character_bytes(std::string_view text);

// For messages: the first 200 bytes, no half character, and "..." for the rest.
std::string shortened(std::string_view text);

}  // namespace textvec::model
