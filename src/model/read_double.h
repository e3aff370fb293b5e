// In: a JSON number's text. Out: the double nearest to it.
#pragma once

#include <optional>
#include <string>

namespace textvec::model {

// Whatever the process's locale is. `text` follows JSON's grammar; `estimate` need only tell what
// is too large for a double from what is too small. Nothing for the former, zero for the latter.
// CMake picks read_double_linux.cpp or read_double_macos.cpp.
std::optional<double> read_double(const std::string& text, double estimate);

}  // namespace textvec::model
