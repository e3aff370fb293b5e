// In: a request's head. Out: which trace the request belongs to, as W3C's Trace Context says it:
// the fields traceparent and tracestate.
#pragma once

#include <optional>
#include <string>

#include "server/head.h"

namespace textvec::server {

struct TraceContext {
  std::string trace_id{};   // 32 hexadecimal digits in lower case, not all of them 0
  std::string parent_id{};  // 16; the caller's span. Empty: the trace begins here
  std::string state{};      // tracestate, as it came
  bool sampled = true;      // the caller wants spans of it
};

// The caller's. Nothing: it named no trace, or none by the rules.
std::optional<TraceContext> read_trace_context(const Head& head);

// A trace that begins here.
TraceContext new_trace_context();

// 16 hexadecimal digits, not all of them 0.
std::string new_span_id();

}  // namespace textvec::server
