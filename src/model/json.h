// In: JSON text. Out: a small immutable tree, and typed look-ups whose errors name file and key.
// The parser's limits: 32 levels deep, 4,194,304 values or fewer, strict UTF-8, no lone surrogates,
// no comments, no NaN, no number beyond a double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "textvec/result.h"

namespace textvec::model {

class Json {
 public:
  enum class Kind : std::uint8_t { Null, Boolean, Integer, Number, String, Array, Object };
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;  // a repeated key: the last one wins

  Json() = default;
  explicit Json(bool value);
  explicit Json(std::int64_t value);
  explicit Json(double value);
  explicit Json(std::string value);
  explicit Json(Array value);
  explicit Json(Object value);

  Kind kind() const noexcept;
  bool is(Kind kind) const noexcept { return this->kind() == kind; }

  // Only of the right kind; Number also reads an Integer.
  bool boolean() const noexcept;
  std::int64_t integer() const noexcept;
  double number() const noexcept;
  const std::string& string() const noexcept;
  const Array& array() const noexcept;
  const Object& object() const noexcept;

  // The member of an object, or nullptr: absent, null, or this is no object.
  const Json* find(std::string_view key) const noexcept;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string,
               std::shared_ptr<const Array>, std::shared_ptr<const Object>>
      value_{};
};

// "an array", for messages.
const char* kind_name(Json::Kind kind);

// `source` names the text in errors: "config.json", "line 7". Errors: BadModel with the reason and
// the byte offset. Integers above 2^63 - 1 become Number.
// "[[],[],..." costs thirty times its length in memory: `values_max` bounds that.
inline constexpr std::size_t kJsonValuesMax = std::size_t{1} << 22;
Result<Json> parse_json(std::string_view text, std::string_view source,
                        std::size_t values_max = kJsonValuesMax);

// Reads and parses a whole file of at most `bytes_max`. Errors: NotFound, BadModel.
Result<Json> read_json_file(const std::filesystem::path& file, std::size_t bytes_max = 64U << 20);

// Typed look-ups in the object `json` that came from `source`.
class JsonReader {
 public:
  JsonReader(const Json& json, std::string source);

  bool has(std::string_view key) const noexcept;
  // Required: BadModel naming source and key when absent, of another type, or out of range.
  Result<std::size_t> size(std::string_view key, std::size_t min, std::size_t max) const;
  Result<double> number(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  // Optional: the fallback when absent or null; BadModel when of another type or out of range.
  Result<std::size_t> size_or(std::string_view key, std::size_t fallback, std::size_t min,
                              std::size_t max) const;
  Result<double> number_or(std::string_view key, double fallback) const;
  Result<std::string> string_or(std::string_view key, std::string fallback) const;
  Result<bool> boolean_or(std::string_view key, bool fallback) const;

  const Json& json() const noexcept { return *json_; }
  const std::string& source() const noexcept { return source_; }

 private:
  const Json* json_;
  std::string source_;
};

// Writes text as a JSON string with its quotes: escapes as RFC 8259 asks, UTF-8 kept as it is; a
// byte that belongs to no character becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// Shortest decimal form that reads back to the same float. Finite values only.
void append_json_number(std::string& out, float value);

}  // namespace textvec::model
