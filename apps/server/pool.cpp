// In: work. Out: done. See pool.h.
#include "server/pool.h"

#include <exception>
#include <system_error>
#include <utility>

namespace textvec::server {

Pool::Pool(unsigned threads) : size_(threads), threads_(start(0)) {
  if (threads_.empty()) {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
}

std::vector<std::thread> Pool::start(unsigned generation) {
  std::vector<std::thread> threads;
  threads.reserve(size_);
  try {
    for (unsigned i = 0; i < size_; ++i) threads.emplace_back([=, this] { loop(generation); });
  } catch (const std::system_error&) {
    return threads;  // fewer do, too
  }
  return threads;
}

void Pool::renew() {
  std::vector<std::thread> fresh = start(generation_ + 1);
  if (fresh.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    ++generation_;
  }
  changed_.notify_all();
  threads_.swap(fresh);
  for (std::thread& thread : fresh) thread.join();
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::post(std::function<void()> work) noexcept {
  try {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    changed_.notify_one();
  } catch (const std::exception&) {
    work();
  }
}

void Pool::loop(unsigned generation) {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock,
                    [&] { return closing_ || generation < generation_ || !waiting_.empty(); });
      if (generation < generation_ || waiting_.empty()) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

}  // namespace textvec::server
