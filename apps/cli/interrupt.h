// In: SIGINT and SIGTERM, and SIGHUP where it is wanted. Out: a stop token, and a file descriptor
// that wakes whoever waits; a call.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace textvec::cli {

// While it lives, the first signal requests a stop and the second ends the process at once.
// Make it before any other thread: they inherit the mask that keeps the signals from them.
class Interrupt {
 public:
  // SIGHUP ends the process as usual, or, with `takes_hangup`, does what on_hangup() was told last:
  // at first nothing.
  explicit Interrupt(bool takes_hangup = false);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  // `reload` is called on a thread of its own and must not take long. Once this returns, the one
  // before is not called any more.
  void on_hangup(std::function<void()> reload);
  // Readable from the first signal on; for poll().
  int wake_descriptor() const noexcept { return pipe_[0]; }

 private:
  void wait_for_signals();

  sigset_t signals_{};
  sigset_t mask_before_{};
  int pipe_[2] = {-1, -1};
  std::stop_source source_{};
  std::atomic<bool> closing_{false};
  std::mutex hangup_mutex_{};
  std::function<void()> on_hangup_{};
  std::thread thread_{};  // last: it uses everything above
};

}  // namespace textvec::cli
