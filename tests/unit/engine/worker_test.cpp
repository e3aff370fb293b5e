// The worker with a session that fails, stalls, or returns known numbers. No runtime, no model.
#include "worker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <new>
#include <set>
#include <thread>

#include "call.h"

namespace textvec {
namespace {

using namespace std::chrono_literals;

// Row i of the answer is (first id of the text, 1) at every token.
class FakeSession : public runtime::Session {
 public:
  Result<runtime::HiddenStates> run(const batch::Batch& batch,
                                    const std::stop_token& stop) override {
    ++runs;
    most_running = std::max(most_running.load(), ++running);
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, stop, [&] { return !held; });
    }
    --running;
    if (stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
    auto values = std::make_shared<std::vector<float>>();
    for (std::size_t row = 0; row < batch.rows; ++row) {
      const auto id = batch.ids[row * batch.length];
      if (throwing.contains(id)) throw std::bad_alloc();
      if (failing.contains(id)) return Error{ErrorCode::Internal, "index out of range"};
      for (std::size_t token = 0; token < batch.length; ++token) {
        values->push_back(not_a_number.contains(id) ? std::numeric_limits<float>::quiet_NaN()
                                                    : static_cast<float>(id));
        values->push_back(1.0F);
      }
    }
    if (short_answer) values->pop_back();
    return runtime::HiddenStates{values, *values, batch.rows, batch.length, 2};
  }
  const runtime::SessionInfo& info() const noexcept override { return info_; }
  void set_half() { info_.half = true; }

  void hold(bool value) {
    const std::lock_guard lock(mutex);
    held = value;
    changed.notify_all();
  }

  std::atomic<int> runs{0};
  std::atomic<int> running{0};
  std::atomic<int> most_running{0};  // near enough: two may store at once, and both are above 1
  std::set<std::int64_t> failing{};
  std::set<std::int64_t> throwing{};
  std::set<std::int64_t> not_a_number{};
  bool short_answer = false;

 private:
  std::mutex mutex{};
  std::condition_variable_any changed{};
  bool held = false;
  runtime::SessionInfo info_{};
};

const WorkerSettings kSettings{1, 64, Pooling::Cls, 2, 0, {}};

std::shared_ptr<Call> make_call(const std::vector<std::uint32_t>& ids,
                                const EmbedOptions& options = {}, std::size_t length = 1) {
  auto call = std::make_shared<Call>(ids.size(), 0, 2, options);
  for (std::size_t row = 0; row < ids.size(); ++row) {
    call->add(row, {std::vector<std::uint32_t>(length, ids[row]), {}, 0}, false);
  }
  return call;
}

struct Fixture {
  FakeSession session{};
  batch::Queue queue{1000};
  std::unique_ptr<Workers> workers =
      Workers::start(queue, {session, session}, std::vector<vectors::Dense>{}, kSettings).value();

  std::future<Result<Embeddings>> start(const std::shared_ptr<Call>& call) {
    auto future = call->future();
    EXPECT_TRUE(queue.push(call));
    return future;
  }
};

void expect_vector_of(const Embeddings& embeddings, std::size_t row, float id) {
  const float norm = std::sqrt(id * id + 1);
  EXPECT_NEAR(embeddings.row(row)[0], id / norm, 1e-6);
  EXPECT_NEAR(embeddings.row(row)[1], 1 / norm, 1e-6);
}

TEST(Worker, AnswersInTheCallersOrder) {
  Fixture fixture;
  auto call = std::make_shared<Call>(3, 0, 2, EmbedOptions{});
  call->add(0, {{9, 0, 0, 0, 0}, {}, 0}, false);  // the longest runs last
  call->add(1, {{4}, {}, 0}, true);
  call->add(2, {{5, 0, 0}, {}, 0}, false);
  const auto result = fixture.start(call).get();
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->rows(), 3U);
  expect_vector_of(*result, 0, 9);
  expect_vector_of(*result, 1, 4);
  expect_vector_of(*result, 2, 5);
  EXPECT_EQ(result->tokens, (std::vector<std::uint32_t>{5, 1, 3}));
  EXPECT_EQ(result->truncated, (std::vector<std::uint8_t>{0, 1, 0}));
}

TEST(Worker, MeasuresEachTextFromTheCallsBeginning) {
  Fixture fixture;
  fixture.session.hold(true);
  auto first = fixture.start(make_call({1}));
  while (fixture.session.running == 0) std::this_thread::yield();
  auto call = make_call({2, 3});
  call->ready();
  auto second = fixture.start(call);
  std::this_thread::sleep_for(20ms);
  fixture.session.hold(false);
  const auto one = first.get();
  ASSERT_TRUE(one);
  ASSERT_EQ(one->text_durations.size(), 1U);
  EXPECT_GE(one->text_durations[0].inference, 20ms);
  const auto two = second.get();
  ASSERT_TRUE(two);
  ASSERT_EQ(two->text_durations.size(), 2U);
  for (const Durations& text : two->text_durations) {
    EXPECT_GE(text.queue, 19ms);
    EXPECT_LE(text.tokenize + text.queue + text.inference,
              two->durations.tokenize + two->durations.queue + two->durations.inference + 1ms);
  }
}

TEST(Worker, SaysWhichBatchesRun) {
  FakeSession session;
  batch::Queue queue{1000};
  std::mutex mutex;
  std::vector<std::pair<std::size_t, std::size_t>> batches;
  WorkerSettings settings = kSettings;
  settings.batch_runs = [&](std::size_t texts, std::size_t tokens) {
    const std::lock_guard lock(mutex);
    batches.emplace_back(texts, tokens);
  };
  const auto workers = Workers::start(queue, {session, session}, {}, settings).value();
  auto call = std::make_shared<Call>(3, 0, 2, EmbedOptions{});
  call->add(0, {{9, 0, 0}, {}, 0}, false);
  call->add(1, {{4}, {}, 0}, false);
  call->add(2, {std::vector<std::uint32_t>(80, 5), {}, 0}, false);  // more than a batch: alone
  auto future = call->future();
  ASSERT_TRUE(queue.push(call));
  ASSERT_TRUE(future.get());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(batches, (std::vector<std::pair<std::size_t, std::size_t>>{{2, 6}, {1, 80}}));
}

TEST(Worker, AFailingTextFailsAloneInFewRuns) {
  Fixture fixture;
  fixture.session.failing = {7};
  fixture.session.hold(true);
  auto blocker = fixture.start(make_call({1}));  // so that the next two calls share a window
  EmbedOptions report;
  report.bad_text = BadText::Report;
  std::vector<std::uint32_t> ids(32, 3);
  ids[20] = 7;
  auto mixed = fixture.start(make_call(ids, report));
  auto neighbour = fixture.start(make_call({11, 12}));
  fixture.session.hold(false);
  ASSERT_TRUE(blocker.get());
  const int before = 1;
  const auto result = mixed.get();
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->failures.size(), 1U);
  EXPECT_EQ(result->failures.front().text, 20U);
  EXPECT_EQ(result->failures.front().code, ErrorCode::Internal);
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (row != 20) expect_vector_of(*result, row, 3);
  }
  const auto other = neighbour.get();
  ASSERT_TRUE(other);
  expect_vector_of(*other, 1, 12);
  // 34 texts in one batch: one failed run, then two for each of ceil(log2 34) = 6 halvings.
  EXPECT_LE(fixture.session.runs.load() - before, 1 + 2 * 6);
}

TEST(Worker, AnExceptionInTheSessionIsAnErrorToo) {
  Fixture fixture;
  fixture.session.throwing = {7};
  EmbedOptions report;
  report.bad_text = BadText::Report;
  const auto result = fixture.start(make_call({3, 7, 4}, report)).get();
  ASSERT_TRUE(result);
  ASSERT_EQ(result->failures.size(), 1U);
  EXPECT_EQ(result->failures.front().text, 1U);
  EXPECT_TRUE(fixture.start(make_call({5})).get()) << "the worker lives";
}

TEST(Worker, NotANumberIsAnErrorThatNamesTheText) {
  Fixture fixture;
  fixture.session.not_a_number = {7};
  const auto result = fixture.start(make_call({3, 7, 4})).get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::NonFinite);
  EXPECT_EQ(result.error().text, 1U);
}

TEST(Worker, NotANumberOfASixteenBitFileComesWithAdvice) {
  Fixture fixture;
  fixture.session.not_a_number = {7};
  const auto plain = fixture.start(make_call({7})).get();
  ASSERT_FALSE(plain);
  EXPECT_EQ(plain.error().message.find("16-bit"), std::string::npos) << plain.error().message;

  Fixture half;
  half.session.not_a_number = {7};
  half.session.set_half();
  const auto result = half.start(make_call({3, 7})).get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::NonFinite);
  EXPECT_EQ(result.error().text, 1U);
  EXPECT_NE(result.error().message.find("16-bit"), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find("fp32"), std::string::npos) << result.error().message;
}

TEST(Worker, AnAnswerOfAnotherShapeIsInternal) {
  Fixture fixture;
  fixture.session.short_answer = true;
  const auto result = fixture.start(make_call({3})).get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Internal);
}

TEST(Worker, APassedDeadlineIsNotRun) {
  Fixture fixture;
  EmbedOptions late;
  late.deadline = std::chrono::steady_clock::now() - 1ms;
  const auto result = fixture.start(make_call({3, 4}, late)).get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::TimedOut);
  EXPECT_FALSE(result.error().text.has_value());
  EXPECT_EQ(fixture.session.runs.load(), 0);
}

TEST(Worker, AStopEndsTheRunningBatchOfItsOwnCall) {
  Fixture fixture;
  fixture.session.hold(true);
  std::stop_source stop;
  EmbedOptions options;
  options.stop = stop.get_token();
  auto future = fixture.start(make_call({3}, options));
  while (fixture.session.runs.load() == 0) std::this_thread::yield();
  stop.request_stop();
  const auto result = future.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Cancelled);
}

TEST(Worker, OneCallersStopDoesNotEndAnothersBatch) {
  Fixture fixture;
  fixture.session.hold(true);
  auto blocker = fixture.start(make_call({1}));
  while (fixture.session.runs.load() == 0) std::this_thread::yield();
  std::stop_source stop;
  EmbedOptions options;
  options.stop = stop.get_token();
  auto stopped = fixture.start(make_call({3}, options));
  auto other = fixture.start(make_call({4}));
  stop.request_stop();
  fixture.session.hold(false);
  EXPECT_TRUE(blocker.get());
  EXPECT_FALSE(stopped.get());
  const auto result = other.get();
  ASSERT_TRUE(result);
  expect_vector_of(*result, 0, 4);
}

TEST(Worker, ClosingFailsWhatWaitsAndFinishesWhatRuns) {
  Fixture fixture;
  fixture.session.hold(true);
  auto running = fixture.start(make_call({3}));
  while (fixture.session.runs.load() == 0) std::this_thread::yield();
  auto waiting = fixture.start(make_call({4}));
  std::jthread closer([&] { fixture.workers.reset(); });
  const auto failed = waiting.get();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::Cancelled);
  fixture.session.hold(false);
  EXPECT_TRUE(running.get());
}

// A job of many batches is taken from the queue at once; closing must not run them all.
TEST(Worker, ClosingFinishesOneBatchAndNoMore) {
  Fixture fixture;
  fixture.session.hold(true);
  // Seven batches of 64 tokens, fewer than a window.
  auto call = fixture.start(make_call({1, 2, 3, 4, 5, 6, 7}, {}, 64));
  while (fixture.session.runs.load() == 0) std::this_thread::yield();
  std::jthread closer([&] { fixture.workers.reset(); });
  // The queue refuses once closing has begun.
  while (fixture.queue.push(make_call({}))) std::this_thread::yield();
  fixture.session.hold(false);
  EXPECT_EQ(call.get().error().code, ErrorCode::Cancelled);
  closer.join();
  EXPECT_EQ(fixture.session.runs.load(), 1);
}

TEST(Worker, ManyCallersGetTheirOwnVectors) {
  Fixture fixture;
  std::vector<std::jthread> callers;
  for (std::uint32_t caller = 1; caller <= 8; ++caller) {
    callers.emplace_back([&, caller] {
      for (std::uint32_t round = 0; round < 50; ++round) {
        const std::uint32_t id = caller * 100 + round;
        const auto result = fixture.start(make_call({id, id + 1}, {}, 1 + round % 9)).get();
        ASSERT_TRUE(result);
        expect_vector_of(*result, 0, static_cast<float>(id));
        expect_vector_of(*result, 1, static_cast<float>(id + 1));
      }
    });
  }
}

// Two workers; batches of at most 64 tokens, of which a worker takes 8 at a time.
struct Crew {
  FakeSession all_cores{};
  FakeSession few_cores{};
  batch::Queue queue{1000};
  std::unique_ptr<Workers> workers =
      Workers::start(queue, {all_cores, few_cores}, {}, {2, 64, Pooling::Cls, 2, 0, {}}).value();

  std::future<Result<Embeddings>> start(const std::shared_ptr<Call>& call) {
    auto future = call->future();
    EXPECT_TRUE(queue.push(call));
    return future;
  }
  void hold(bool value) {
    all_cores.hold(value);
    few_cores.hold(value);
  }
  int running() const { return all_cores.running + few_cores.running; }
  void wait_until_taken() const {
    while (queue.texts_waiting() != 0) std::this_thread::yield();
  }
  void wait_for_running(int count) const {
    while (running() != count) std::this_thread::yield();
  }
};

TEST(Workers, LittleWorkHasAllCores) {
  Crew crew;
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(crew.start(make_call({3, 4}, {}, 8)).get());
  }
  EXPECT_EQ(crew.all_cores.runs.load(), 20);
  EXPECT_EQ(crew.few_cores.runs.load(), 0);
}

TEST(Workers, MuchWorkIsDividedAndRunsBesideEachOther) {
  Crew crew;
  crew.hold(true);
  std::vector<std::uint32_t> ids(40);
  for (std::uint32_t i = 0; i < ids.size(); ++i) ids[i] = i + 1;
  auto call = crew.start(make_call(ids, {}, 32));  // 20 batches
  crew.wait_for_running(2);
  EXPECT_EQ(crew.few_cores.running.load(), 2);
  crew.hold(false);
  const auto result = call.get();
  ASSERT_TRUE(result) << result.error().message;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    expect_vector_of(*result, row, static_cast<float>(ids[row]));
  }
  EXPECT_EQ(crew.all_cores.runs + crew.few_cores.runs, 20);
}

TEST(Workers, LongTextsHaveAllCoresOneAtATime) {
  Crew crew;
  crew.hold(true);
  auto first = crew.start(make_call({3}, {}, 65));
  crew.wait_for_running(1);
  auto second = crew.start(make_call({4}, {}, 65));
  crew.wait_until_taken();
  EXPECT_EQ(crew.running(), 1);
  crew.hold(false);
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  EXPECT_EQ(crew.all_cores.runs.load(), 2);
  EXPECT_EQ(crew.all_cores.most_running.load(), 1);
  EXPECT_EQ(crew.few_cores.runs.load(), 0);
}

TEST(Workers, AStopReachesALongTextThatWaitsForItsTurn) {
  Crew crew;
  crew.hold(true);
  auto first = crew.start(make_call({3}, {}, 65));
  crew.wait_for_running(1);
  std::stop_source stop;
  EmbedOptions options;
  options.stop = stop.get_token();
  auto second = crew.start(make_call({4}, options, 65));
  crew.wait_until_taken();
  stop.request_stop();
  EXPECT_EQ(second.get().error().code, ErrorCode::Cancelled);
  crew.hold(false);
  EXPECT_TRUE(first.get());
  EXPECT_EQ(crew.all_cores.runs.load(), 1);
}

TEST(Workers, ClosingFinishesTheBatchesInFlightAndFailsTheRest) {
  Crew crew;
  crew.hold(true);
  auto running = crew.start(make_call({3}, {}, 65));
  crew.wait_for_running(1);
  auto in_line = crew.start(make_call({4}, {}, 65));
  crew.wait_until_taken();
  auto waiting = crew.start(make_call({5}));
  std::jthread closer([&] { crew.workers.reset(); });
  EXPECT_EQ(waiting.get().error().code, ErrorCode::Cancelled);
  EXPECT_EQ(in_line.get().error().code, ErrorCode::Cancelled);
  crew.hold(false);
  EXPECT_TRUE(running.get());
}

TEST(Workers, ABadTextFailsAloneAmongThem) {
  Crew crew;
  crew.all_cores.failing = {7};
  crew.few_cores.failing = {7};
  EmbedOptions report;
  report.bad_text = BadText::Report;
  std::vector<std::uint32_t> ids(200, 3);
  ids[120] = 7;
  const auto result = crew.start(make_call(ids, report, 16)).get();
  ASSERT_TRUE(result);
  ASSERT_EQ(result->failures.size(), 1U);
  EXPECT_EQ(result->failures.front().text, 120U);
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (row != 120) expect_vector_of(*result, row, 3);
  }
}

TEST(Workers, ManyCallersGetTheirOwnVectors) {
  Crew crew;
  std::vector<std::jthread> callers;
  for (std::uint32_t caller = 1; caller <= 8; ++caller) {
    callers.emplace_back([&, caller] {
      for (std::uint32_t round = 0; round < 50; ++round) {
        const std::uint32_t id = caller * 100 + round;
        const auto result = crew.start(make_call({id, id + 1}, {}, 1 + round * 7 % 80)).get();
        ASSERT_TRUE(result);
        expect_vector_of(*result, 0, static_cast<float>(id));
        expect_vector_of(*result, 1, static_cast<float>(id + 1));
      }
    });
  }
}

// As when memory ends between queue and batch: nobody may wait for ever.
TEST(Call, AJobThatIsLetGoAnswersItsCaller) {
  auto call = make_call({1, 2});
  auto future = call->future();
  call->finish(0, Error{ErrorCode::Internal, "failed"});
  call.reset();
  EXPECT_EQ(future.get().error().code, ErrorCode::Internal);
}

// Row i is (id of row i's first token, 1) at each of its tokens.
TEST(TokenCall, GathersTokensInTheCallersOrderBesideOtherCalls) {
  Fixture fixture;
  fixture.session.hold(true);
  auto blocker = fixture.start(make_call({1}));  // so that the others share a batch
  auto tokens = std::make_shared<Call>(3, 0, 0, EmbedOptions{});
  tokens->add(0, {{9, 0, 0, 0}, {}, 0}, false);
  tokens->add(1, {{4}, {}, 0}, true);
  tokens->add(2, {{5, 0}, {}, 0}, false);
  EXPECT_EQ(tokens->tokens(), 7U);
  tokens->want_every_token(2);
  auto all = fixture.start(tokens);
  auto texts = fixture.start(make_call({6, 8}));
  fixture.session.hold(false);
  EXPECT_TRUE(blocker.get());
  const auto vectors = all.get();
  ASSERT_TRUE(vectors);
  EXPECT_EQ(vectors->values, (std::vector<float>{9, 1, 9, 1, 9, 1, 9, 1, 4, 1, 5, 1, 5, 1}));
  const auto others = texts.get();
  ASSERT_TRUE(others);
  expect_vector_of(*others, 0, 6);
  expect_vector_of(*others, 1, 8);
}

TEST(TokenCall, ATextAtFaultFailsAlone) {
  Fixture fixture;
  fixture.session.failing = {7};
  fixture.session.not_a_number = {8};
  EmbedOptions report;
  report.bad_text = BadText::Report;
  auto call = std::make_shared<Call>(4, 10, 0, report);
  for (std::size_t row = 0; row < 4; ++row) {
    call->add(row, {{static_cast<std::uint32_t>(6 + row), 0}, {}, 0}, false);
  }
  call->want_every_token(2);
  const auto vectors = fixture.start(call).get();
  ASSERT_TRUE(vectors);
  ASSERT_EQ(vectors->failures.size(), 2U);
  EXPECT_EQ(vectors->failures[0].text, 11U);
  EXPECT_EQ(vectors->failures[1].text, 12U);
  EXPECT_EQ(vectors->failures[1].code, ErrorCode::NonFinite);
  EXPECT_EQ(vectors->values, (std::vector<float>{6, 1, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 9, 1}));
}

TEST(Call, ARefusedTextIsReportedAndTheOthersRun) {
  Fixture fixture;
  EmbedOptions report;
  report.bad_text = BadText::Report;
  auto call = std::make_shared<Call>(3, 100, 2, report);
  call->add(0, {{3}, {}, 0}, false);
  call->refuse(1, {ErrorCode::InvalidArgument, "invalid UTF-8 at byte 0"});
  call->add(2, {{4}, {}, 0}, false);
  const auto result = fixture.start(call).get();
  ASSERT_TRUE(result);
  ASSERT_EQ(result->failures.size(), 1U);
  EXPECT_EQ(result->failures.front().text, 101U);
  expect_vector_of(*result, 2, 4);
  EXPECT_EQ(result->row(1)[0], 0.0F);
}

TEST(Call, OneRefusalFailsTheCallByDefault) {
  Call call(2, 0, 2, {});
  call.refuse(1, {ErrorCode::InvalidArgument, "invalid UTF-8 at byte 0"});
  EXPECT_TRUE(call.settled());
  auto future = call.future();
  call.close_early(std::nullopt);
  const auto result = future.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text, 1U);
}

// Texts of several windows, whose first ids the fake session turns into vectors (id, 1).
struct Chunked {
  EmbedOptions options{};

  Chunked() {
    options.too_long = TooLong::Chunk;
    options.bad_text = BadText::Report;
  }

  // `weights` are the tokens that count of each window.
  static void add(Call& call, std::size_t row, const std::vector<std::uint32_t>& ids,
                  const std::vector<std::uint32_t>& weights) {
    std::vector<batch::Text> windows;
    std::vector<Chunk> chunks;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      windows.push_back({std::vector<std::uint32_t>(weights[i], ids[i]), {}, 0});
      chunks.push_back({i, i + 1, weights[i]});
    }
    call.add_chunked(row, std::move(windows), std::move(chunks), 99, 2);
  }
};

TEST(ChunkedCall, GivesTheMeanOfUnitVectorsWeightedByTokens) {
  Fixture fixture;
  const Chunked chunked;
  auto call = std::make_shared<Call>(3, 0, 2, chunked.options);
  Chunked::add(*call, 0, {3, 8, 5}, {7, 9, 2});  // batches run the shortest first
  Chunked::add(*call, 1, {4}, {5});
  Chunked::add(*call, 2, {6, 2}, {1, 30});
  const auto result = fixture.start(call).get();
  ASSERT_TRUE(result) << result.error().message;
  const auto unit = [](double id) {
    return std::pair(id / std::hypot(id, 1), 1 / std::hypot(id, 1));
  };
  const auto [x3, y3] = unit(3);
  const auto [x8, y8] = unit(8);
  const auto [x5, y5] = unit(5);
  const double x = (7 * x3 + 9 * x8 + 2 * x5) / 18;
  const double y = (7 * y3 + 9 * y8 + 2 * y5) / 18;
  EXPECT_NEAR(result->row(0)[0], x / std::hypot(x, y), 1e-6);
  EXPECT_NEAR(result->row(0)[1], y / std::hypot(x, y), 1e-6);
  expect_vector_of(*result, 1, 4);
  EXPECT_EQ(result->tokens, (std::vector<std::uint32_t>{99, 99, 99}));
  EXPECT_EQ(result->chunks[2], (std::vector<Chunk>{{0, 1, 1}, {1, 2, 30}}));
}

TEST(ChunkedCall, WithoutNormalisingItIsTheMeanOfWhatTheModelGave) {
  Fixture fixture;
  Chunked chunked;
  chunked.options.normalize = false;
  auto call = std::make_shared<Call>(1, 0, 2, chunked.options);
  Chunked::add(*call, 0, {3, 8}, {1, 4});
  const auto result = fixture.start(call).get().value();
  EXPECT_NEAR(result.row(0)[0], (3.0 + 4 * 8) / 5, 1e-6);
  EXPECT_NEAR(result.row(0)[1], 1, 1e-6);
}

TEST(ChunkedCall, AWindowThatFailsFailsItsTextOnceAndAlone) {
  Fixture fixture;
  fixture.session.failing = {7};
  fixture.session.not_a_number = {9};
  const Chunked chunked;
  auto call = std::make_shared<Call>(4, 10, 2, chunked.options);
  Chunked::add(*call, 0, {3, 7, 3, 7}, {1, 1, 1, 1});
  Chunked::add(*call, 1, {4, 4}, {2, 1});
  Chunked::add(*call, 2, {9, 9, 5}, {1, 1, 1});
  Chunked::add(*call, 3, {6}, {3});
  const auto result = fixture.start(call).get();
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->failures.size(), 2U);
  EXPECT_EQ(result->failures[0].text, 10U);
  EXPECT_EQ(result->failures[0].code, ErrorCode::Internal);
  EXPECT_EQ(result->failures[1].text, 12U);
  EXPECT_EQ(result->failures[1].code, ErrorCode::NonFinite);
  EXPECT_EQ(result->row(0)[0], 0.0F);
  EXPECT_EQ(result->row(2)[0], 0.0F);
  expect_vector_of(*result, 1, 4);
  expect_vector_of(*result, 3, 6);
}

TEST(ChunkedCall, WindowsThatCancelOutGiveNoVector) {
  const Chunked chunked;
  auto call = std::make_shared<Call>(1, 0, 2, chunked.options);
  Chunked::add(*call, 0, {1, 2}, {5, 5});
  auto future = call->future();
  const std::vector<float> there{0.5F, -2.0F};
  const std::vector<float> back{-0.5F, 2.0F};
  call->finish(0, std::span<const float>(there));
  call->finish(1, std::span<const float>(back));
  const auto result = future.get().value();
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_EQ(result.failures[0].code, ErrorCode::NonFinite);
}

TEST(ChunkedCall, TheOrderInWhichWindowsAreDoneDoesNotShow) {
  // Sums of these differ in the last bit when they are added in another order.
  const std::vector<std::vector<float>> vectors{
      {0.1F, 3.0F}, {1e-3F, -2.9F}, {7.7F, 1e-2F}, {-0.3F, 0.2F}};
  std::vector<std::size_t> order{0, 1, 2, 3};
  std::vector<float> first;
  do {
    const Chunked chunked;
    auto call = std::make_shared<Call>(1, 0, 2, chunked.options);
    Chunked::add(*call, 0, {1, 2, 3, 4}, {3, 1000001, 7, 12345});
    auto future = call->future();
    for (const std::size_t window : order) {
      call->finish(window, std::span<const float>(vectors[window]));
    }
    const auto values = future.get().value().values;
    if (first.empty()) first = values;
    EXPECT_EQ(values, first);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(ChunkedCall, CanEndBeforeItsLastRow) {
  Fixture fixture;
  const Chunked chunked;
  auto call = std::make_shared<Call>(5, 0, 2, chunked.options);
  Chunked::add(*call, 0, {3, 3}, {1, 1});
  Chunked::add(*call, 1, {4}, {1});
  call->keep_rows(2);
  const auto result = fixture.start(call).get().value();
  EXPECT_EQ(result.rows(), 2U);
  EXPECT_EQ(result.values.size(), 4U);
  EXPECT_EQ(result.truncated.size(), 2U);
  EXPECT_EQ(result.chunks.size(), 2U);
  expect_vector_of(result, 1, 4);
}

}  // namespace
}  // namespace textvec
