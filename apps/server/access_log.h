// In: a request that was answered. Out: a line of JSON on standard error. Never a text, never a
// key.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace textvec::server {

struct Access {
  std::string_view id{};
  std::string_view trace_id{};  // empty: none
  std::string_view peer{};
  std::string_view method{};
  std::string_view path{};
  unsigned status = 0;
  std::size_t bytes_in = 0;
  std::size_t bytes_out = 0;
  std::size_t texts = 0;
  std::size_t tokens = 0;
  std::chrono::microseconds time{};
  std::string_view note{};  // what went wrong
};

// `now` is the wall clock's.
std::string access_line(const Access& access, std::chrono::system_clock::time_point now);
// In one write, so that lines do not mix. A standard error that is gone or full loses the line, and
// nothing else.
void write_line(std::string_view line);

// "2026-11-27T10:00:00.000Z"
std::string utc(std::chrono::system_clock::time_point time);

}  // namespace textvec::server
