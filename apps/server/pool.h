// In: work. Out: done, on a few threads. What is given bounds itself: admission.h counts it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace textvec::server {

class Pool {
 public:
  // Throws std::system_error where the system gives no thread at all.
  explicit Pool(unsigned threads);
  // Does what was given, then ends.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // New threads take the place of those that are there, where the system gives any; returns when
  // the old ones have ended, each after the work that it was at. One call at a time, and not from a
  // thread of the pool.
  void renew();
  // `work` must not throw. Without memory for the queue it is done here and now.
  void post(std::function<void()> work) noexcept;

 private:
  std::vector<std::thread> start(unsigned generation);  // as many as the system gives
  void loop(unsigned generation);

  const unsigned size_;
  std::mutex mutex_{};
  std::condition_variable changed_{};
  std::deque<std::function<void()>> waiting_{};
  bool closing_ = false;
  unsigned generation_ = 0;  // threads of earlier ones end
  std::vector<std::thread> threads_{};
};

}  // namespace textvec::server
