// In: jobs from any thread. Out: their texts, to the workers. A Line with a lock, for which threads
// can wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "batch/line.h"
#include "textvec/result.h"

namespace textvec::batch {

class Queue {
 public:
  explicit Queue(std::size_t texts_max) : line_(texts_max) {}

  // Takes the whole job or nothing. Overloaded: no room now. Cancelled: closed.
  Result<void> push(std::shared_ptr<Job> job);
  // The same, but waits for room until the job's deadline (TimedOut) or stop token (Cancelled).
  // A job of more than texts_max texts is taken when the queue is empty.
  Result<void> push_when_room(const std::shared_ptr<Job>& job);

  // Waits for work, and takes a portion of it. Empty: the queue is closed and drained by close().
  std::vector<Item> take(const Portion& portion);

  // From now on nothing is accepted; what waited is returned, for the caller to fail.
  std::vector<Item> close();

  std::size_t texts_waiting() const;

 private:
  mutable std::mutex mutex_{};
  std::condition_variable_any changed_{};
  Line line_;
};

}  // namespace textvec::batch
