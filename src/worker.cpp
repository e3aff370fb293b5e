// In: queued texts. Out: the model's vector of each. See worker.h.
#include "worker.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "batch/shared_stop.h"
#include "model_vector.h"

namespace textvec {
namespace {

// Texts of about this many batches are sorted by length together where padding is computed: more
// gives less padding, less lets a short text overtake sooner.
constexpr std::size_t kWindowBatches = 8;
// Fewer tokens are not divided among workers: all cores run them faster together.
constexpr std::size_t kPortionTokensMin = 256;

// A worker's thread must outlive a bad_alloc: it becomes the error of the texts at hand.
template <class T, class Function>
Result<T> guarded(const Function& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::Internal, "out of memory"};  // a message that needs none itself
  } catch (const std::exception& exception) {
    return Error{ErrorCode::Internal, std::string("the batch failed: ") + exception.what()};
  }
}

// Counts a batch for as long as it runs.
class Running {
 public:
  explicit Running(std::atomic<unsigned>& count) : count_(count), others_(count.fetch_add(1)) {}
  ~Running() { --count_; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  bool alone() const noexcept { return others_ == 0; }

 private:
  std::atomic<unsigned>& count_;
  const unsigned others_;
};

}  // namespace

class Workers::Turn {
 public:
  // Waits until it is there, `stop` is requested or the workers are closing.
  Turn(Workers& workers, const std::stop_token& stop) : workers_(workers) {
    std::unique_lock lock(workers_.turn_mutex_);
    workers_.turn_changed_.wait(lock, stop,
                                [this] { return !workers_.turn_taken_ || workers_.closing_; });
    mine_ = !workers_.turn_taken_;
    if (mine_) workers_.turn_taken_ = true;
  }
  ~Turn() {
    if (!mine_) return;
    const std::lock_guard lock(workers_.turn_mutex_);
    workers_.turn_taken_ = false;
    workers_.turn_changed_.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Workers& workers_;
  bool mine_ = false;
};

Workers::Workers(batch::Queue& queue, const Sessions& sessions, std::vector<vectors::Dense> dense,
                 const WorkerSettings& settings)
    : queue_(queue), sessions_(sessions), dense_(std::move(dense)), settings_(settings) {}

Result<std::unique_ptr<Workers>> Workers::start(batch::Queue& queue, const Sessions& sessions,
                                                std::vector<vectors::Dense> dense,
                                                const WorkerSettings& settings) {
  auto workers = std::unique_ptr<Workers>(new Workers(queue, sessions, std::move(dense), settings));
  try {
    for (unsigned i = 0; i < settings.workers; ++i) {
      workers->threads_.emplace_back([running = workers.get()] { running->loop(); });
    }
  } catch (const std::system_error& error) {
    return Error{ErrorCode::Internal, std::string("cannot start a thread: ") + error.what()};
  }
  return workers;
}

Workers::~Workers() {
  {
    const std::lock_guard lock(turn_mutex_);
    closing_ = true;
  }
  turn_changed_.notify_all();
  for (const batch::Item& item : queue_.close()) {
    item.job->finish(item.text, Error{ErrorCode::Cancelled, "the engine is closing"});
  }
  for (std::thread& thread : threads_) thread.join();
}

void Workers::loop() {
  for (;;) {
    const auto more = guarded<bool>([&]() -> Result<bool> {
      const std::size_t batches = sessions_.all_cores.info().packs ? 1 : kWindowBatches;
      const Items taken =
          queue_.take({batches * settings_.batch_tokens_max, settings_.workers, kPortionTokensMin});
      run_window(taken);
      return !taken.empty();
    });
    // After an error the window's texts are let go, and a job that nobody holds answers its caller.
    if (more && !*more) return;
  }
}

void Workers::run_window(const Items& taken) {
  batch::Window window(taken, {settings_.batch_tokens_max, !sessions_.all_cores.info().packs});
  while (!window.empty()) {
    Items items = window.next();
    if (is_long(items)) {
      const batch::SharedStop stop(items);
      const Turn turn(*this, stop.token());
      run_batch(std::move(items), window);  // which drops it when it was given up meanwhile
    } else {
      run_batch(std::move(items), window);
    }
  }
}

// The planner lets one text alone exceed the budget.
bool Workers::is_long(const Items& items) const {
  return items.size() == 1 && items.front().content().ids.size() > settings_.batch_tokens_max;
}

void Workers::run_batch(Items items, batch::Window& window) {
  batch::drop_given_up(items, std::chrono::steady_clock::now(), closing_);
  if (items.empty()) return;

  std::vector<const batch::Text*> texts;
  for (const batch::Item& item : items) {
    item.job->running(item.text);
    texts.push_back(&item.content());
  }
  batch::Batch batch;
  auto states = guarded<runtime::HiddenStates>([&] {
    batch = batch::make_batch(texts, settings_.pad_token_id);
    if (settings_.batch_runs) {
      settings_.batch_runs(batch.rows, batch.tokens_computed(sessions_.all_cores.info().packs));
    }
    const batch::SharedStop stop(items);
    const Running running(running_);
    const bool all_cores = is_long(items) || (running.alone() && queue_.texts_waiting() == 0);
    return (all_cores ? sessions_.all_cores : sessions_.few_cores).run(batch, stop.token());
  });
  // Of either session, and after the run: one that lost its device meanwhile has another.
  const runtime::SessionInfo& session = sessions_.all_cores.info();
  if (states) {
    auto shape = check_states(*states, batch, session, settings_.width);
    if (!shape) states = std::move(shape).error();
  }

  if (!states) return window.failed(std::move(items), std::move(states).error());
  for (std::size_t row = 0; row < items.size(); ++row) {
    if (items[row].job->every_token) {
      items[row].job->finish(items[row].text, row_token_vectors(*states, batch, row, session));
      continue;
    }
    const auto vector = guarded<std::vector<float>>(
        [&] { return model_vector(*states, batch, row, session, settings_.pooling, dense_); });
    if (vector) {
      items[row].job->finish(items[row].text, std::span<const float>(*vector));
    } else {
      items[row].job->finish(items[row].text, vector.error());
    }
  }
}

}  // namespace textvec
