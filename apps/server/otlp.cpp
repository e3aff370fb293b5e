// In: spans. Out: OTLP's JSON. See otlp.h.
#include "server/otlp.h"

#include <algorithm>
#include <chrono>

#include "cli/json_object.h"
#include "model/utf8.h"
#include "textvec/version.h"

namespace textvec::server {
namespace {

using cli::JsonObject;

constexpr std::size_t kUrlBytesMax = 2048;
// Span.flags: the trace's own, and whether the parent is another process's.
constexpr unsigned kSampled = 0x1;
constexpr unsigned kRemoteIsKnown = 0x100;
constexpr unsigned kRemote = 0x200;

std::string attribute(std::string_view key, std::string_view text) {
  JsonObject value;
  value.string("stringValue", text);
  JsonObject json;
  return json.string("key", key).json("value", value.text()).text();
}

std::string attribute(const Span::Attribute& given) {
  if (const auto* text = std::get_if<std::string>(&given.value)) {
    return attribute(given.key, *text);
  }
  JsonObject value;
  value.string("intValue", std::to_string(std::get<std::int64_t>(given.value)));
  JsonObject json;
  return json.string("key", given.key).json("value", value.text()).text();
}

std::string nanoseconds(std::chrono::system_clock::time_point time) {
  return std::to_string(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

std::string span_json(const Span& span) {
  std::vector<std::string> attributes;
  attributes.reserve(span.attributes.size());
  for (const Span::Attribute& given : span.attributes) attributes.push_back(attribute(given));
  JsonObject json;
  json.string("traceId", span.trace_id).string("spanId", span.id);
  if (!span.parent_id.empty()) json.string("parentSpanId", span.parent_id);
  if (!span.state.empty()) json.string("traceState", span.state);
  json.integer("flags", kSampled | kRemoteIsKnown | (span.parent_is_remote ? kRemote : 0U))
      .string("name", span.name)
      .integer("kind", static_cast<unsigned>(span.kind))
      .string("startTimeUnixNano", nanoseconds(span.begin))
      .string("endTimeUnixNano", nanoseconds(span.end));
  if (!attributes.empty()) json.json("attributes", cli::json_array(attributes));
  if (span.failed) json.json("status", R"({"code":2})");
  return json.text();
}

// Why it is no URL of a collector; nothing: it is.
std::string_view what_is_wrong(std::string_view url, bool is_base) {
  if (url.size() > kUrlBytesMax) return "is longer than 2048 bytes";
  if (std::any_of(url.begin(), url.end(), [](char c) { return c <= 0x20 || c >= 0x7f; })) {
    return "holds a character that no URL has";
  }
  std::string_view rest = url;
  if (url.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return "begins with neither http:// nor https://";
  }
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.empty() || authority.starts_with(':')) return "names no host";
  if (authority.find('@') != authority.npos) return "names a user, which is not taken";
  if (rest.find('#') != rest.npos) return "has a '#'";
  if (is_base && rest.find('?') != rest.npos) return "has a '?', behind which no path can be put";
  return {};
}

}  // namespace

std::string otlp_json(std::string_view service_name, std::span<const Span> spans) {
  std::vector<std::string> all;
  all.reserve(spans.size());
  for (const Span& span : spans) all.push_back(span_json(span));
  JsonObject scope;
  scope.string("name", "textvec").string("version", TEXTVEC_VERSION);
  JsonObject scope_spans;
  scope_spans.json("scope", scope.text()).json("spans", cli::json_array(all));
  JsonObject resource;
  resource.json("attributes", cli::json_array({attribute("service.name", service_name),
                                               attribute("service.version", TEXTVEC_VERSION)}));
  JsonObject resource_spans;
  resource_spans.json("resource", resource.text())
      .json("scopeSpans", cli::json_array({scope_spans.text()}));
  JsonObject body;
  return body.json("resourceSpans", cli::json_array({resource_spans.text()})).text();
}

Result<std::optional<std::string>> otlp_url(const OtlpEndpoint& endpoint) {
  std::string name = "--otlp-endpoint";
  std::string url = endpoint.option;
  bool is_base = true;
  if (url.empty() && !endpoint.traces_url.empty()) {
    name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    url = endpoint.traces_url;
    is_base = false;
  } else if (url.empty()) {
    name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    url = endpoint.base_url;
  }
  if (url.empty()) return std::optional<std::string>();
  if (const auto wrong = what_is_wrong(url, is_base); !wrong.empty()) {
    // A user's password is nothing to show.
    const bool is_secret = url.find('@') != url.npos;
    return Error{ErrorCode::InvalidArgument,
                 name + " " + std::string(wrong) +
                     (is_secret ? std::string() : ": \"" + model::shortened(url) + "\"")};
  }
  if (!is_base) return std::optional(url);
  while (url.ends_with('/')) url.pop_back();
  return std::optional(url + "/v1/traces");
}

}  // namespace textvec::server
