// The bounded queue: whole jobs or nothing, order of arrival, refusals at the exact limit.
#include "batch/queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace textvec::batch {
namespace {

using namespace std::chrono_literals;

class CountingJob final : public Job {
 public:
  CountingJob(std::size_t count, std::size_t length) {
    for (std::size_t i = 0; i < count; ++i)
      texts.push_back({std::vector<std::uint32_t>(length), {}, 0});
  }
  void finish(std::size_t, Result<std::span<const float>>) override { ++finished; }
  std::atomic<std::size_t> finished{0};
};

std::shared_ptr<CountingJob> job(std::size_t count, std::size_t length = 1) {
  return std::make_shared<CountingJob>(count, length);
}

TEST(Queue, TakesUpToItsLimitAndRefusesOneMore) {
  Queue queue(10);
  EXPECT_TRUE(queue.push(job(9)));
  EXPECT_TRUE(queue.push(job(1)));
  const auto refused = queue.push(job(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::Overloaded);
  EXPECT_NE(refused.error().message.find("10"), std::string::npos) << refused.error().message;
  EXPECT_EQ(queue.texts_waiting(), 10U);
}

TEST(Queue, AJobIsTakenWholeOrNotAtAll) {
  Queue queue(10);
  ASSERT_TRUE(queue.push(job(8)));
  EXPECT_FALSE(queue.push(job(3)));
  EXPECT_EQ(queue.texts_waiting(), 8U);
  EXPECT_TRUE(queue.push(job(2)));
}

TEST(Queue, AJobAboveTheLimitIsTakenWhenTheQueueIsEmpty) {
  Queue queue(4);
  EXPECT_TRUE(queue.push_when_room(job(9)));
  EXPECT_FALSE(queue.push(job(1)));
}

TEST(Queue, AWorkerTakesItsShareOfWhatWaits) {
  Queue queue(100);
  ASSERT_TRUE(queue.push(job(12, 10)));
  // 120 tokens among three; then of 80 a third is less than the least portion, which is 40.
  EXPECT_EQ(queue.take({1000, 3, 40}).size(), 4U);
  EXPECT_EQ(queue.take({1000, 3, 40}).size(), 4U);
  EXPECT_EQ(queue.take({1000, 3, 39}).size(), 3U);
  EXPECT_EQ(queue.take({1000, 3, 40}).size(), 1U);
  ASSERT_TRUE(queue.push(job(12, 10)));
  EXPECT_EQ(queue.take({20, 3, 40}).size(), 2U) << "the least portion does not raise the most";
}

TEST(Queue, SharesAreOfWhatIsLeft) {
  Queue queue(100);
  ASSERT_TRUE(queue.push(job(10, 10)));
  EXPECT_EQ(queue.take({1000, 2, 0}).size(), 5U);
  EXPECT_EQ(queue.take({1000, 2, 0}).size(), 2U);
  EXPECT_EQ(queue.close().size(), 3U);
}

TEST(Queue, GivesTextsInOrderUpToTheTokens) {
  Queue queue(100);
  const auto first = job(3, 4);
  const auto second = job(2, 4);
  ASSERT_TRUE(queue.push(first));
  ASSERT_TRUE(queue.push(second));
  const auto items = queue.take({16});
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[0].job, first);
  EXPECT_EQ(items[2].text, 2U);
  EXPECT_EQ(items[3].job, second);
  EXPECT_EQ(items[3].text, 0U);
  EXPECT_EQ(queue.take({1}).size(), 1U) << "at least one, however long";
  EXPECT_EQ(queue.texts_waiting(), 0U);
}

TEST(Queue, WaitingForRoomEndsAtTheDeadline) {
  Queue queue(1);
  ASSERT_TRUE(queue.push(job(1)));
  const auto late = job(1);
  late->deadline = std::chrono::steady_clock::now() + 5ms;
  const auto result = queue.push_when_room(late);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::TimedOut);
}

TEST(Queue, WaitingForRoomEndsWithTheStopToken) {
  Queue queue(1);
  ASSERT_TRUE(queue.push(job(1)));
  std::stop_source stop;
  const auto waiting = job(1);
  waiting->stop = stop.get_token();
  std::jthread stopper([&] { stop.request_stop(); });
  const auto result = queue.push_when_room(waiting);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Cancelled);
}

TEST(Queue, WaitingForRoomEndsWhenATextIsTaken) {
  Queue queue(1);
  ASSERT_TRUE(queue.push(job(1)));
  std::jthread taker([&] { EXPECT_EQ(queue.take({1}).size(), 1U); });
  EXPECT_TRUE(queue.push_when_room(job(1)));
}

TEST(Queue, ClosingReturnsWhatWaitedAndRefusesTheRest) {
  Queue queue(10);
  ASSERT_TRUE(queue.push(job(3)));
  EXPECT_EQ(queue.take({1}).size(), 1U);
  EXPECT_EQ(queue.close().size(), 2U);
  EXPECT_TRUE(queue.take({1}).empty());
  EXPECT_EQ(queue.push(job(1)).error().code, ErrorCode::Cancelled);
  EXPECT_EQ(queue.push_when_room(job(1)).error().code, ErrorCode::Cancelled);
}

TEST(Queue, LosesNothingBetweenManyThreads) {
  Queue queue(64);
  std::vector<std::shared_ptr<CountingJob>> jobs;
  for (int i = 0; i < 200; ++i) jobs.push_back(job(1 + static_cast<std::size_t>(i) % 7));
  std::thread taker([&] {
    for (;;) {
      const auto items = queue.take({5});
      if (items.empty()) return;
      for (const auto& item : items) item.job->finish(item.text, std::span<const float>());
    }
  });
  {
    std::vector<std::jthread> pushers;
    for (std::size_t thread = 0; thread < 4; ++thread) {
      pushers.emplace_back([&, thread] {
        for (std::size_t i = thread; i < jobs.size(); i += 4) {
          EXPECT_TRUE(queue.push_when_room(jobs[i]));
        }
      });
    }
  }
  while (queue.texts_waiting() > 0) std::this_thread::yield();
  queue.close();
  taker.join();
  for (const auto& done : jobs) EXPECT_EQ(done->finished.load(), done->texts.size());
}

}  // namespace
}  // namespace textvec::batch
