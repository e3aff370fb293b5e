// In: spans, from any thread. Out: batches of them to a collector, from one thread of its own.
// Nobody who gives spans ever waits: what finds no room is dropped, and counted. Knows no network:
// otlp_sender.h does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/span.h"

namespace textvec::server {

// What a collector said to a batch, or that it said nothing.
struct Delivery {
  enum class Outcome : std::uint8_t {
    Taken,
    Later,    // the same again may be taken
    Refused,  // the same again will not be
  };
  Outcome outcome = Outcome::Taken;
  std::string why{};                   // for the log, when it is not taken
  std::chrono::seconds retry_after{};  // as the collector wishes; 0: it said nothing
};

class SpanExporter {
 public:
  struct Limits {
    std::size_t queue_spans_max = 4096;
    std::size_t batch_spans_max = 512;
    std::chrono::milliseconds batch_wait{1'000};  // for a batch to grow
    int attempts_max = 5;
    std::chrono::milliseconds pause_first{1'000};  // doubles with each attempt
    std::chrono::milliseconds pause_max{30'000};
    std::chrono::seconds retry_after_max{60};
    std::chrono::milliseconds flush_max{5'000};  // at the end, for all that waits
    std::chrono::milliseconds abort_max{2'000};  // then, for what was told to stop
  };
  // Sends a batch and waits for the answer, within a limit of its own, and until `stop`.
  using Send = std::function<Delivery(std::span<const Span> batch, const std::stop_token& stop)>;
  using Log = std::function<void(std::string_view line)>;

  // Throws std::system_error where the system gives no thread. `log` is told once that a collector
  // takes nothing, and not again before it took something, and never more than once in 10 minutes.
  SpanExporter(const Limits& limits, Send send, Log log);
  // finish(), and then until a sender that does not heed `stop` comes back.
  ~SpanExporter();
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;

  // All of them, or none when there is no room.
  void add(std::vector<Span> spans) noexcept;
  // Sends what waits, once and for flush_max at most. False: the sender did not come back, and only
  // the end of the process ends it.
  bool finish();

  struct Counts {
    std::uint64_t sent = 0;
    std::uint64_t dropped_for_room = 0;
    std::uint64_t not_taken = 0;  // by the collector
    std::size_t waiting = 0;
  };
  Counts counts() const;

 private:
  using Clock = std::chrono::steady_clock;

  void loop() noexcept;
  std::vector<Span> next_batch();
  Delivery attempt(std::span<const Span> batch) noexcept;
  void deliver(const std::vector<Span>& batch);
  bool is_closing() const;
  // Until the next attempt, or the end.
  void pause(int attempts, std::chrono::seconds wished);
  void complain(const std::string& why);

  const Limits limits_;
  const Send send_;
  const Log log_;
  mutable std::mutex mutex_{};
  std::condition_variable changed_{};
  std::deque<Span> queue_{};
  Counts counts_{};
  bool closing_ = false;
  bool ended_ = false;
  std::stop_source stop_{};
  // Of the thread alone.
  bool complained_ = false;
  Clock::time_point complained_at_{};
  std::thread thread_{};
};

}  // namespace textvec::server
