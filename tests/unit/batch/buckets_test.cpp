// Which texts run in which shape: each once, where it fits, and never at more than the least cost.
#include "batch/buckets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace textvec::batch {
namespace {

std::size_t cost_of(const BucketPlan& plan) {
  std::size_t cost = 0;
  for (const BucketRun& run : plan.runs) cost += run_cost(run.bucket);
  return cost;
}

// The slow twin: every way to fill every bucket, without the thought that texts may be sorted.
std::size_t least_cost(const std::vector<std::size_t>& lengths, std::uint32_t left,
                       std::span<const Bucket> buckets, std::vector<std::size_t>& known) {
  if (left == 0) return 0;
  std::size_t& least = known[left];
  if (least != 0) return least;
  least = std::numeric_limits<std::size_t>::max();
  for (const Bucket bucket : buckets) {
    for (std::uint32_t some = left; some != 0; some = (some - 1) & left) {
      std::size_t texts = 0;
      bool fits = true;
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        if ((some >> i & 1U) == 0) continue;
        ++texts;
        fits = fits && lengths[i] <= bucket.tokens;
      }
      if (!fits || texts > bucket.texts) continue;
      const std::size_t rest = least_cost(lengths, left & ~some, buckets, known);
      if (rest != std::numeric_limits<std::size_t>::max()) {
        least = std::min(least, run_cost(bucket) + rest);
      }
    }
  }
  return least;
}

void expect_each_once(const BucketPlan& plan, const std::vector<std::size_t>& lengths) {
  std::vector<int> seen(lengths.size(), 0);
  for (const BucketRun& run : plan.runs) {
    EXPECT_FALSE(run.texts.empty());
    EXPECT_LE(run.texts.size(), run.bucket.texts);
    for (const std::size_t text : run.texts) {
      ASSERT_LT(text, lengths.size());
      ++seen[text];
      EXPECT_LE(lengths[text], run.bucket.tokens);
    }
  }
  for (const std::size_t text : plan.too_long) ++seen.at(text);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<std::ptrdiff_t>(lengths.size()));
}

TEST(PlanBuckets, CostsNoMoreThanAnyOtherWay) {
  std::mt19937 random(7);
  const std::vector<std::vector<Bucket>> sets{
      default_buckets(512), default_buckets(40), {{1, 600}}, {{3, 10}, {2, 100}, {5, 600}}};
  for (const auto& buckets : sets) {
    for (int round = 0; round < 60; ++round) {
      std::vector<std::size_t> lengths(1 + random() % 8);
      for (std::size_t& length : lengths) {
        length = 1 + random() % (random() % 2 == 0 ? 40 : buckets.back().tokens);
      }
      const BucketPlan plan = plan_buckets(lengths, buckets);
      expect_each_once(plan, lengths);
      EXPECT_TRUE(plan.too_long.empty());
      std::vector<std::size_t> known(std::size_t{1} << lengths.size());
      const auto all = static_cast<std::uint32_t>(known.size() - 1);
      EXPECT_EQ(cost_of(plan), least_cost(lengths, all, buckets, known));
    }
  }
}

TEST(PlanBuckets, LengthsAtAndAboveTheLongestBucket) {
  const std::vector<Bucket> buckets{{2, 8}, {1, 16}};
  const std::vector<std::size_t> lengths{17, 8, 16, 9, 1000, 1};
  const BucketPlan plan = plan_buckets(lengths, buckets);
  expect_each_once(plan, lengths);
  EXPECT_EQ(plan.too_long, (std::vector<std::size_t>{0, 4}));
  EXPECT_EQ(plan.runs.size(), 3U);
}

TEST(PlanBuckets, NoTextsAreNoRuns) {
  const BucketPlan plan = plan_buckets({}, default_buckets(512));
  EXPECT_TRUE(plan.runs.empty());
  EXPECT_TRUE(plan.too_long.empty());
}

TEST(PlanBuckets, ManyTextsOfManyLengths) {
  std::vector<std::size_t> lengths(8192);
  std::mt19937 random(3);
  for (std::size_t& length : lengths) length = 1 + random() % 700;
  expect_each_once(plan_buckets(lengths, default_buckets(32768)), lengths);
}

TEST(DefaultBuckets, AreValidAndEndWithTheModelsTexts) {
  for (const std::size_t tokens_max : {1U, 15U, 16U, 31U, 32U, 256U, 511U, 512U, 513U, 32768U}) {
    const auto buckets = default_buckets(tokens_max);
    EXPECT_TRUE(check_buckets(buckets, tokens_max)) << tokens_max;
    EXPECT_EQ(buckets.back().tokens, std::min<std::size_t>(tokens_max, 512));
  }
}

void expect_refused(const std::vector<Bucket>& buckets, const std::string& part) {
  const auto checked = check_buckets(buckets, 512);
  ASSERT_FALSE(checked) << part;
  EXPECT_EQ(checked.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(checked.error().message.find(part), std::string::npos) << checked.error().message;
}

TEST(CheckBuckets, LimitsAreKept) {
  std::vector<Bucket> many;
  for (std::size_t i = 1; i <= kBucketsMax; ++i) many.push_back({1, i});
  EXPECT_TRUE(check_buckets(many, 512));
  many.push_back({2, 1});
  expect_refused(many, "17 buckets; a model takes 1 to 16");
  expect_refused({}, "0 buckets");
  EXPECT_TRUE(check_buckets(std::vector<Bucket>{{kBucketTextsMax, kBucketTokensMax}}, 4096));
  for (const Bucket bucket : {Bucket{0, 8}, Bucket{8, 0}, Bucket{kBucketTextsMax + 1, 8},
                              Bucket{1, kBucketTokensMax + 1}}) {
    expect_refused({bucket}, "takes 1 to 64 texts of 1 to 2048 tokens");
  }
  EXPECT_TRUE(check_buckets(std::vector<Bucket>{{1, 512}}, 512));
  expect_refused({{1, 513}}, "bucket 1x513; a text of this model has at most 512 tokens");
  expect_refused({{1, 8}, {8, 1}, {1, 8}}, "bucket 1x8 is given twice");
}

}  // namespace
}  // namespace textvec::batch
