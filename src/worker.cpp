// In: queued texts. Out: the model's vector of each. See worker.h.
#include "worker.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "model_vector.h"

namespace textvec {
namespace {

// Texts of about this many batches are sorted by length together: more gives less padding, less
// lets a short text overtake sooner.
constexpr std::size_t kWindowBatches = 8;
// Fewer tokens are not divided among workers: all cores run them faster together.
constexpr std::size_t kPortionTokensMin = 256;

// Fires when every job that has a text in the batch was stopped: one caller's stop must not end
// the work of another.
class SharedStop {
 public:
  explicit SharedStop(const std::vector<batch::Item>& items) {
    std::vector<const batch::Job*> jobs;
    jobs.reserve(items.size());
    for (const batch::Item& item : items) jobs.push_back(item.job.get());
    std::sort(jobs.begin(), jobs.end());
    jobs.erase(std::unique(jobs.begin(), jobs.end()), jobs.end());
    running_ = jobs.size();
    for (const batch::Job* job : jobs) {
      callbacks_.push_back(std::make_unique<Callback>(job->stop, [this] {
        if (running_.fetch_sub(1) == 1) source_.request_stop();
      }));
    }
  }
  std::stop_token token() const { return source_.get_token(); }

 private:
  using Callback = std::stop_callback<std::function<void()>>;
  std::stop_source source_{};
  std::atomic<std::size_t> running_{0};
  std::vector<std::unique_ptr<Callback>> callbacks_{};
};

// A worker's thread must outlive a bad_alloc: it becomes the error of the texts at hand.
template <class T, class Function>
Result<T> guarded(const Function& function) {
  try {
    return function();
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
  const batch::Portion portion{kWindowBatches * settings_.batch_tokens_max, settings_.workers,
                               kPortionTokensMin};
  for (;;) {
    const auto more = guarded<bool>([&]() -> Result<bool> {
      const Items window = queue_.take(portion);
      run_window(window);
      return !window.empty();
    });
    // After an error the window's texts are let go, and a job that nobody holds answers its caller.
    if (more && !*more) return;
  }
}

std::optional<Error> Workers::reason_to_drop(const batch::Item& item) const {
  if (closing_) return Error{ErrorCode::Cancelled, "the engine is closing"};
  if (item.job->abandoned()) return Error{ErrorCode::Cancelled, "another text of the call failed"};
  if (item.job->stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
  if (std::chrono::steady_clock::now() > item.job->deadline) {
    return Error{ErrorCode::TimedOut, "the deadline passed before the text ran"};
  }
  return std::nullopt;
}

void Workers::run_window(std::span<const batch::Item> window) {
  std::vector<std::size_t> lengths;
  lengths.reserve(window.size());
  for (const batch::Item& item : window) lengths.push_back(item.content().ids.size());
  for (const auto& indices : batch::plan(lengths, {settings_.batch_tokens_max})) {
    Items items;
    items.reserve(indices.size());
    for (const std::size_t index : indices) items.push_back(window[index]);
    if (is_long(items)) {
      const SharedStop stop(items);
      const Turn turn(*this, stop.token());
      run_batch(std::move(items));  // which drops it when it was given up meanwhile
    } else {
      run_batch(std::move(items));
    }
  }
}

// The planner lets one text alone exceed the budget.
bool Workers::is_long(const Items& items) const {
  return items.size() == 1 && items.front().content().ids.size() > settings_.batch_tokens_max;
}

void Workers::run_batch(Items items) {
  std::erase_if(items, [this](const batch::Item& item) {
    auto reason = reason_to_drop(item);
    if (reason) item.job->finish(item.text, std::move(*reason));
    return reason.has_value();
  });
  if (items.empty()) return;

  std::vector<const batch::Text*> texts;
  for (const batch::Item& item : items) {
    item.job->running();
    texts.push_back(&item.content());
  }
  batch::Batch batch;
  auto states = guarded<runtime::HiddenStates>([&] {
    batch = batch::make_batch(texts, settings_.pad_token_id);
    const SharedStop stop(items);
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

  if (states) {
    for (std::size_t row = 0; row < items.size(); ++row) {
      const auto vector = guarded<std::vector<float>>(
          [&] { return model_vector(*states, batch, row, session, settings_.pooling, dense_); });
      if (vector) {
        items[row].job->finish(items[row].text, std::span<const float>(*vector));
      } else {
        items[row].job->finish(items[row].text, vector.error());
      }
    }
  } else if (items.size() == 1) {
    items.front().job->finish(items.front().text, std::move(states).error());
  } else {
    // One text may have spoilt the batch: halve it until that text stands alone.
    const auto middle = items.begin() + static_cast<std::ptrdiff_t>(items.size() / 2);
    run_batch(Items(items.begin(), middle));
    run_batch(Items(middle, items.end()));
  }
}

}  // namespace textvec
