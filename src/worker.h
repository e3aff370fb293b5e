// In: queued texts. Out: the model's vector of each, or of its tokens, given to its job. Threads
// that plan micro- batches, run a session, pool.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "batch/queue.h"
#include "batch/window.h"
#include "runtime/session.h"
#include "textvec/options.h"
#include "vectors/dense.h"

namespace textvec {

// One set of weights, run in two ways.
struct Sessions {
  runtime::Session& all_cores;  // for little work, and for a long text
  runtime::Session& few_cores;  // for batches that run beside each other; may be the same
};

struct WorkerSettings {
  unsigned workers = 1;
  std::size_t batch_tokens_max = 1024;
  Pooling pooling = Pooling::Mean;  // unless the graph pools itself
  std::size_t width = 0;            // of the session's output
  std::int64_t pad_token_id = 0;
  std::function<void(std::size_t, std::size_t)> batch_runs{};  // LoadOptions::batch_runs
};

class Workers {
 public:
  // `queue` and the sessions must outlive the workers. Errors: Internal (the system gives no
  // thread).
  static Result<std::unique_ptr<Workers>> start(batch::Queue& queue, const Sessions& sessions,
                                                std::vector<vectors::Dense> dense,
                                                const WorkerSettings& settings);
  // Closes the queue, finishes the batches in flight, and fails what waited with Cancelled.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

 private:
  using Items = std::vector<batch::Item>;

  // One long text at a time has all cores, and the memory that it takes is taken once.
  class Turn;

  Workers(batch::Queue& queue, const Sessions& sessions, std::vector<vectors::Dense> dense,
          const WorkerSettings& settings);
  void loop();
  void run_window(const Items& taken);
  void run_batch(Items items, batch::Window& window);
  bool is_long(const Items& items) const;

  batch::Queue& queue_;
  const Sessions sessions_;
  const std::vector<vectors::Dense> dense_;
  const WorkerSettings settings_;
  std::atomic<bool> closing_{false};
  std::atomic<unsigned> running_{0};  // batches, just now
  std::mutex turn_mutex_{};
  std::condition_variable_any turn_changed_{};
  bool turn_taken_ = false;
  std::vector<std::thread> threads_{};  // last: they use everything above
};

}  // namespace textvec
