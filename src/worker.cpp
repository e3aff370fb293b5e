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

// The worker's thread must outlive a bad_alloc: it becomes the error of the texts at hand.
template <class T, class Function>
Result<T> guarded(const Function& function) {
  try {
    return function();
  } catch (const std::exception& exception) {
    return Error{ErrorCode::Internal, std::string("the batch failed: ") + exception.what()};
  }
}

}  // namespace

Worker::Worker(batch::Queue& queue, runtime::Session& session, std::vector<vectors::Dense> dense,
               const WorkerSettings& settings)
    : queue_(queue),
      session_(session),
      dense_(std::move(dense)),
      settings_(settings),
      thread_([this] { loop(); }) {}

Result<std::unique_ptr<Worker>> Worker::start(batch::Queue& queue, runtime::Session& session,
                                              std::vector<vectors::Dense> dense,
                                              const WorkerSettings& settings) {
  try {
    return std::unique_ptr<Worker>(new Worker(queue, session, std::move(dense), settings));
  } catch (const std::system_error& error) {
    return Error{ErrorCode::Internal, std::string("cannot start a thread: ") + error.what()};
  }
}

Worker::~Worker() {
  closing_ = true;
  for (const batch::Item& item : queue_.close()) {
    item.job->finish(item.text, Error{ErrorCode::Cancelled, "the engine is closing"});
  }
  thread_.join();
}

void Worker::loop() {
  for (;;) {
    const auto more = guarded<bool>([&]() -> Result<bool> {
      const Items window = queue_.take(kWindowBatches * settings_.batch_tokens_max);
      run_window(window);
      return !window.empty();
    });
    // After an error the window's texts are let go, and a job that nobody holds answers its caller.
    if (more && !*more) return;
  }
}

std::optional<Error> Worker::reason_to_drop(const batch::Item& item) const {
  if (closing_) return Error{ErrorCode::Cancelled, "the engine is closing"};
  if (item.job->abandoned()) return Error{ErrorCode::Cancelled, "another text of the call failed"};
  if (item.job->stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
  if (std::chrono::steady_clock::now() > item.job->deadline) {
    return Error{ErrorCode::TimedOut, "the deadline passed before the text ran"};
  }
  return std::nullopt;
}

void Worker::run_window(std::span<const batch::Item> window) {
  std::vector<std::size_t> lengths;
  lengths.reserve(window.size());
  for (const batch::Item& item : window) lengths.push_back(item.content().ids.size());
  for (const auto& indices : batch::plan(lengths, {settings_.batch_tokens_max})) {
    Items items;
    items.reserve(indices.size());
    for (const std::size_t index : indices) items.push_back(window[index]);
    run_batch(std::move(items));
  }
}

void Worker::run_batch(Items items) {
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
    return session_.run(batch, stop.token());
  });
  if (states) {
    auto shape = check_states(*states, batch, session_.info(), settings_.width);
    if (!shape) states = std::move(shape).error();
  }

  if (states) {
    for (std::size_t row = 0; row < items.size(); ++row) {
      const auto vector = guarded<std::vector<float>>([&] {
        return model_vector(*states, batch, row, session_.info(), settings_.pooling, dense_);
      });
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
