// In: jobs from any thread. Out: their texts in order of arrival. See queue.h.
#include "batch/queue.h"

#include <chrono>
#include <utility>

namespace textvec::batch {

Result<void> Queue::push(std::shared_ptr<Job> job) {
  const std::lock_guard lock(mutex_);
  auto added = line_.add(std::move(job));
  if (added) changed_.notify_all();
  return added;
}

Result<void> Queue::push_when_room(const std::shared_ptr<Job>& job) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return line_.closed() || line_.has_room(job->texts.size()); };
  for (;;) {
    if (auto added = line_.add_when_room(job, std::chrono::steady_clock::now())) {
      changed_.notify_all();
      return *std::move(added);
    }
    if (job->deadline == Moment::max()) {  // wait_until overflows on some clocks
      changed_.wait(lock, job->stop, ready);
    } else {
      changed_.wait_until(lock, job->stop, job->deadline, ready);
    }
  }
}

std::vector<Item> Queue::take(const Portion& portion) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return line_.closed() || !line_.empty(); });
  auto items = line_.take(portion);
  changed_.notify_all();
  return items;
}

std::vector<Item> Queue::close() {
  const std::lock_guard lock(mutex_);
  auto items = line_.close();
  changed_.notify_all();
  return items;
}

std::size_t Queue::texts_waiting() const {
  const std::lock_guard lock(mutex_);
  return line_.texts_waiting();
}

}  // namespace textvec::batch
