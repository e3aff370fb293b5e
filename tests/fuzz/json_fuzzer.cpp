// In: any bytes, as JSON, as a string to write and as floats to write. Property: a tree that was
// read keeps its limits and is read again from what is written of it; so are strings and floats.
#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "fuzz/bytes.h"
#include "fuzz/check.h"
#include "fuzz/utf8.h"
#include "model/json.h"

namespace textvec::fuzz {
namespace {

using model::Json;
using model::JsonReader;

constexpr std::size_t kDepthMax = 32;
constexpr std::size_t kValuesMax = std::size_t{1} << 22;
constexpr std::size_t kFloatsMax = 64;  // of one input; the time goes to the parser

// With an exponent, so that a Number does not come back as an Integer.
std::string text_of(double value) {
  std::array<char, 64> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
  return {text.data(), end.ptr};
}

// Writes a tree, and checks all that the header promises of its values on the way.
class Writer {
 public:
  void write(const Json& json, std::size_t depth) {
    check(++values_ <= kValuesMax, "a tree has at most 4194304 values");
    switch (json.kind()) {
      case Json::Kind::Null:
        text_ += "null";
        return;
      case Json::Kind::Boolean:
        text_ += json.boolean() ? "true" : "false";
        return;
      case Json::Kind::Integer:
        text_ += std::to_string(json.integer());
        return;
      case Json::Kind::Number:
        check(std::isfinite(json.number()), "a number is finite");
        text_ += text_of(json.number());
        return;
      case Json::Kind::String:
        return write_string(json.string());
      case Json::Kind::Array:
        return write_array(json, depth + 1);
      case Json::Kind::Object:
        return write_object(json, depth + 1);
    }
  }
  const std::string& text() const { return text_; }

 private:
  void write_string(const std::string& text) {
    check(is_utf8(text), "a string is UTF-8");
    model::append_json_string(text_, text);
  }
  void write_array(const Json& json, std::size_t depth) {
    check(depth <= kDepthMax, "a tree is at most 32 levels deep");
    text_ += '[';
    for (const Json& item : json.array()) {
      if (text_.back() != '[') text_ += ',';
      write(item, depth);
    }
    text_ += ']';
  }
  void write_object(const Json& json, std::size_t depth) {
    check(depth <= kDepthMax, "a tree is at most 32 levels deep");
    text_ += '{';
    for (const auto& [key, value] : json.object()) {
      if (text_.back() != '{') text_ += ',';
      write_string(key);
      text_ += ':';
      write(value, depth);
    }
    text_ += '}';
  }

  std::string text_{};
  std::size_t values_ = 0;
};

bool equal(const Json& a, const Json& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Json::Kind::Null:
      return true;
    case Json::Kind::Boolean:
      return a.boolean() == b.boolean();
    case Json::Kind::Integer:
      return a.integer() == b.integer();
    case Json::Kind::Number:
      return std::bit_cast<std::uint64_t>(a.number()) == std::bit_cast<std::uint64_t>(b.number());
    case Json::Kind::String:
      return a.string() == b.string();
    case Json::Kind::Array:
      return std::equal(a.array().begin(), a.array().end(), b.array().begin(), b.array().end(),
                        equal);
    case Json::Kind::Object:
      return std::equal(a.object().begin(), a.object().end(), b.object().begin(), b.object().end(),
                        [](const auto& left, const auto& right) {
                          return left.first == right.first && equal(left.second, right.second);
                        });
  }
  return false;
}

// Each look-up succeeds exactly for its own kind.
void check_look_ups(const Json& json) {
  if (!json.is(Json::Kind::Object)) return;
  const JsonReader reader(json, "input");
  for (const auto& [key, value] : json.object()) {
    const bool null = value.is(Json::Kind::Null);
    const bool integer = value.is(Json::Kind::Integer);
    check(reader.has(key) == !null, "null is absent");
    check(reader.string(key).has_value() == value.is(Json::Kind::String), "string() reads strings");
    check(reader.number(key).has_value() == (integer || value.is(Json::Kind::Number)),
          "number() reads numbers and integers");
    check(reader.boolean_or(key, true).has_value() == (null || value.is(Json::Kind::Boolean)),
          "boolean_or() reads booleans");
    const bool in_range = integer && value.integer() >= 1 && value.integer() <= 100;
    check(reader.size(key, 1, 100).has_value() == in_range, "size() reads integers in its range");
    check(reader.size_or(key, 7, 1, 100).has_value() == (null || in_range),
          "size_or() refuses what is there and wrong");
  }
}

void check_reading(std::string_view text) {
  const auto json = model::parse_json(text, "input");
  if (!json) return check_error(json.error(), {ErrorCode::BadModel});
  check(is_utf8(text), "only UTF-8 is JSON");
  check_look_ups(*json);
  Writer writer;
  writer.write(*json, 0);
  const auto again = model::parse_json(writer.text(), "output");
  check(again && equal(*json, *again), "what is written of a tree reads back to the same tree");
}

// Every byte at which no character begins becomes U+FFFD.
std::string replaced(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const std::size_t size = valid_utf8_bytes(text);
    valid += text.substr(0, size);
    text.remove_prefix(size);
    if (text.empty()) break;
    valid += utf8_of(0xfffd);
    text.remove_prefix(1);
  }
  return valid;
}

void check_string(std::string_view text) {
  std::string written;
  model::append_json_string(written, text);
  const auto read = model::parse_json(written, "string");
  check(read && read->is(Json::Kind::String) && read->string() == replaced(text),
        "a string reads back to the same string, but for bytes that are no text");
}

void check_float(float value) {
  if (!std::isfinite(value)) return;
  std::string written;
  model::append_json_number(written, value);
  float direct = 0;
  std::from_chars(written.data(), written.data() + written.size(), direct);
  check(std::bit_cast<std::uint32_t>(direct) == std::bit_cast<std::uint32_t>(value),
        "a float reads back to the same float");
  const auto read = model::parse_json(written, "float");
  check(read && (read->is(Json::Kind::Integer) || read->is(Json::Kind::Number)),
        "a float is written as JSON");
  // -0 is an Integer to the parser, and integers have no minus zero.
  check(static_cast<float>(read->number()) == value, "a float reads back through a double");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_reading(text);
  check_string(text);
  Bytes bytes(data, size);
  for (std::size_t i = 0; i < kFloatsMax && bytes.left() != 0; ++i) {
    check_float(bytes.number<float>());
  }
  return 0;
}

}  // namespace textvec::fuzz
