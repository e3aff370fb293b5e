// In: jobs (the texts of one call). Out: their texts, first come first served. Bounded: a full line
// refuses, it never grows and never aborts. Knows no threads and no clock: queue.h has the lock,
// and tests/simulation whatever time it likes.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "batch/batch.h"
#include "textvec/result.h"

namespace textvec::batch {

using Moment = std::chrono::steady_clock::time_point;

// The texts of one call, and where their vectors go.
class Job {
 public:
  virtual ~Job() = default;
  // Called once per text, by a worker's thread or by whoever closes the queue; a job that is let go
  // before that, for want of memory, answers its caller when it is destroyed. The vector
  // is the model's, before any cut or normalisation, and valid during the call only; with
  // `every_token` it is all of the text's tokens, one vector behind the other.
  // Must not throw.
  virtual void finish(std::size_t text, Result<std::span<const float>> vector) = 0;
  // Called by a worker's thread when the text is about to run: again when its batch failed.
  virtual void running(std::size_t) noexcept {}
  // Nobody wants the remaining texts: they are finished without being run.
  virtual bool abandoned() const noexcept { return false; }

  std::vector<Text> texts{};
  bool every_token = false;
  Moment deadline = Moment::max();
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

class Line {
 public:
  explicit Line(std::size_t texts_max) : texts_max_(texts_max) {}

  // Takes the whole job or nothing. Overloaded: no room now. Cancelled: closed.
  Result<void> add(std::shared_ptr<Job> job);
  // The same for a job that would rather wait for room, until its deadline (TimedOut) or its stop
  // token (Cancelled): nothing while it has to. A job of more than texts_max texts is taken when
  // the line is empty.
  std::optional<Result<void>> add_when_room(const std::shared_ptr<Job>& job, Moment now);

  // Texts in order of arrival until their token counts pass the portion, at least one if any waits.
  std::vector<Item> take(const Portion& portion);

  // From now on nothing is accepted; what waited is returned, for the caller to fail.
  std::vector<Item> close();

  bool closed() const noexcept { return closed_; }
  bool empty() const noexcept { return entries_.empty(); }
  bool has_room(std::size_t texts) const noexcept;
  std::size_t texts_waiting() const noexcept { return texts_waiting_; }
  std::size_t tokens_waiting() const noexcept { return tokens_waiting_; }

 private:
  struct Entry {
    std::shared_ptr<Job> job{};
    std::size_t next = 0;
  };

  void append(std::shared_ptr<Job> job);

  const std::size_t texts_max_;
  std::deque<Entry> entries_{};
  std::size_t texts_waiting_ = 0;
  std::size_t tokens_waiting_ = 0;
  bool closed_ = false;
};

}  // namespace textvec::batch
