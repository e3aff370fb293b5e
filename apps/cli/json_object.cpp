// In: keys and values. Out: JSON text. See json_object.h.
#include "json_object.h"

#include <charconv>
#include <cmath>

#include "model/json.h"

namespace textvec::cli {

JsonObject& JsonObject::json(std::string_view key, std::string_view json) {
  if (!members_.empty()) members_ += ',';
  model::append_json_string(members_, key);
  members_ += ':';
  members_ += json;
  return *this;
}

JsonObject& JsonObject::string(std::string_view key, std::string_view value) {
  std::string quoted;
  model::append_json_string(quoted, value);
  return json(key, quoted);
}

JsonObject& JsonObject::integer(std::string_view key, std::uint64_t value) {
  return json(key, std::to_string(value));
}

JsonObject& JsonObject::number(std::string_view key, double value) {
  if (!std::isfinite(value)) return json(key, "null");
  char text[32];
  const auto written = std::to_chars(std::begin(text), std::end(text), value);
  return json(key, {text, static_cast<std::size_t>(written.ptr - text)});
}

JsonObject& JsonObject::boolean(std::string_view key, bool value) {
  return json(key, value ? "true" : "false");
}

std::string json_array(const std::vector<std::string>& items) {
  std::string array = "[";
  for (const std::string& item : items) {
    if (array.size() > 1) array += ',';
    array += item;
  }
  return array + "]";
}

std::string json_strings(const std::vector<std::string>& strings) {
  std::vector<std::string> quoted(strings.size());
  for (std::size_t i = 0; i < strings.size(); ++i) {
    model::append_json_string(quoted[i], strings[i]);
  }
  return json_array(quoted);
}

std::string failure_line(std::size_t index, const Error& error) {
  JsonObject what;
  what.string("code", to_string(error.code)).string("message", error.message);
  JsonObject line;
  line.integer("index", index).json("error", what.text());
  return line.text() + "\n";
}

}  // namespace textvec::cli
