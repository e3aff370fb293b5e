// Each pooling mode against its definition, in a form too slow to be wrong.
#include "vectors/pooling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace textvec::vectors {
namespace {

double expected(Pooling pooling, const std::vector<float>& hidden, std::size_t width,
                std::size_t begin, std::size_t tokens, std::size_t column) {
  const auto at = [&](std::size_t row) {
    return static_cast<double>(hidden[row * width + column]);
  };
  if (pooling == Pooling::Cls) return at(begin);
  if (pooling == Pooling::LastToken) return at(tokens - 1);
  double sum = 0;
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t row = begin; row < tokens; ++row) {
    sum += at(row);
    largest = std::max(largest, at(row));
  }
  const auto count = static_cast<double>(tokens - begin);
  if (pooling == Pooling::Max) return largest;
  return pooling == Pooling::Mean ? sum / count : sum / std::sqrt(count);
}

TEST(Pool, EqualsTheDefinitionAndIgnoresPaddingAndPrompt) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  constexpr std::size_t kWidth = 5;
  constexpr std::size_t kLength = 9;
  for (const std::size_t tokens : {1U, 2U, 8U, 9U}) {
    for (std::size_t begin = 0; begin < tokens; ++begin) {
      std::vector<float> hidden(kLength * kWidth);
      for (float& value : hidden) value = normal(random);
      // Padding that would be seen at once.
      std::fill(hidden.begin() + static_cast<std::ptrdiff_t>(tokens * kWidth), hidden.end(), 1e30F);
      for (const Pooling pooling :
           {Pooling::Cls, Pooling::Mean, Pooling::LastToken, Pooling::Max, Pooling::MeanSqrtLen}) {
        std::vector<float> out(kWidth);
        pool(pooling, hidden, begin, tokens, out);
        for (std::size_t column = 0; column < kWidth; ++column) {
          EXPECT_NEAR(out[column], expected(pooling, hidden, kWidth, begin, tokens, column), 1e-6);
        }
      }
    }
  }
}

TEST(Pool, MaxKeepsANotANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& hidden :
       {std::vector<float>{nan, 1, 2}, {1, nan, 2}, {1, 2, nan}}) {
    float out = 0;
    pool(Pooling::Max, hidden, 0, 3, {&out, 1});
    EXPECT_TRUE(std::isnan(out));
  }
}

}  // namespace
}  // namespace textvec::vectors
