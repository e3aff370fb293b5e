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
  explicit Pool(unsigned threads);
  // Does what was given, then ends.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // `work` must not throw. Without memory for the queue it is done here and now.
  void post(std::function<void()> work) noexcept;

 private:
  void loop();

  std::mutex mutex_{};
  std::condition_variable changed_{};
  std::deque<std::function<void()>> waiting_{};
  bool closing_ = false;
  std::vector<std::thread> threads_{};
};

}  // namespace textvec::server
