// In: bytes. Out: where characters end. For writing what may be no UTF-8: texts to embed are
// checked by the tokenizer.
#pragma once

#include <cstddef>
#include <string_view>

namespace textvec::model {

// Of the character that `text` begins with, when that is one of two to four bytes of UTF-8 (Unicode
// 15, table 3-7); 0 when it is not.
std::size_t character_bytes(std::string_view text);

}  // namespace textvec::model
