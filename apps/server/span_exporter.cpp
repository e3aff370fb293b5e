// In: spans. Out: batches of them to a collector. See span_exporter.h.
#include "server/span_exporter.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <random>
#include <utility>

namespace textvec::server {
namespace {

constexpr std::chrono::minutes kComplainAgain{10};
constexpr std::chrono::milliseconds kMemoryPause{100};

}  // namespace

SpanExporter::SpanExporter(const Limits& limits, Send send, Log log)
    : limits_(limits), send_(std::move(send)), log_(std::move(log)), thread_([this] { loop(); }) {}

SpanExporter::~SpanExporter() {
  finish();
  thread_.join();
}

void SpanExporter::add(std::vector<Span> spans) noexcept {
  const std::lock_guard lock(mutex_);
  const std::size_t room = limits_.queue_spans_max - queue_.size();
  const std::size_t before = queue_.size();
  if (spans.size() > room || closing_) {
    counts_.dropped_for_room += spans.size();
    return;
  }
  try {
    for (Span& span : spans) queue_.push_back(std::move(span));
  } catch (const std::exception&) {  // no memory
    queue_.resize(before);
    counts_.dropped_for_room += spans.size();
    return;
  }
  // The thread waits for the first span, and then for a whole batch.
  if (before == 0 || queue_.size() >= limits_.batch_spans_max) changed_.notify_all();
}

bool SpanExporter::finish() {
  std::unique_lock lock(mutex_);
  closing_ = true;
  changed_.notify_all();
  const auto ended = [this] { return ended_; };
  if (changed_.wait_for(lock, limits_.flush_max, ended)) return true;
  stop_.request_stop();
  return changed_.wait_for(lock, limits_.abort_max, ended);
}

SpanExporter::Counts SpanExporter::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.waiting = queue_.size();
  return counts;
}

std::vector<Span> SpanExporter::next_batch() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
  changed_.wait_for(lock, limits_.batch_wait,
                    [this] { return closing_ || queue_.size() >= limits_.batch_spans_max; });
  const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), limits_.batch_spans_max));
  std::vector<Span> batch(std::make_move_iterator(queue_.begin()),
                          std::make_move_iterator(queue_.begin() + count));
  queue_.erase(queue_.begin(), queue_.begin() + count);
  return batch;
}

void SpanExporter::loop() noexcept {
  for (;;) {
    try {
      const std::vector<Span> batch = next_batch();
      if (batch.empty()) break;
      deliver(batch);
    } catch (const std::exception&) {
      std::this_thread::sleep_for(kMemoryPause);  // the batch is lost; the next may find some
    }
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

Delivery SpanExporter::attempt(std::span<const Span> batch) noexcept {
  try {
    return send_(batch, stop_.get_token());
  } catch (const std::exception&) {
    return {Delivery::Outcome::Refused, {}, {}};  // no memory, not even to say so
  }
}

void SpanExporter::deliver(const std::vector<Span>& batch) {
  for (int attempts = 1;; ++attempts) {
    const bool is_last = is_closing() || attempts >= limits_.attempts_max;
    const Delivery delivery = attempt(batch);
    if (delivery.outcome == Delivery::Outcome::Taken) {
      complained_ = false;
      const std::lock_guard lock(mutex_);
      counts_.sent += batch.size();
      return;
    }
    complain(delivery.why);
    if (delivery.outcome == Delivery::Outcome::Later && !is_last) {
      pause(attempts, delivery.retry_after);
      continue;
    }
    const std::lock_guard lock(mutex_);
    counts_.not_taken += batch.size();
    if (!closing_) return;
    // What one batch found is what the others would: nobody waits for that.
    counts_.not_taken += queue_.size();
    queue_.clear();
    return;
  }
}

bool SpanExporter::is_closing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

void SpanExporter::pause(int attempts, std::chrono::seconds wished) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  using std::chrono::milliseconds;
  milliseconds time =
      std::min(limits_.pause_max, limits_.pause_first * (1 << std::min(attempts - 1, 10)));
  // Servers that lost a collector at the same moment do not come back at the same moment.
  time += milliseconds(random() % (static_cast<std::uint64_t>(time.count()) / 4 + 1));
  time = std::max<milliseconds>(time, std::min(wished, limits_.retry_after_max));
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [this] { return closing_; });
}

void SpanExporter::complain(const std::string& why) {
  const auto now = Clock::now();
  const bool is_late =
      complained_at_ == Clock::time_point() || now - complained_at_ > kComplainAgain;
  if (complained_ || !is_late) return;
  complained_ = true;
  complained_at_ = now;
  log_("spans are not taken: " + why + "; said once, /metrics counts them");
}

}  // namespace textvec::server
