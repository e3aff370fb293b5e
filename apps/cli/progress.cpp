// In: how far a run is. Out: one line on a terminal's standard error. See progress.h.
#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "table.h"

namespace textvec::cli {
namespace {

// A run that is over sooner needs no bar.
constexpr auto kFirstAfter = std::chrono::seconds(1);
constexpr auto kEvery = std::chrono::milliseconds(100);
constexpr int kBarCells = 20;

bool can_draw() {
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::min(seconds, 359'999.0));  // 99:59:59
  char text[32];
  std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

// A file may grow while it is read.
double share_of(std::uint64_t part, std::uint64_t whole) {
  if (part >= whole) return 1;
  return static_cast<double>(part) / static_cast<double>(whole);
}

// `share` of the input is done, `share_timed` of what was not skipped took `seconds`.
std::string bar(double share, double share_timed, double seconds) {
  const int full = static_cast<int>(share * kBarCells);
  std::string text = "[";
  for (int cell = 0; cell < kBarCells; ++cell) text += cell < full ? '#' : '.';
  text += "] " + std::to_string(static_cast<int>(share * 100)) + "%";
  if (share_timed > 0) text += ", " + clock_text(seconds / share_timed - seconds) + " left";
  return text;
}

void draw(const std::string& line) {
  std::fprintf(stderr, "\r\033[K%s", line.c_str());  // back to the line's begin, erase it
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(std::uint64_t bytes_total) : bytes_total_(bytes_total), wanted_(can_draw()) {}

void Progress::begin(std::uint64_t bytes_begin) {
  begin_ = Clock::now();
  bytes_begin_ = bytes_begin;
}

void Progress::update(std::size_t texts_done, std::uint64_t bytes_done) {
  const auto now = Clock::now();
  if (!wanted_ || now - begin_ < kFirstAfter || now - drawn_at_ < kEvery) return;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  std::string line = std::to_string(texts_done) + " texts, " +
                     std::to_string(std::llround(static_cast<double>(texts_done) / seconds)) +
                     " texts/s";
  if (bytes_total_ != 0) {
    line = bar(share_of(bytes_done, bytes_total_),
               share_of(bytes_done - bytes_begin_, bytes_total_ - bytes_begin_), seconds) +
           ", " + line;
  }
  draw(line);
  drawn_at_ = now;
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  draw("");
  drawn_ = false;
}

std::function<void(std::uint64_t, std::uint64_t)> compiling_bar() {
  if (!can_draw()) return {};
  using Clock = std::chrono::steady_clock;
  return [begin = Clock::time_point(), drawn_at = Clock::time_point(), drawn = false](
             std::uint64_t done, std::uint64_t total) mutable {
    const auto now = Clock::now();
    if (begin == Clock::time_point()) begin = now;
    if (done >= total) {
      if (std::exchange(drawn, false)) draw("");
      return;
    }
    if (now - drawn_at < kEvery) return;
    const double seconds = std::chrono::duration<double>(now - begin).count();
    const double share = share_of(done, total);
    draw(bar(share, share, seconds) + ", compiling, " + std::to_string(done >> 20) + " of " +
         std::to_string(total >> 20) + " MiB");
    drawn_at = now;
    drawn = true;
  };
}

std::function<void(std::uint64_t, std::uint64_t)> bytes_bar(std::string doing) {
  if (!can_draw()) return {};
  using Clock = std::chrono::steady_clock;
  return [doing = std::move(doing), begin = Clock::time_point(), done_before = std::uint64_t{0},
          drawn_at = Clock::time_point(),
          drawn = false](std::uint64_t done, std::uint64_t total) mutable {
    const auto now = Clock::now();
    if (begin == Clock::time_point() || done < done_before) {
      begin = now;
      done_before = done;
    }
    if (done >= total) {
      if (std::exchange(drawn, false)) draw("");
      return;
    }
    const double seconds = std::chrono::duration<double>(now - begin).count();
    if (now - begin < kFirstAfter || now - drawn_at < kEvery) return;
    const std::uint64_t news = done - done_before;
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(news) / seconds);
    draw(bar(share_of(done, total), share_of(news, total - done_before), seconds) + ", " + doing +
         ", " + size_text(done) + " of " + size_text(total) + ", " + size_text(rate) + "/s");
    drawn_at = now;
    drawn = true;
  };
}

}  // namespace textvec::cli
