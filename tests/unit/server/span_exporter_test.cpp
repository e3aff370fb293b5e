// Batches, the queue's limit, new attempts and the end, with a sender that does what it is told.
#include "server/span_exporter.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

namespace textvec::server {
namespace {

using namespace std::chrono_literals;
using Outcome = Delivery::Outcome;

// Takes each batch when it is let, and answers as told; the last answer counts for the rest.
class FakeCollector {
 public:
  Delivery take(std::size_t spans, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    ++begun_;
    changed_.notify_all();
    changed_.wait(lock, stop, [this] { return !held_; });
    if (stop.stop_requested()) return {Outcome::Later, "stopped", {}};
    batches_.push_back(spans);
    const Delivery answer = answers_.front();
    if (answers_.size() > 1) answers_.erase(answers_.begin());
    changed_.notify_all();
    return answer;
  }
  SpanExporter::Send send() {
    return [this](std::span<const Span> batch, const std::stop_token& stop) {
      return take(batch.size(), stop);
    };
  }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void answer(std::vector<Delivery> answers) {
    const std::lock_guard lock(mutex_);
    answers_ = std::move(answers);
  }
  void wait_until_begun(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return begun_ >= count; });
  }
  std::vector<std::size_t> wait_for_batches(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= count; });
    return batches_;
  }
  std::vector<std::size_t> batches() { return wait_for_batches(0); }

 private:
  std::mutex mutex_{};
  std::condition_variable_any changed_{};
  bool held_ = false;
  int begun_ = 0;
  std::vector<Delivery> answers_{{}};
  std::vector<std::size_t> batches_{};
};

struct Log {
  std::mutex mutex{};
  std::vector<std::string> lines{};

  SpanExporter::Log function() {
    return [this](std::string_view line) {
      const std::lock_guard lock(mutex);
      lines.emplace_back(line);
    };
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex);
    return lines;
  }
};

SpanExporter::Limits fast() {
  SpanExporter::Limits limits;
  limits.batch_wait = 1ms;
  limits.pause_first = 1ms;
  limits.pause_max = 2ms;
  limits.retry_after_max = 0s;
  return limits;
}

TEST(SpanExporter, SendsABatchWhenItIsFullOrOldEnough) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.batch_spans_max = 3;
  collector.hold(true);
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(1));
  collector.wait_until_begun(1);  // old enough
  exporter.add(std::vector<Span>(4));
  collector.hold(false);
  EXPECT_EQ(collector.wait_for_batches(3), (std::vector<std::size_t>{1, 3, 1}));
  EXPECT_TRUE(exporter.finish());
  EXPECT_EQ(exporter.counts().sent, 5U);
  EXPECT_TRUE(log.all().empty());
}

TEST(SpanExporter, TheQueueHasALimitAndNobodyWaits) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.queue_spans_max = 4;
  collector.hold(true);
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(1));
  collector.wait_until_begun(1);  // the queue is empty again, and the sender never comes back
  exporter.add(std::vector<Span>(3));
  EXPECT_EQ(exporter.counts().waiting, 3U);
  exporter.add(std::vector<Span>(2));  // whole or not at all
  EXPECT_EQ(exporter.counts().waiting, 3U);
  EXPECT_EQ(exporter.counts().dropped_for_room, 2U);
  exporter.add(std::vector<Span>(1));
  EXPECT_EQ(exporter.counts().waiting, 4U);
  exporter.add(std::vector<Span>(1));
  EXPECT_EQ(exporter.counts().waiting, 4U);
  EXPECT_EQ(exporter.counts().dropped_for_room, 3U);
  collector.hold(false);
  collector.wait_for_batches(2);
  EXPECT_TRUE(exporter.finish());
  EXPECT_EQ(exporter.counts().sent, 5U);
}

TEST(SpanExporter, AsksAgainAFewTimesAndSaysSoOnce) {
  FakeCollector collector;
  Log log;
  collector.answer({{Outcome::Later, "503", 3600s}, {Outcome::Later, "503", {}}, {}});
  SpanExporter exporter(fast(), collector.send(), log.function());
  exporter.add(std::vector<Span>(2));
  EXPECT_EQ(collector.wait_for_batches(3), (std::vector<std::size_t>{2, 2, 2}));
  while (exporter.counts().sent < 2) std::this_thread::yield();
  ASSERT_EQ(log.all().size(), 1U);
  EXPECT_NE(log.all().front().find("503"), std::string::npos);

  collector.answer({{Outcome::Later, "503", {}}});
  exporter.add(std::vector<Span>(7));
  const auto limit = static_cast<std::size_t>(fast().attempts_max);
  collector.wait_for_batches(3 + limit);
  while (exporter.counts().not_taken < 7) std::this_thread::yield();
  EXPECT_EQ(collector.batches().size(), 3 + limit);
  EXPECT_EQ(log.all().size(), 1U);  // not again within minutes
}

TEST(SpanExporter, WhatIsRefusedIsNotSentAgain) {
  FakeCollector collector;
  Log log;
  collector.answer({{Outcome::Refused, "400", {}}, {}});
  SpanExporter exporter(fast(), collector.send(), log.function());
  exporter.add(std::vector<Span>(2));
  while (exporter.counts().not_taken < 2) std::this_thread::yield();
  exporter.add(std::vector<Span>(3));
  EXPECT_EQ(collector.wait_for_batches(2), (std::vector<std::size_t>{2, 3}));
}

TEST(SpanExporter, TheEndSendsWhatWaits) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.batch_wait = 1h;
  limits.batch_spans_max = 4;
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(3));
  EXPECT_TRUE(exporter.finish());
  EXPECT_EQ(collector.batches(), (std::vector<std::size_t>{3}));
  exporter.add(std::vector<Span>(1));
  EXPECT_EQ(exporter.counts().waiting, 0U);
}

TEST(SpanExporter, TheEndWakesAPauseForOneMoreAttempt) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.pause_first = limits.pause_max = 1h;
  collector.answer({{Outcome::Later, "503", {}}, {}});
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(3));
  collector.wait_for_batches(1);
  EXPECT_TRUE(exporter.finish());
  EXPECT_EQ(exporter.counts().sent, 3U);
}

TEST(SpanExporter, TheEndTriesACollectorThatTakesNothingOnce) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.batch_wait = 1h;
  limits.batch_spans_max = 1'000;
  limits.pause_first = limits.pause_max = 1h;
  collector.answer({{Outcome::Later, "down", {}}});
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(999));
  EXPECT_TRUE(exporter.finish());
  EXPECT_EQ(collector.batches().size(), 1U);
  EXPECT_EQ(exporter.counts().not_taken, 999U);
}

TEST(SpanExporter, TheEndHasALimit) {
  FakeCollector collector;
  Log log;
  SpanExporter::Limits limits = fast();
  limits.flush_max = 20ms;
  limits.abort_max = 1h;
  collector.hold(true);
  SpanExporter exporter(limits, collector.send(), log.function());
  exporter.add(std::vector<Span>(1));
  collector.wait_until_begun(1);
  EXPECT_TRUE(exporter.finish());  // which stopped the sender
  EXPECT_EQ(exporter.counts().not_taken, 1U);
}

TEST(SpanExporter, ASenderThatDoesNotComeBackIsGivenUp) {
  FakeCollector collector;
  Log log;
  std::mutex deaf;
  SpanExporter::Limits limits = fast();
  limits.flush_max = limits.abort_max = 10ms;
  std::unique_lock lock(deaf);
  SpanExporter exporter(
      limits,
      [&](std::span<const Span> batch, const std::stop_token&) {
        const Delivery delivery = collector.take(batch.size(), {});
        const std::lock_guard waits(deaf);
        return delivery;
      },
      log.function());
  exporter.add(std::vector<Span>(1));
  collector.wait_for_batches(1);
  EXPECT_FALSE(exporter.finish());
  lock.unlock();
}

}  // namespace
}  // namespace textvec::server
