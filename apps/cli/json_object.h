// In: keys and values. Out: JSON text, written in the order given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/result.h"

namespace textvec::cli {

class JsonObject {
 public:
  JsonObject& string(std::string_view key, std::string_view value);
  JsonObject& integer(std::string_view key, std::uint64_t value);
  // Shortest form that reads back to the same number; null when it is not finite.
  JsonObject& number(std::string_view key, double value);
  JsonObject& boolean(std::string_view key, bool value);
  // `json` is JSON text already: an object, an array, a number.
  JsonObject& json(std::string_view key, std::string_view json);

  std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_{};
};

// `items` are JSON texts.
std::string json_array(const std::vector<std::string>& items);
std::string json_strings(const std::vector<std::string>& strings);

// The line that stands for a text without a result, in every jsonl output.
std::string failure_line(std::size_t index, const Error& error);

}  // namespace textvec::cli
