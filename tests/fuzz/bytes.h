// In: a fuzzer's bytes. Out: the numbers and texts that a target makes of them, one after another;
// zeros when the bytes are used up, so that every input means something.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace textvec::fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : next_(data), left_(size) {}

  std::size_t left() const { return left_; }

  // The raw bits of an integer or a float: NaN, infinity and every other pattern occur.
  template <class Number>
  Number number() {
    Number value{};
    const std::size_t size = std::min(left_, sizeof(Number));
    if (size != 0) std::memcpy(&value, next_, size);
    skip(size);
    return value;
  }

  // One byte, as a number of min to max. REQUIRES: min <= max.
  std::size_t between(std::size_t min, std::size_t max) {
    return min + number<std::uint8_t>() % (max - min + 1);
  }

  // As many bytes as there are, at most `size`.
  std::string text(std::size_t size) {
    size = std::min(left_, size);
    const std::string value(reinterpret_cast<const char*>(next_), size);
    skip(size);
    return value;
  }

 private:
  void skip(std::size_t size) {
    next_ += size;
    left_ -= size;
  }

  const std::uint8_t* next_;
  std::size_t left_;
};

}  // namespace textvec::fuzz
