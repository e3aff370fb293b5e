// In: jobs (the texts of one call) from any thread. Out: their texts, first come first served, to
// the workers. Bounded: a full queue refuses, it never grows and never aborts.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "batch/batch.h"
#include "textvec/result.h"

namespace textvec::batch {

using Deadline = std::chrono::steady_clock::time_point;

// The texts of one call, and where their vectors go.
class Job {
 public:
  virtual ~Job() = default;
  // Called once per text, by a worker's thread or by whoever closes the queue; a job that is let go
  // before that, for want of memory, answers its caller when it is destroyed. The vector
  // is the model's, before any cut or normalisation, and valid during the call only.
  // Must not throw.
  virtual void finish(std::size_t text, Result<std::span<const float>> vector) = 0;
  // Called by a worker's thread when a text of the job is about to run, perhaps many times.
  virtual void running() noexcept {}
  // Nobody wants the remaining texts: they are finished without being run.
  virtual bool abandoned() const noexcept { return false; }

  std::vector<Text> texts{};
  Deadline deadline = Deadline::max();
  std::stop_token stop{};
};

struct Item {
  std::shared_ptr<Job> job{};
  std::size_t text = 0;

  const Text& content() const noexcept { return job->texts[text]; }
};

// How much a worker takes at a time.
struct Portion {
  std::size_t tokens_max = 1024;
  std::size_t workers = 1;     // that share what waits: each takes its part of it,
  std::size_t tokens_min = 0;  // but no part is smaller than this
};

class Queue {
 public:
  explicit Queue(std::size_t texts_max) : texts_max_(texts_max) {}

  // Takes the whole job or nothing. Overloaded: no room now. Cancelled: closed.
  Result<void> push(std::shared_ptr<Job> job);
  // The same, but waits for room until the job's deadline (TimedOut) or stop token (Cancelled).
  // A job of more than texts_max texts is taken when the queue is empty.
  Result<void> push_when_room(std::shared_ptr<Job> job);

  // Waits for work; gives texts in order of arrival until their token counts pass the portion, at
  // least one. Empty: the queue is closed and drained by close().
  std::vector<Item> take(const Portion& portion);

  // From now on nothing is accepted; what waited is returned, for the caller to fail.
  std::vector<Item> close();

  std::size_t texts_waiting() const;

 private:
  struct Entry {
    std::shared_ptr<Job> job{};
    std::size_t next = 0;
  };

  bool has_room(std::size_t texts) const noexcept;
  void add(std::shared_ptr<Job> job);

  const std::size_t texts_max_;
  mutable std::mutex mutex_{};
  std::condition_variable_any changed_{};
  std::deque<Entry> entries_{};
  std::size_t texts_waiting_ = 0;
  std::size_t tokens_waiting_ = 0;
  bool closed_ = false;
};

}  // namespace textvec::batch
