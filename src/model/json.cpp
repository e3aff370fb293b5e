// In: JSON text. Out: a small immutable tree, and typed look-ups. See json.h.
#include "model/json.h"

#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/src.hpp>
#include <charconv>
#include <fstream>
#include <optional>
#include <utility>

#include "model/read_double.h"
#include "model/utf8.h"

namespace textvec::model {
namespace {

constexpr std::size_t kDepthMax = 32;

// Receives the parser's events and builds the tree, one frame per open array or object. Boost's own
// tree would have to be copied, and its numbers are off by a last digit; these are exact.
class Builder {
 public:
  explicit Builder(std::size_t values_max) : values_max_(values_max) {}

  using error_code = boost::system::error_code;
  using string_view = boost::json::string_view;

  // Whole texts are parsed, so that every element is shorter than the text.
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_array_begin(error_code&) { return open(Json::Kind::Array); }
  bool on_object_begin(error_code&) { return open(Json::Kind::Object); }
  bool on_array_end(std::size_t, error_code& error) {
    return close(Json(std::move(frames_.back().array)), error);
  }
  bool on_object_end(std::size_t, error_code& error) {
    return close(Json(std::move(frames_.back().object)), error);
  }
  bool on_key_part(string_view part, std::size_t, error_code&) { return append(part); }
  bool on_key(string_view last, std::size_t, error_code&) {
    append(last);
    frames_.back().key = std::exchange(text_, {});
    return true;
  }
  bool on_string_part(string_view part, std::size_t, error_code&) { return append(part); }
  bool on_string(string_view last, std::size_t, error_code& error) {
    append(last);
    return add(Json(std::exchange(text_, {})), error);
  }
  bool on_number_part(string_view part, error_code&) { return append(part); }
  bool on_int64(std::int64_t value, string_view, error_code& error) {
    text_.clear();
    return add(Json(value), error);
  }
  bool on_uint64(std::uint64_t, string_view last, error_code& error) {
    return on_double(0, last, error);
  }
  bool on_double(double estimate, string_view last, error_code& error);
  bool on_bool(bool value, error_code& error) { return add(Json(value), error); }
  bool on_null(error_code& error) { return add(Json(), error); }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }

  Json take() { return std::move(root_); }
  // What this class refused, in words; empty when the parser itself refused.
  const std::string& refusal() const { return refusal_; }

 private:
  struct Frame {
    Json::Kind kind;
    Json::Array array{};
    Json::Object object{};
    std::string key{};
  };

  bool append(string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool open(Json::Kind kind) {
    frames_.push_back({kind});
    return true;
  }
  bool close(Json value, error_code& error) {
    frames_.pop_back();
    return add(std::move(value), error);
  }
  bool add(Json value, error_code& error);
  bool refuse(std::string why, error_code& error) {
    refusal_ = std::move(why);
    error = boost::json::error::input_error;
    return false;
  }

  const std::size_t values_max_;
  std::vector<Frame> frames_{};
  std::string text_{};  // of the string, key or number being read
  std::size_t values_ = 0;
  Json root_{};
  std::string refusal_{};
};

bool Builder::on_double(double estimate, string_view last, error_code& error) {
  append(last);
  const std::optional<double> value = read_double(text_, estimate);
  if (!value) return refuse("the number " + text_.substr(0, 40) + " is too large", error);
  text_.clear();
  return add(Json(*value), error);
}

bool Builder::add(Json value, error_code& error) {
  if (++values_ > values_max_) {
    return refuse("more than " + std::to_string(values_max_) + " values", error);
  }
  if (frames_.empty()) {
    root_ = std::move(value);
  } else if (frames_.back().kind == Json::Kind::Array) {
    frames_.back().array.push_back(std::move(value));
  } else {
    frames_.back().object.insert_or_assign(std::move(frames_.back().key), std::move(value));
  }
  return true;
}

Error bad(const std::string& source, std::string_view key, const std::string& what) {
  return {ErrorCode::BadModel, source + ": " + shortened(key) + " " + what};
}

Error wrong_kind(const std::string& source, std::string_view key, const Json& found,
                 const std::string& wanted) {
  return bad(source, key, std::string("is ") + kind_name(found.kind()) + "; it takes " + wanted);
}

Error missing(const std::string& source, std::string_view key) {
  return bad(source, key, "is missing");
}

std::string range_text(std::size_t min, std::size_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

const char* kind_name(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::Null:
      return "null";
    case Json::Kind::Boolean:
      return "a boolean";
    case Json::Kind::Integer:
      return "an integer";
    case Json::Kind::Number:
      return "a number";
    case Json::Kind::String:
      return "a string";
    case Json::Kind::Array:
      return "an array";
    case Json::Kind::Object:
      return "an object";
  }
  return "unknown";
}

Json::Json(bool value) : value_(value) {}
Json::Json(std::int64_t value) : value_(value) {}
Json::Json(double value) : value_(value) {}
Json::Json(std::string value) : value_(std::move(value)) {}
Json::Json(Array value) : value_(std::make_shared<const Array>(std::move(value))) {}
Json::Json(Object value) : value_(std::make_shared<const Object>(std::move(value))) {}

// The variant's alternatives stand in the order of Kind.
Json::Kind Json::kind() const noexcept { return static_cast<Kind>(value_.index()); }

bool Json::boolean() const noexcept { return *std::get_if<bool>(&value_); }

std::int64_t Json::integer() const noexcept { return *std::get_if<std::int64_t>(&value_); }

double Json::number() const noexcept {
  if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
    return static_cast<double>(*integer);
  }
  return *std::get_if<double>(&value_);
}

const std::string& Json::string() const noexcept { return *std::get_if<std::string>(&value_); }

const Json::Array& Json::array() const noexcept {
  return **std::get_if<std::shared_ptr<const Array>>(&value_);
}

const Json::Object& Json::object() const noexcept {
  return **std::get_if<std::shared_ptr<const Object>>(&value_);
}

const Json* Json::find(std::string_view key) const noexcept {
  if (!is(Kind::Object)) return nullptr;
  const auto found = object().find(key);
  if (found == object().end() || found->second.is(Kind::Null)) return nullptr;
  return &found->second;
}

Result<Json> parse_json(std::string_view text, std::string_view source, std::size_t values_max) {
  boost::json::parse_options options;
  options.max_depth = kDepthMax;
  boost::json::basic_parser<Builder> parser(options, values_max);
  boost::system::error_code error;
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && consumed < text.size()) error = boost::json::error::extra_data;
  if (!error) return parser.handler().take();
  const std::string& refusal = parser.handler().refusal();
  std::string why = refusal.empty() ? error.message() : refusal;
  if (error == boost::json::error::too_deep) {
    why = "more than " + std::to_string(kDepthMax) + " levels deep";
  }
  return Error{ErrorCode::BadModel, std::string(source) + " is no valid JSON at byte " +
                                        std::to_string(consumed) + ": " + why};
}

Result<Json> read_json_file(const std::filesystem::path& file, std::size_t bytes_max) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {  // a pipe would block
    return Error{ErrorCode::NotFound, "no file " + file.string()};
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::NotFound, "cannot open " + file.string()};
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error || size > bytes_max) {
    return Error{ErrorCode::BadModel, file.string() + " has " + std::to_string(size) +
                                          " bytes; at most " + std::to_string(bytes_max) +
                                          " are read"};
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return parse_json(text, file.string());
}

JsonReader::JsonReader(const Json& json, std::string source)
    : json_(&json), source_(std::move(source)) {}

bool JsonReader::has(std::string_view key) const noexcept { return json_->find(key) != nullptr; }

Result<std::size_t> JsonReader::size(std::string_view key, std::size_t min, std::size_t max) const {
  const Json* found = json_->find(key);
  if (found == nullptr) return missing(source_, key);
  if (!found->is(Json::Kind::Integer)) {
    return wrong_kind(source_, key, *found, "an integer of " + range_text(min, max));
  }
  const std::int64_t value = found->integer();
  if (value < 0 || std::cmp_less(value, min) || std::cmp_greater(value, max)) {
    return bad(source_, key, "is " + std::to_string(value) + "; it takes " + range_text(min, max));
  }
  return static_cast<std::size_t>(value);
}

Result<double> JsonReader::number(std::string_view key) const {
  const Json* found = json_->find(key);
  if (found == nullptr) return missing(source_, key);
  if (!found->is(Json::Kind::Number) && !found->is(Json::Kind::Integer)) {
    return wrong_kind(source_, key, *found, "a number");
  }
  return found->number();
}

Result<std::string> JsonReader::string(std::string_view key) const {
  const Json* found = json_->find(key);
  if (found == nullptr) return missing(source_, key);
  if (!found->is(Json::Kind::String)) return wrong_kind(source_, key, *found, "a string");
  return found->string();
}

Result<std::size_t> JsonReader::size_or(std::string_view key, std::size_t fallback, std::size_t min,
                                        std::size_t max) const {
  return has(key) ? size(key, min, max) : Result<std::size_t>(fallback);
}

Result<double> JsonReader::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : Result<double>(fallback);
}

Result<std::string> JsonReader::string_or(std::string_view key, std::string fallback) const {
  return has(key) ? string(key) : Result<std::string>(std::move(fallback));
}

Result<bool> JsonReader::boolean_or(std::string_view key, bool fallback) const {
  const Json* found = json_->find(key);
  if (found == nullptr) return fallback;
  if (!found->is(Json::Kind::Boolean)) return wrong_kind(source_, key, *found, "a boolean");
  return found->boolean();
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += '"';
  std::size_t next = 0;
  while (next < text.size()) {
    const char character = text[next];
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x80) {
      const std::size_t bytes = character_bytes(text.substr(next));
      out += bytes == 0 ? "\\ufffd" : text.substr(next, bytes);
      next += std::max<std::size_t>(bytes, 1);
      continue;
    }
    ++next;
    if (character == '"' || character == '\\') {
      out += '\\';
      out += character;
    } else if (character == '\n') {
      out += "\\n";
    } else if (character == '\r') {
      out += "\\r";
    } else if (character == '\t') {
      out += "\\t";
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += character;
    }
  }
  out += '"';
}

void append_json_number(std::string& out, float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

}  // namespace textvec::model
