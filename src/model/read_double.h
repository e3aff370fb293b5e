// In: a JSON number's text. Out: the double nearest to it.
#pragma once

#include <optional>
#include <string>

namespace textvec::model {

// Whatever the process's locale is. `text` has the letters of JSON's numbers, and no sign + at its
// front; `estimate` need only tell what is too large for a double from what is too small. Zero for
// the latter; nothing for the former, and where `text` is not all of a number. CMake picks
// read_double_linux.cpp or read_double_macos.cpp.
std::optional<double> read_double(const std::string& text, double estimate);

}  // namespace textvec::model
