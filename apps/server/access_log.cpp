// In: a request that was answered. Out: a line of JSON. See access_log.h.
#include "server/access_log.h"

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "cli/json_object.h"
#include "model/utf8.h"

namespace textvec::server {

std::string utc(std::chrono::system_clock::time_point time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time - seconds);
  const std::time_t whole = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  gmtime_r(&whole, &parts);
  char text[64];
  const int size =
      std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                    static_cast<int>(milliseconds.count()));
  return {text, static_cast<std::size_t>(size)};
}

std::string access_line(const Access& access, std::chrono::system_clock::time_point now) {
  cli::JsonObject json;
  json.string("time", utc(now)).string("id", access.id);
  if (!access.trace_id.empty()) json.string("trace_id", access.trace_id);
  json.string("peer", access.peer)
      .string("method", access.method)
      .string("path", model::shortened(access.path))
      .integer("status", access.status)
      .integer("bytes_in", access.bytes_in)
      .integer("bytes_out", access.bytes_out)
      .integer("texts", access.texts)
      .integer("tokens", access.tokens)
      .number("ms", std::chrono::duration<double, std::milli>(access.time).count());
  if (!access.note.empty()) json.string("error", access.note);
  return json.text() + "\n";
}

void write_line(std::string_view line) {
  // A pipe that nobody reads must not stop the server.
  pollfd descriptor{STDERR_FILENO, POLLOUT, 0};
  if (poll(&descriptor, 1, 0) != 1 || (descriptor.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace textvec::server
