// In: a request that was answered. Out: its spans, with the names and attributes of OpenTelemetry's
// semantic conventions for HTTP servers, and a few of our own (textvec.*). Never a text, a key or
// what stood behind a question mark.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/reply.h"
#include "server/trace_context.h"

namespace textvec::server {

struct Span {
  enum class Kind : std::uint8_t { Internal = 1, Server = 2 };  // OTLP's numbers
  struct Attribute {
    std::string_view key{};
    std::variant<std::string, std::int64_t> value{};
  };

  std::string trace_id{};
  std::string id{};
  std::string parent_id{};  // empty: none
  bool parent_is_remote = false;
  std::string state{};  // tracestate
  std::string name{};
  Kind kind = Kind::Internal;
  std::chrono::system_clock::time_point begin{};
  std::chrono::system_clock::time_point end{};
  std::vector<Attribute> attributes{};
  bool failed = false;
};

struct Answered {
  std::string_view method{};  // empty: the head was damaged
  std::string_view path{};
  std::string_view route{};  // Route::path; empty: there is none
  std::string_view host{};   // the field Host
  std::string_view peer{};   // "127.0.0.1:50000"
  std::string_view request_id{};
  bool is_tls = false;
  unsigned minor = 1;  // of HTTP/1.x
  std::chrono::steady_clock::time_point begun{};
  const Reply* reply = nullptr;
};

// The request's own span, and behind it one for each stage whose time is known. `now` is the same
// moment on both clocks: spans are in order even when the wall clock was set meanwhile.
struct Now {
  std::chrono::steady_clock::time_point steady = std::chrono::steady_clock::now();
  std::chrono::system_clock::time_point wall = std::chrono::system_clock::now();
};
std::vector<Span> spans_of(const TraceContext& context, const Answered& answered, const Now& now);

}  // namespace textvec::server
