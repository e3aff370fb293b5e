// In: queued texts. Out: the model's vector of each, given to its job. One thread that plans micro-
// batches, runs the session, pools.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "batch/queue.h"
#include "runtime/session.h"
#include "textvec/options.h"
#include "vectors/dense.h"

namespace textvec {

struct WorkerSettings {
  std::size_t batch_tokens_max = 1024;
  Pooling pooling = Pooling::Mean;  // unless the graph pools itself
  std::size_t width = 0;            // of the session's output
  std::int64_t pad_token_id = 0;
};

class Worker {
 public:
  // `queue` and `session` must outlive the worker. Errors: Internal (the system gives no thread).
  static Result<std::unique_ptr<Worker>> start(batch::Queue& queue, runtime::Session& session,
                                               std::vector<vectors::Dense> dense,
                                               const WorkerSettings& settings);
  // Closes the queue, finishes the batch in flight, and fails what waited with Cancelled.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

 private:
  using Items = std::vector<batch::Item>;

  Worker(batch::Queue& queue, runtime::Session& session, std::vector<vectors::Dense> dense,
         const WorkerSettings& settings);
  void loop();
  std::optional<Error> reason_to_drop(const batch::Item& item) const;
  void run_window(std::span<const batch::Item> window);
  void run_batch(Items items);

  batch::Queue& queue_;
  runtime::Session& session_;
  const std::vector<vectors::Dense> dense_;
  const WorkerSettings settings_;
  std::atomic<bool> closing_{false};
  std::thread thread_;  // last: it starts when everything above is there
};

}  // namespace textvec
