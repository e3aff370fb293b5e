// In: a request's head. Out: which trace it belongs to. See trace_context.h.
#include "server/trace_context.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string_view>

namespace textvec::server {
namespace {

// "VERSION-TRACE-PARENT-FLAGS"
constexpr std::size_t kVersionDigits = 2;
constexpr std::size_t kTraceDigits = 32;
constexpr std::size_t kParentDigits = 16;
constexpr std::size_t kFlagDigits = 2;
constexpr std::size_t kTraceBegin = kVersionDigits + 1;
constexpr std::size_t kParentBegin = kTraceBegin + kTraceDigits + 1;
constexpr std::size_t kFlagsBegin = kParentBegin + kParentDigits + 1;
constexpr std::size_t kBytes = kFlagsBegin + kFlagDigits;
constexpr std::size_t kStateBytesMax = 512;

bool is_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool is_number(std::string_view text) { return std::all_of(text.begin(), text.end(), is_digit); }

bool is_id(std::string_view text) {
  return is_number(text) && text.find_first_not_of('0') != text.npos;
}

bool is_state(std::string_view text) {
  return text.size() <= kStateBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// The last digit's lowest bit.
bool is_sampled(std::string_view flags) {
  const char last = flags.back();
  const int value = last <= '9' ? last - '0' : last - 'a' + 10;
  return value % 2 == 1;
}

std::string random_id(std::size_t digits) {
  static thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id;
  do {
    id.clear();
    while (id.size() < digits) {
      std::uint64_t number = random();
      for (int i = 0; i < 16; ++i, number >>= 4) id += kDigits[number & 15U];
    }
  } while (!is_id(id));
  return id;
}

}  // namespace

std::optional<TraceContext> read_trace_context(const Head& head) {
  const std::string* parent = head.find("traceparent");
  if (parent == nullptr || parent->size() < kBytes) return std::nullopt;
  const std::string_view text = *parent;
  const std::string_view version = text.substr(0, kVersionDigits);
  // A version that is not written yet may say more behind a dash; ff is none.
  if (!is_number(version) || version == "ff") return std::nullopt;
  if (text.size() > kBytes && (version == "00" || text[kBytes] != '-')) return std::nullopt;
  if (text[kTraceBegin - 1] != '-' || text[kParentBegin - 1] != '-' ||
      text[kFlagsBegin - 1] != '-') {
    return std::nullopt;
  }
  const std::string_view trace_id = text.substr(kTraceBegin, kTraceDigits);
  const std::string_view parent_id = text.substr(kParentBegin, kParentDigits);
  const std::string_view flags = text.substr(kFlagsBegin, kFlagDigits);
  if (!is_id(trace_id) || !is_id(parent_id) || !is_number(flags)) return std::nullopt;
  TraceContext context{std::string(trace_id), std::string(parent_id), {}, is_sampled(flags)};
  const std::string* state = head.find("tracestate");
  if (state != nullptr && is_state(*state)) context.state = *state;
  return context;
}

TraceContext new_trace_context() { return {random_id(kTraceDigits), {}, {}, true}; }

std::string new_span_id() { return random_id(kParentDigits); }

}  // namespace textvec::server
