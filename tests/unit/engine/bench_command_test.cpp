// The stages of a bench on a tiny real model: how many runs, of how many tokens.
#include "bench_command.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec {
namespace {

using testing::TemporaryFolder;
using testing::TinyModel;

struct Tiny {
  TemporaryFolder folder{};

  Tiny() { TinyModel().write(folder / "model", "pooling_mode_mean_tokens"); }
  Bench bench(std::size_t batch_tokens_max = 1024) const {
    LoadOptions options;
    options.cache_folder = folder / "cache";
    options.threads = 1;
    options.batch_tokens_max = batch_tokens_max;
    return Bench::load((folder / "model").string(), options).value();
  }
};

constexpr double kForEver = std::numeric_limits<double>::infinity();

TEST(Bench, TextsHaveExactlyTheTokensOfTheShape) {
  const Tiny tiny;
  const Bench bench = tiny.bench();
  for (std::size_t tokens = 3; tokens <= bench.info().tokens_max; ++tokens) {
    const auto result = bench.run({3, tokens}, {1, kForEver}, {});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->tokens, 3 * tokens);
  }
}

TEST(Bench, TokensOutsideTheModelsRangeAreRefused) {
  const Tiny tiny;
  const Bench bench = tiny.bench();
  const std::size_t max = bench.info().tokens_max;
  EXPECT_TRUE(bench.check({1, 3}));
  EXPECT_TRUE(bench.check({1, max}));
  for (const std::size_t tokens : {std::size_t{0}, std::size_t{2}, max + 1}) {
    const auto checked = bench.check({1, tokens});
    ASSERT_FALSE(checked) << tokens;
    EXPECT_EQ(checked.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(checked.error().message.find("3 to " + std::to_string(max)), std::string::npos);
  }
}

TEST(Bench, RunsAsOftenAsTheLimitsSay) {
  const Tiny tiny;
  const Bench bench = tiny.bench();
  EXPECT_EQ(bench.run({1, 8}, {1, kForEver}, {})->runs.size(), 1U);
  EXPECT_EQ(bench.run({1, 8}, {7, kForEver}, {})->runs.size(), 7U);
  EXPECT_EQ(bench.run({1, 8}, {7, 0}, {})->runs.size(), 1U);
}

TEST(Bench, StagesAreMeasuredAndTheyArePartsOfTheRun) {
  const Tiny tiny;
  const Bench bench = tiny.bench(8);
  const auto result = bench.run({5, 8}, {3, kForEver}, {});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->batches, 5U);
  for (const BenchRun& run : result->runs) {
    for (const double stage : {run.tokenize, run.batch, run.inference, run.pool}) {
      EXPECT_GT(stage, 0);
    }
    EXPECT_LE(run.tokenize + run.batch + run.inference + run.pool, run.total * 1.000001);
  }
}

TEST(Bench, AStopEndsIt) {
  const Tiny tiny;
  std::stop_source source;
  source.request_stop();
  const auto result = tiny.bench().run({1, 8}, {1, kForEver}, source.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Cancelled);
}

}  // namespace
}  // namespace textvec
