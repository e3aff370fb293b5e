// In: "8x32". Out: how many texts of how many tokens.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::cli {

struct Shape {
  std::size_t texts = 0;   // 1..4096
  std::size_t tokens = 0;  // of each text; 1..1,048,576
};

// `what` names the option in an error: "bucket". Errors: InvalidArgument.
Result<Shape> parse_shape(std::string_view what, std::string_view text);

// "1x32,8x128". Errors: InvalidArgument; what a model takes is checked by the library.
Result<std::vector<Bucket>> parse_buckets(std::string_view list);

}  // namespace textvec::cli
