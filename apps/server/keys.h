// In: a file of API keys, then Authorization fields. Out: whether one of them may come in. Compared
// in constant time: how long a wrong key takes tells nothing of a right one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/result.h"

namespace textvec::server {

class Keys {
 public:
  // No key: everybody may come in.
  Keys() = default;

  // A key a line, 16 to 1,024 visible ASCII characters; empty lines and lines that begin with # are
  // left out; at most 1,000 keys. Errors: NotFound, InvalidArgument (the line's number, never its
  // content).
  static Result<Keys> read(const std::string& file);
  static Result<Keys> parse(std::string_view text);

  bool empty() const noexcept { return hashes_.empty(); }
  // `authorization`: "Bearer KEY".
  bool allow(std::string_view authorization) const;

 private:
  using Hash = std::array<unsigned char, 32>;
  std::vector<Hash> hashes_{};
};

}  // namespace textvec::server
