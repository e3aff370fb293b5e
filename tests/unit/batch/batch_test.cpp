// Planning and padding: each text once, the budget kept, padding on the right.
#include "batch/batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace textvec::batch {
namespace {

TEST(MakeBatch, PadsOnTheRightAndMasksThePadding) {
  const Text a{{5, 6, 7}, {}, 0};
  const Text b{{8}, {1}, 0};
  const std::vector<const Text*> texts{&a, &b};
  const Batch batch = make_batch(texts, 9);
  EXPECT_EQ(batch.rows, 2U);
  EXPECT_EQ(batch.length, 3U);
  EXPECT_EQ(batch.ids, (std::vector<std::int64_t>{5, 6, 7, 8, 9, 9}));
  EXPECT_EQ(batch.mask, (std::vector<std::int64_t>{1, 1, 1, 1, 0, 0}));
  EXPECT_EQ(batch.type_ids, (std::vector<std::int64_t>{0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(batch.lengths, (std::vector<std::size_t>{3, 1}));
}

TEST(Plan, FillsABatchUpToTheBudgetAndNoFurther) {
  const std::vector<std::size_t> lengths{4, 4, 4};
  EXPECT_EQ(plan(lengths, {11}).size(), 2U);
  EXPECT_EQ(plan(lengths, {12}).size(), 1U);
  EXPECT_EQ(plan(lengths, {13}).size(), 1U);
}

TEST(Plan, ATextAboveTheBudgetRunsAlone) {
  const std::vector<std::size_t> lengths{3, 500, 2};
  const auto batches = plan(lengths, {8});
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(batches[0], (std::vector<std::size_t>{2, 0}));
  EXPECT_EQ(batches[1], (std::vector<std::size_t>{1}));
}

TEST(Plan, CountsPaddingNotTokens) {
  // 1 + 1 + 10 tokens fit a budget of 12, but padded they are 30.
  EXPECT_EQ(plan(std::vector<std::size_t>{1, 1, 10}, {12}).size(), 2U);
}

TEST(Plan, PaddingIsNotWorthMoreThanARun) {
  const auto batches = [](std::size_t short_texts, std::size_t longer) {
    std::vector<std::size_t> lengths(short_texts, 4);
    lengths.push_back(longer);
    return plan(lengths, {1024, true, 16}).size();
  };
  EXPECT_EQ(batches(5, 7), 1U);   // 15 tokens of padding
  EXPECT_EQ(batches(4, 8), 1U);   // 16
  EXPECT_EQ(batches(1, 21), 2U);  // 17
  EXPECT_EQ(batches(6, 7), 2U);
}

TEST(Plan, NothingGivesNothing) {
  EXPECT_TRUE(plan({}, {8}).empty());
  EXPECT_TRUE(plan({}, {8, false}).empty());
}

using Batches = std::vector<std::vector<std::size_t>>;

TEST(PlanPacked, TakesTextsAsTheyCome) {
  const std::vector<std::size_t> lengths{5, 3, 9, 1, 40, 2};
  EXPECT_EQ(plan(lengths, {10, false}), (Batches{{0, 1}, {2, 3}, {4}, {5}}));
}

TEST(PlanPacked, CountsTokensNotPadding) {
  const auto batches = [](std::size_t last) {
    return plan(std::vector<std::size_t>{1, 7, last}, {12, false}).size();
  };
  EXPECT_EQ(batches(3), 1U);
  EXPECT_EQ(batches(4), 1U);
  EXPECT_EQ(batches(5), 2U);
}

TEST(PlanPacked, BoundsThePaddingThatTakesMemory) {
  const auto batches = [](std::size_t short_texts) {
    std::vector<std::size_t> lengths(short_texts, 1);
    lengths.push_back(100);
    return plan(lengths, {.tokens_max = 200, .pads = false, .padded_max = 8}).size();
  };
  EXPECT_EQ(batches(14), 1U);
  EXPECT_EQ(batches(15), 1U);  // 16 x 100 cells
  EXPECT_EQ(batches(16), 2U);
}

TEST(Plan, KeepsItsPromisesOnRandomLengths) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::size_t> lengths(random() % 200);
    for (auto& length : lengths) length = 1 + random() % 300;
    const std::size_t budget = 1 + random() % 2000;
    std::vector<int> seen(lengths.size(), 0);
    const bool pads = random() % 2 == 0;
    for (const auto& batch : plan(lengths, {budget, pads})) {
      std::size_t longest = 0;
      std::size_t tokens = 0;
      for (const std::size_t index : batch) {
        ++seen[index];
        longest = std::max(longest, lengths[index]);
        tokens += lengths[index];
      }
      EXPECT_FALSE(batch.empty());
      EXPECT_TRUE(batch.size() == 1 || (pads ? batch.size() * longest : tokens) <= budget);
    }
    EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
  }
}

}  // namespace
}  // namespace textvec::batch
