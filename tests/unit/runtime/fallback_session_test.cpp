// A device that fails, lies, or is stopped, and the processor behind it.
#include "runtime/fallback_session.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

namespace textvec::runtime {
namespace {

batch::Batch batch_of(std::size_t rows) {
  batch::Batch batch;
  batch.rows = rows;
  batch.length = 2;
  batch.ids.assign(rows * 2, 5);
  batch.mask.assign(rows * 2, 1);
  batch.lengths.assign(rows, 1);  // the second token is padding
  batch.pool_begins.assign(rows, 0);
  return batch;
}

// Every value of a token is `value`, of padding `padding`.
struct Script {
  std::atomic<int> runs{0};
  std::atomic<float> value{1};
  std::atomic<float> padding{1};
  std::atomic<bool> failing{false};
  std::atomic<bool> cancelled{false};
};

class FakeSession final : public Session {
 public:
  FakeSession(std::shared_ptr<Script> script, Provider provider, std::size_t width = 3)
      : script_(std::move(script)) {
    info_.provider = provider;
    info_.width = width;
    info_.placement = {{provider == Provider::Cpu ? "processor" : "device", 1, 1}};
  }
  Result<HiddenStates> run(const batch::Batch& batch, const std::stop_token&) override {
    ++script_->runs;
    if (script_->cancelled) return Error{ErrorCode::Cancelled, "stopped by the caller"};
    if (script_->failing) return Error{ErrorCode::Internal, "the device is gone"};
    auto values = std::make_shared<std::vector<float>>();
    for (std::size_t row = 0; row < batch.rows; ++row) {
      values->insert(values->end(), info_.width, script_->value);
      values->insert(values->end(), info_.width, script_->padding);
    }
    return HiddenStates{values, *values, batch.rows, 2, info_.width};
  }
  const SessionInfo& info() const noexcept override { return info_; }

 private:
  std::shared_ptr<Script> script_;
  SessionInfo info_{};
};

struct Pair {
  std::shared_ptr<Script> device = std::make_shared<Script>();
  std::shared_ptr<Script> processor = std::make_shared<Script>();
  std::atomic<int> opened{0};
  std::atomic<int> told{0};
  std::vector<std::string> lines{};
  bool can_open = true;
  std::size_t width = 3;
  std::unique_ptr<Session> session{};

  Pair() {
    processor->value = 7;
    FallbackOptions options;
    options.open_on_processor = [this]() -> Result<std::unique_ptr<Session>> {
      ++opened;
      if (!can_open) return Error{ErrorCode::Internal, "no memory"};
      return std::unique_ptr<Session>(
          std::make_unique<FakeSession>(processor, Provider::Cpu, width));
    };
    options.log = [this](std::string_view line) { lines.emplace_back(line); };
    session = make_fallback_session(std::make_unique<FakeSession>(device, Provider::Cuda),
                                    std::move(options));
    session->when_device_is_lost([this](const SessionInfo& info) {
      ++told;
      EXPECT_EQ(info.provider, Provider::Cpu);
    });
  }
  // The first value that comes, or minus one.
  float run() {
    const auto states = session->run(batch_of(2), {});
    return states ? states->values.front() : -1;
  }
};

TEST(FallbackSession, AGoodDeviceStaysAlone) {
  Pair pair;
  pair.device->padding = std::numeric_limits<float>::quiet_NaN();  // nobody reads it
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pair.run(), 1);
  EXPECT_EQ(pair.opened, 0);
  EXPECT_EQ(pair.session->info().provider, Provider::Cuda);
  EXPECT_EQ(pair.told, 0);
}

TEST(FallbackSession, ALostDeviceIsNeverAskedAgain) {
  Pair pair;
  EXPECT_EQ(pair.run(), 1);
  const SessionInfo& before = pair.session->info();
  pair.device->failing = true;
  EXPECT_EQ(pair.run(), 7);  // the same batch, on the processor
  pair.device->failing = false;
  EXPECT_EQ(pair.run(), 7);
  EXPECT_EQ(pair.device->runs, 2);
  EXPECT_EQ(pair.opened, 1);
  EXPECT_EQ(pair.told, 1);
  ASSERT_EQ(pair.lines.size(), 1U);
  const SessionInfo& info = pair.session->info();
  EXPECT_EQ(info.provider, Provider::Cpu);
  EXPECT_EQ(info.provider_note, pair.lines.front());
  EXPECT_NE(info.provider_note.find("cuda"), std::string::npos);
  EXPECT_NE(info.provider_note.find("the device is gone"), std::string::npos);
  EXPECT_EQ(info.placement.front().provider, "processor");
  EXPECT_EQ(before.provider, Provider::Cuda);  // what was read before stays readable
}

TEST(FallbackSession, ThreeBadAnswersInARowAreALoss) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 0.0F}) {
    Pair pair;
    pair.device->value = bad;
    EXPECT_EQ(pair.run(), 7);
    EXPECT_EQ(pair.run(), 7);
    EXPECT_EQ(pair.session->info().provider, Provider::Cuda);
    pair.device->value = 1;
    EXPECT_EQ(pair.run(), 1);  // the row is broken
    pair.device->value = bad;
    EXPECT_EQ(pair.run(), 7);
    EXPECT_EQ(pair.run(), 7);
    EXPECT_EQ(pair.told, 0);
    EXPECT_EQ(pair.run(), 7);
    EXPECT_EQ(pair.told, 1);
    EXPECT_EQ(pair.session->info().provider, Provider::Cpu);
  }
}

TEST(FallbackSession, ABatchThatTheProcessorRefusesTooIsNotTheDevicesFault) {
  Pair pair;
  pair.device->failing = true;
  pair.processor->failing = true;
  EXPECT_EQ(pair.run(), -1);
  EXPECT_EQ(pair.session->info().provider, Provider::Cuda);
  pair.device->failing = false;
  EXPECT_EQ(pair.run(), 1);
  pair.device->value = pair.processor->value = 0;
  pair.processor->failing = false;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pair.run(), 0);
  EXPECT_EQ(pair.told, 0);
}

TEST(FallbackSession, AStoppedBatchIsNoLoss) {
  Pair pair;
  pair.device->cancelled = true;
  const auto states = pair.session->run(batch_of(1), {});
  ASSERT_FALSE(states);
  EXPECT_EQ(states.error().code, ErrorCode::Cancelled);
  EXPECT_EQ(pair.opened, 0);
}

TEST(FallbackSession, WithoutAProcessorTheDevicesWordIsTheLast) {
  Pair pair;
  pair.can_open = false;
  pair.device->failing = true;
  const auto states = pair.session->run(batch_of(1), {});
  ASSERT_FALSE(states);
  EXPECT_EQ(states.error().message, "the device is gone");
  pair.can_open = true;
  pair.width = 4;  // not the same model
  EXPECT_EQ(pair.run(), -1);
  pair.width = 3;
  EXPECT_EQ(pair.run(), 7);
}

TEST(FallbackSession, ManyThreadsLoseADeviceOnce) {
  Pair pair;
  std::atomic<bool> ready{false};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int run = 0; run < 50; ++run) {
          if (run == 25) {
            ready = true;
            pair.device->failing = true;
          }
          const auto states = pair.session->run(batch_of(2), {});
          ASSERT_TRUE(states);
          EXPECT_GT(pair.session->info().width, 0U);
        }
      });
    }
  }
  EXPECT_TRUE(ready);
  EXPECT_EQ(pair.told, 1);
  EXPECT_EQ(pair.opened, 1);
  EXPECT_EQ(pair.lines.size(), 1U);
}

}  // namespace
}  // namespace textvec::runtime
