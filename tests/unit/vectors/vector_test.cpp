// No vector leaves unless it is finite, not zero, and of the length it should have.
#include "vectors/vector.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace textvec::vectors {
namespace {

TEST(FinishVector, CutsAndNormalisesAgain) {
  const std::array<float, 3> vector{3, 4, 12};
  std::array<float, 2> cut{};
  ASSERT_TRUE(finish_vector(vector, true, cut));
  EXPECT_FLOAT_EQ(cut[0], 0.6F);
  EXPECT_FLOAT_EQ(cut[1], 0.8F);
  std::array<float, 3> whole{};
  ASSERT_TRUE(finish_vector(vector, true, whole));
  EXPECT_FLOAT_EQ(whole[2], 12.0F / 13.0F);
  ASSERT_TRUE(finish_vector(vector, false, whole));
  EXPECT_EQ(whole, vector);
}

TEST(FinishVector, SurvivesVeryLargeAndVerySmallNumbers) {
  for (const float scale : {1e-11F, 1e20F, 3e38F}) {  // squares under- and overflow in float
    const std::array<float, 2> vector{scale, -scale};
    std::array<float, 2> out{};
    ASSERT_TRUE(finish_vector(vector, true, out));
    EXPECT_NEAR(std::hypot(out[0], out[1]), 1.0, 1e-6);
  }
}

TEST(FinishVector, RefusesZeroAtTheLimit) {
  std::array<float, 1> out{};
  EXPECT_FALSE(finish_vector(std::array<float, 1>{0.0F}, true, out));
  EXPECT_FALSE(finish_vector(std::array<float, 1>{0.9e-12F}, true, out));
  EXPECT_TRUE(finish_vector(std::array<float, 1>{1.1e-12F}, true, out));
  EXPECT_EQ(finish_vector(std::array<float, 1>{-0.0F}, false, out).error().code,
            ErrorCode::NonFinite);
}

TEST(FinishVector, RefusesWhatIsNotFiniteEvenInThePartCutOff) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    const std::array<float, 3> vector{1, 2, bad};
    std::array<float, 2> out{};
    const auto finished = finish_vector(vector, true, out);
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().code, ErrorCode::NonFinite);
    EXPECT_NE(finished.error().message.find("component 2"), std::string::npos);
  }
}

TEST(WeightedMean, CountsEachRowByItsWeight) {
  const std::array<float, 6> rows{1, 10, 3, -2, 100, 200};
  const std::array<std::uint32_t, 3> weights{1, 3, 0};
  std::array<float, 2> mean{};
  weighted_mean(rows, weights, mean);
  EXPECT_FLOAT_EQ(mean[0], (1.0F * 1 + 3 * 3) / 4);
  EXPECT_FLOAT_EQ(mean[1], (1.0F * 10 - 3 * 2) / 4);
}

// In float the small ones would be lost beside the large one.
TEST(WeightedMean, IsSummedInDouble) {
  std::vector<float> rows(1001, 1.0F);
  rows.front() = 1e8F;
  const std::vector<std::uint32_t> weights(rows.size(), 1);
  std::array<float, 1> mean{};
  weighted_mean(rows, weights, mean);
  EXPECT_FLOAT_EQ(mean[0], static_cast<float>((1e8 + 1000) / 1001));
}

}  // namespace
}  // namespace textvec::vectors
