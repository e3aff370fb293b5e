// In: the head of a request. Out: its route, or a reply. See gate.h.
#include "server/gate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <random>

#include "server/status.h"

namespace textvec::server {
namespace {

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// One rule for all routes: JSON, in UTF-8. A web page cannot send that to another origin without
// being asked first, as it can text/plain.
bool is_json(std::string_view content_type) {
  std::string type = lowered(content_type);
  std::erase_if(type, [](char c) { return c == ' ' || c == '\t' || c == '"'; });
  return type == "application/json" || type == "application/json;charset=utf-8" ||
         type == "application/json;charset=utf8";
}

std::optional<Reply> check_key(const Head& head, const Keys& keys, Dialect dialect) {
  if (head.count("authorization") > 1) {
    return refusal_reply(dialect, 400, "a request has one Authorization field");
  }
  const std::string* authorization = head.find("authorization");
  if (keys.allow(authorization == nullptr ? std::string_view() : *authorization)) {
    return std::nullopt;
  }
  return refusal_reply(dialect, 401, "this server asks for \"Authorization: Bearer KEY\"");
}

// Its connection is a proxy's or a browser's, and who asks may be anywhere.
bool was_passed_on(const Head& head) {
  constexpr std::array<std::string_view, 5> kSigns{"origin", "forwarded", "x-forwarded-for",
                                                   "x-real-ip", "via"};
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&head](std::string_view name) { return head.count(name) > 0; });
}

std::optional<Reply> check_body_type(const Head& head, const Framing& framing, Dialect dialect) {
  if (head.count("content-encoding") > 0) {
    const std::string* encoding = head.find("content-encoding");
    if (encoding == nullptr || lowered(*encoding) != "identity") {
      return refusal_reply(dialect, 415, "bodies are taken without a Content-Encoding");
    }
  }
  if (!framing.has_body() || head.count("content-type") == 0) return std::nullopt;
  const std::string* type = head.find("content-type");
  if (type != nullptr && is_json(*type)) return std::nullopt;
  return refusal_reply(dialect, 415, "a body's Content-Type is application/json, in UTF-8");
}

std::optional<Reply> read_timeout(const Head& head, Dialect dialect,
                                  std::chrono::milliseconds& timeout) {
  if (head.count("x-request-timeout-ms") == 0) return std::nullopt;
  const std::string* text = head.find("x-request-timeout-ms");
  std::uint32_t milliseconds = 0;
  const char* end = text == nullptr ? nullptr : text->data() + text->size();
  if (text != nullptr) {
    const auto read = std::from_chars(text->data(), end, milliseconds);
    if (read.ec == std::errc() && read.ptr == end && milliseconds > 0) {
      timeout = std::min(timeout, std::chrono::milliseconds(milliseconds));
      return std::nullopt;
    }
  }
  return refusal_reply(dialect, 400,
                       "x-request-timeout-ms takes a whole number of 1 to 4294967295");
}

// Browsers ask before they send; only pages of listed origins are told that they may.
std::optional<Reply> answer_preflight(const Head& head, const std::string& origin) {
  if (head.method != "OPTIONS" || origin.empty() ||
      head.count("access-control-request-method") == 0) {
    return std::nullopt;
  }
  Reply reply;
  reply.status = 204;
  reply.content_type.clear();
  reply.fields = {{"access-control-allow-methods", "GET, POST"},
                  {"access-control-allow-headers",
                   "authorization, content-type, traceparent, tracestate, x-request-id, "
                   "x-request-timeout-ms"},
                  {"access-control-max-age", "600"}};
  return reply;
}

}  // namespace

std::optional<Reply> check_head(const Head& head, const Framing& framing, const Keys& keys,
                                const ServeOptions& options, const Service& service, bool is_local,
                                Passage& passage) {
  const std::string_view path = head.path();
  const Dialect dialect = dialect_of(path);
  const auto& origins = options.cors_origins;
  const std::string* origin = head.find("origin");
  if (origin != nullptr && std::find(origins.begin(), origins.end(), *origin) != origins.end()) {
    passage.origin = *origin;
  }
  if (auto reply = answer_preflight(head, passage.origin)) return reply;
  std::string allowed;
  passage.route = service.find(head.method, path, allowed);
  if (passage.route == nullptr || !passage.route->is_open) {
    if (auto reply = check_key(head, keys, dialect)) return reply;
  }
  if (passage.route == nullptr) {
    Reply reply = allowed.empty() ? refusal_reply(dialect, 404, "there is no such path here")
                                  : refusal_reply(dialect, 405, "the path takes " + allowed);
    if (!allowed.empty()) reply.fields.emplace_back("allow", allowed);
    return reply;
  }
  if (passage.route->is_local && (!is_local || was_passed_on(head))) {
    return refusal_reply(dialect, 403,
                         "the path is for programs of this machine, not for web pages or proxies");
  }
  if (auto reply = check_body_type(head, framing, dialect)) return reply;
  passage.timeout = passage.route->action == Action::Reload ? options.limits.reload_max
                                                            : options.limits.request_max;
  return read_timeout(head, dialect, passage.timeout);
}

std::string request_id(const Head& head) {
  const std::string* given = head.find("x-request-id");
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  if (given != nullptr && !given->empty() && given->size() <= 64 &&
      std::all_of(given->begin(), given->end(), is_plain)) {
    return *given;
  }
  // Told apart from those of other servers and other starts by its first half.
  static const std::uint64_t start = std::random_device{}();
  static std::atomic<std::uint64_t> count{0};
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::uint64_t number = start << 32 | (count.fetch_add(1) & 0xffffffffU);
  std::string id;
  for (int shift = 60; shift >= 0; shift -= 4) id += kDigits[number >> shift & 15U];
  return id;
}

}  // namespace textvec::server
