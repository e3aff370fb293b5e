// In: the body of a request. Out: its members. See body.h.
#include "server/body.h"

#include <limits>
#include <utility>

#include "model/utf8.h"

namespace textvec::server {
namespace {

using model::Json;

// Texts of a request are few, and so are the token ids that a model takes of each.
constexpr std::size_t kValuesMax = std::size_t{1} << 20;

std::string in_quotes(std::string_view text) { return "\"" + model::shortened(text) + "\""; }

// The first byte at which no character begins, or npos.
std::size_t find_bad_byte(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const std::size_t bytes = model::character_bytes(text.substr(at));
    if (bytes == 0) return at;
    at += bytes;
  }
  return std::string_view::npos;
}

}  // namespace

std::size_t Inputs::bytes() const noexcept {
  std::size_t sum = 0;
  for (const std::string& text : texts) sum += text.size();
  for (const auto& list : ids) sum += list.size() * sizeof(list.front());
  return sum;
}

Body::Body(std::string_view text) {
  if (text.empty()) {
    fail({{ErrorCode::InvalidArgument, "the body is empty; it takes a JSON object"}, {}, {}});
    return;
  }
  if (const std::size_t bad = find_bad_byte(text); bad != std::string_view::npos) {
    fail({{ErrorCode::InvalidArgument,
           "the body is not UTF-8: no character begins at byte " + std::to_string(bad)},
          {},
          Fault::BadUtf8});
    return;
  }
  auto json = model::parse_json(text, "the body", kValuesMax);
  if (!json) {
    fail({{ErrorCode::InvalidArgument, json.error().message}, {}, Fault::BadJson});
    return;
  }
  json_ = std::move(*json);
  if (json_.is(Json::Kind::Object)) return;
  fail({{ErrorCode::InvalidArgument,
         std::string("the body is ") + kind_name(json_.kind()) + "; it takes a JSON object"},
        {},
        {}});
}

void Body::fail(Problem problem) {
  if (!problem_) problem_ = std::move(problem);
}

void Body::fail(std::string_view name, std::string what, Fault fault) {
  fail({{ErrorCode::InvalidArgument, std::move(what)}, prefix_ + std::string(name), fault});
}

const Json* Body::find(std::string_view name) const noexcept {
  return problem_ ? nullptr : json_.find(name);
}

bool Body::has(std::string_view name) const noexcept { return find(name) != nullptr; }

std::optional<std::string> Body::string(std::string_view name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (found->is(Json::Kind::String)) return found->string();
  fail(name, std::string("is ") + kind_name(found->kind()) + "; it takes a string");
  return std::nullopt;
}

std::optional<bool> Body::boolean(std::string_view name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (found->is(Json::Kind::Boolean)) return found->boolean();
  fail(name, std::string("is ") + kind_name(found->kind()) + "; it takes true or false");
  return std::nullopt;
}

std::optional<std::uint64_t> Body::integer(std::string_view name, std::uint64_t min,
                                           std::uint64_t max) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  const std::string range = std::to_string(min) + " to " + std::to_string(max);
  if (!found->is(Json::Kind::Integer)) {
    fail(name, std::string("is ") + kind_name(found->kind()) + "; it takes an integer of " + range);
    return std::nullopt;
  }
  const std::int64_t value = found->integer();
  if (value < 0 || std::cmp_less(value, min) || std::cmp_greater(value, max)) {
    fail(name, "is " + std::to_string(value) + "; it takes " + range);
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(value);
}

std::optional<std::size_t> Body::choice(std::string_view name,
                                        const std::vector<std::string_view>& choices) {
  const auto given = string(name);
  if (!given) return std::nullopt;
  std::string names;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == *given) return i;
    names += (i == 0 ? "" : ", ") + std::string(choices[i]);
  }
  fail(name, "is " + in_quotes(*given) + "; it takes one of " + names);
  return std::nullopt;
}

void Body::read_ids(const std::string& name, const Json::Array& items,
                    std::vector<std::uint32_t>& ids) {
  ids.reserve(items.size());
  for (const Json& item : items) {
    const std::string at = "[" + std::to_string(ids.size()) + "]";  // short: no allocation
    if (!item.is(Json::Kind::Integer)) {
      return fail(name + at, std::string("is ") + kind_name(item.kind()) + " among token ids");
    }
    if (item.integer() < 0 || item.integer() > std::numeric_limits<std::uint32_t>::max()) {
      return fail(name + at, "is " + std::to_string(item.integer()) + ", which is no token id");
    }
    ids.push_back(static_cast<std::uint32_t>(item.integer()));
  }
}

// REQUIRES: the list is not empty.
void Body::read_list(std::string_view name, const Json& list, bool ids, Inputs& inputs) {
  const Json::Array& items = list.array();
  const Json::Kind kind = items.front().kind();
  if (kind == Json::Kind::Integer && ids) {  // one text
    inputs.single = true;
    return read_ids(std::string(name), items, inputs.ids.emplace_back());
  }
  const bool takes = kind == Json::Kind::String || (ids && kind == Json::Kind::Array);
  for (std::size_t i = 0; i < items.size() && !problem_; ++i) {
    const Json& item = items[i];
    const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
    if (!takes) {
      fail(at, std::string("is ") + kind_name(item.kind()) +
                   (ids ? "; it takes a string or token ids" : "; it takes a string"));
    } else if (item.kind() != kind) {
      fail(at,
           std::string("is ") + kind_name(item.kind()) + ", where the first is " + kind_name(kind));
    } else if (kind == Json::Kind::String) {
      inputs.texts.push_back(item.string());
    } else if (item.array().empty()) {
      fail(at, "holds no token id", Fault::Empty);
    } else {
      read_ids(at, item.array(), inputs.ids.emplace_back());
    }
  }
}

Inputs Body::inputs(std::string_view name, std::size_t texts_max, bool ids) {
  Inputs inputs;
  const Json* found = find(name);
  if (found == nullptr) {
    fail(name, "is missing");
    return inputs;
  }
  if (found->is(Json::Kind::String)) {
    inputs.single = true;
    inputs.texts.push_back(found->string());
    return inputs;
  }
  if (!found->is(Json::Kind::Array)) {
    fail(name, std::string("is ") + kind_name(found->kind()) + "; it takes a string or an array");
    return inputs;
  }
  if (found->array().empty()) {
    fail(name, "is an empty list", Fault::Empty);
    return inputs;
  }
  const bool one_text = ids && found->array().front().is(Json::Kind::Integer);
  if (!one_text && found->array().size() > texts_max) {
    fail(name, "has " + std::to_string(found->array().size()) + " texts; a request takes " +
                   std::to_string(texts_max));
    return inputs;
  }
  read_list(name, *found, ids, inputs);
  return inputs;
}

Body Body::object(std::string_view name) {
  Body inner;
  inner.prefix_ = prefix_ + std::string(name) + ".";
  const Json* found = find(name);
  if (found != nullptr && !found->is(Json::Kind::Object)) {
    fail(name, std::string("is ") + kind_name(found->kind()) + "; it takes an object");
  }
  inner.problem_ = problem_;
  if (found != nullptr && !problem_) inner.json_ = *found;
  return inner;
}

}  // namespace textvec::server
