// In: "8x32". Out: how many texts of how many tokens. See shape.h.
#include "shape.h"

#include <charconv>
#include <string>

#include "model/utf8.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kTextsMax = 4096;
constexpr std::size_t kTokensMax = std::size_t{1} << 20;

bool read_within(std::string_view text, std::size_t max, std::size_t& value) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && value >= 1 &&
         value <= max;
}

}  // namespace

Result<Shape> parse_shape(std::string_view what, std::string_view text) {
  Shape shape;
  const std::size_t x = text.find('x');
  if (x != std::string_view::npos && read_within(text.substr(0, x), kTextsMax, shape.texts) &&
      read_within(text.substr(x + 1), kTokensMax, shape.tokens)) {
    return shape;
  }
  return Error{ErrorCode::InvalidArgument,
               std::string(what) + " \"" + model::shortened(text) +
                   "\"; it takes TEXTSxTOKENS, such as 8x128, of at most " +
                   std::to_string(kTextsMax) + " texts and " + std::to_string(kTokensMax) +
                   " tokens"};
}

Result<std::vector<Bucket>> parse_buckets(std::string_view list) {
  std::vector<Bucket> buckets;
  for (;;) {
    const std::size_t comma = list.find(',');
    const auto shape = parse_shape("bucket", list.substr(0, comma));
    if (!shape) return shape.error();
    buckets.push_back({shape->texts, shape->tokens});
    if (comma == std::string_view::npos) return buckets;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace textvec::cli
