// Parts that are read again one after the other, one reload at a time, and the threads of the pool.
#include "server/reload.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <set>
#include <stdexcept>

#include "server/pool.h"
#include "server/replaceable.h"

namespace textvec::server {
namespace {

std::vector<Reloader::Outcome> reload(Reloader& reloader) {
  std::promise<std::vector<Reloader::Outcome>> promise;
  EXPECT_TRUE(reloader.start([&](const auto& outcomes) { promise.set_value(outcomes); }));
  return promise.get_future().get();
}

TEST(Reload, APartThatFailsKeepsNoOtherFromIt) {
  int last = 0;
  Reloader reloader({{"good", [] { return Result<void>(); }},
                     {"bad", [] { return Result<void>(Error{ErrorCode::BadModel, "broken"}); }},
                     {"thrown", []() -> Result<void> { throw std::runtime_error("no memory"); }},
                     {"last", [&last] {
                        ++last;
                        return Result<void>();
                      }}});
  for (int times = 1; times <= 2; ++times) {
    const auto outcomes = reload(reloader);
    ASSERT_EQ(outcomes.size(), 4U);
    EXPECT_FALSE(outcomes[0].error);
    EXPECT_EQ(outcomes[1].error->message, "broken");
    EXPECT_EQ(outcomes[2].error->message, "no memory");
    EXPECT_EQ(outcomes[3].name, "last");
    EXPECT_EQ(last, times);
  }
}

TEST(Reload, OneAtATime) {
  std::promise<void> go;
  const auto gone = go.get_future().share();
  Reloader reloader({{"slow", [gone] {
                        gone.wait();
                        return Result<void>();
                      }}});
  std::promise<void> first;
  EXPECT_TRUE(reloader.start([&](const auto&) { first.set_value(); }));
  EXPECT_FALSE(reloader.start([](const auto&) { ADD_FAILURE(); }));
  EXPECT_TRUE(reloader.running());
  go.set_value();
  first.get_future().wait();
  // Who has the answer may ask again.
  EXPECT_TRUE(reloader.start({}));
}

TEST(Replaceable, LeavesWhatSomebodyHas) {
  Replaceable<int> value(std::make_shared<const int>(1));
  const auto before = value.get();
  EXPECT_EQ(value.replace(std::make_shared<const int>(2)), before);
  EXPECT_EQ(*before, 1);
  EXPECT_EQ(*value.get(), 2);
}

TEST(Pool, RenewedThreadsAreOthersAndLoseNoWork) {
  Pool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> done{0};
  const auto work = [&] {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
    ++done;
  };
  const auto ask = [&pool] {
    std::promise<std::thread::id> promise;
    pool.post([&promise] { promise.set_value(std::this_thread::get_id()); });
    return promise.get_future().get();
  };
  std::promise<void> go;
  const auto gone = go.get_future().share();
  std::atomic<int> held{0};
  for (int i = 0; i < 3; ++i) {  // all threads are at work
    pool.post([&, gone] {
      ++held;
      gone.wait();
      work();
    });
  }
  while (held < 3) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) pool.post(work);
  auto renewed = std::async(std::launch::async, [&pool] { pool.renew(); });
  // New threads work while the old ones are still held.
  while (done < 100) std::this_thread::yield();
  EXPECT_EQ(renewed.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  const std::set<std::thread::id> fresh = threads;
  go.set_value();
  renewed.get();
  EXPECT_EQ(done, 103);
  EXPECT_GT(threads.size(), fresh.size());
  for (int i = 0; i < 10; ++i) pool.renew();
  EXPECT_NE(ask(), std::thread::id());
}

}  // namespace
}  // namespace textvec::server
