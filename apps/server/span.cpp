// In: a request that was answered. Out: its spans. See span.h.
#include "server/span.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "model/utf8.h"

namespace textvec::server {
namespace {

constexpr std::size_t kHostBytesMax = 255;  // a name in the DNS

using Clock = std::chrono::steady_clock;

// The conventions' list: what else a client may say is one word, so that it makes no new names.
std::string method_of(std::string_view method) {
  constexpr std::array<std::string_view, 9> kKnown{"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                   "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  const bool known = std::find(kKnown.begin(), kKnown.end(), method) != kKnown.end();
  return known ? std::string(method) : "_OTHER";
}

// As the conventions write what differs from request to request.
std::string route_of(std::string_view path) {
  if (!path.ends_with('*')) return std::string(path);
  return std::string(path.substr(0, path.size() - 1)) + "{model}";
}

// "name", "name:80", "[::1]:80": the name, and the port behind it where there is one.
void add_address(std::vector<Span::Attribute>& attributes, std::string_view given,
                 std::string_view name_key, std::string_view port_key) {
  if (given.empty() || given.size() > kHostBytesMax) return;
  const std::size_t bracket = given.find(']');
  const std::size_t colon = given.find(':', bracket == given.npos ? 0 : bracket);
  std::string_view name = given.substr(0, colon);
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  attributes.push_back({name_key, std::string(name)});
  if (colon == given.npos) return;
  std::uint16_t port = 0;
  const char* end = given.data() + given.size();
  const auto read = std::from_chars(given.data() + colon + 1, end, port);
  if (read.ec == std::errc() && read.ptr == end) {
    attributes.push_back({port_key, std::int64_t{port}});
  }
}

// Whether we failed the request, rather than the request us: TEI's word for that is 424.
bool is_ours(unsigned status) { return status >= 500 || status == 424; }

std::vector<Span::Attribute> attributes_of(const Answered& answered) {
  const Reply& reply = *answered.reply;
  const std::string method = method_of(answered.method);
  std::vector<Span::Attribute> attributes{
      {"http.request.method", method},
      {"http.response.status_code", std::int64_t{reply.status}},
      {"url.scheme", std::string(answered.is_tls ? "https" : "http")},
      {"url.path", model::shortened(answered.path)},
      {"network.protocol.version", "1." + std::to_string(answered.minor)},
      {"textvec.request_id", std::string(answered.request_id)}};
  if (method == "_OTHER" && !answered.method.empty()) {
    attributes.push_back({"http.request.method_original", model::shortened(answered.method)});
  }
  if (!answered.route.empty()) {
    attributes.push_back({"http.route", route_of(answered.route)});
  }
  add_address(attributes, answered.peer, "client.address", "client.port");
  add_address(attributes, answered.host, "server.address", "server.port");
  if (is_ours(reply.status)) attributes.push_back({"error.type", std::to_string(reply.status)});
  if (!reply.model.empty()) attributes.push_back({"textvec.model", reply.model});
  if (reply.texts > 0) {
    attributes.push_back({"textvec.texts", static_cast<std::int64_t>(reply.texts)});
    attributes.push_back({"textvec.tokens", static_cast<std::int64_t>(reply.tokens)});
  }
  return attributes;
}

}  // namespace

std::vector<Span> spans_of(const TraceContext& context, const Answered& answered, const Now& now) {
  const auto wall = [&now](Clock::time_point moment) {
    return now.wall -
           std::chrono::duration_cast<std::chrono::system_clock::duration>(now.steady - moment);
  };
  Span request;
  request.trace_id = context.trace_id;
  request.id = new_span_id();
  request.parent_id = context.parent_id;
  request.parent_is_remote = !context.parent_id.empty();
  request.state = context.state;
  request.name = method_of(answered.method);
  if (request.name == "_OTHER") request.name = "HTTP";
  if (!answered.route.empty()) request.name += " " + route_of(answered.route);
  request.kind = Span::Kind::Server;
  request.begin = wall(answered.begun);
  request.end = now.wall;
  request.attributes = attributes_of(answered);
  request.failed = is_ours(answered.reply->status);
  std::vector<Span> spans{std::move(request)};
  if (!answered.reply->stages) return spans;

  const Stages& stages = *answered.reply->stages;
  Clock::time_point begin = stages.begun;
  const auto add = [&](std::string_view name, std::chrono::microseconds time) {
    Span stage;
    stage.trace_id = context.trace_id;
    stage.id = new_span_id();
    stage.parent_id = spans.front().id;
    stage.state = context.state;
    stage.name = name;
    stage.begin = wall(begin);
    begin += time;
    stage.end = wall(begin);
    spans.push_back(std::move(stage));
  };
  add("tokenize", stages.durations.tokenize);
  add("queue", stages.durations.queue);
  add("inference", stages.durations.inference);
  return spans;
}

}  // namespace textvec::server
