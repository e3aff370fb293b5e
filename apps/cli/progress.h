// In: how far a run is. Out: one line on a terminal's standard error, and nothing anywhere else.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace textvec::cli {

class Progress {
 public:
  // `bytes_total`: of the input; 0: unknown, then there is no percentage.
  explicit Progress(std::uint64_t bytes_total);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // The clock starts; what lies before `bytes_begin` was skipped and took no time.
  void begin(std::uint64_t bytes_begin);
  void update(std::size_t texts_done, std::uint64_t bytes_done);
  // Takes the line away, for a message or the end.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  const std::uint64_t bytes_total_;
  const bool wanted_;
  Clock::time_point begin_ = Clock::now();
  std::uint64_t bytes_begin_ = 0;
  Clock::time_point drawn_at_{};
  bool drawn_ = false;
};

// For LoadOptions::progress: a bar while a model is compiled.
std::function<void(std::uint64_t, std::uint64_t)> compiling_bar();

// The same while bytes are downloaded or read: `doing` says which. Of what is new since the first
// call the rate, and from it the time that is left.
std::function<void(std::uint64_t, std::uint64_t)> bytes_bar(std::string doing);

}  // namespace textvec::cli
