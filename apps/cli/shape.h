// In: "8x32". Out: how many texts of how many tokens.
#pragma once

#include <cstddef>
#include <string_view>

#include "textvec/result.h"

namespace textvec::cli {

struct Shape {
  std::size_t texts = 0;   // 1..4096
  std::size_t tokens = 0;  // of each text; 1..1,048,576
};

// `what` names the option in an error: "bucket". Errors: InvalidArgument.
Result<Shape> parse_shape(std::string_view what, std::string_view text);

}  // namespace textvec::cli
