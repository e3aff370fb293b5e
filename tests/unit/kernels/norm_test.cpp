#include "kernels/norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/floats.h"

namespace textvec::kernels {
namespace {

using testing::Floats;
using testing::on_threads;
using testing::random_floats;

struct Rows {
  Rows(std::size_t row_count, std::size_t row_width, float mean = 0)
      : rows(row_count),
        width(row_width),
        input(random_floats(rows * width, 1, 1, mean)),
        residual(random_floats(rows * width, 2)),
        bias(random_floats(width, 3)),
        weight(random_floats(width, 4)),
        shift(random_floats(width, 5)),
        output(rows * width, -1.0F) {}

  NormArguments arguments(bool with_residual, bool with_bias, bool centred) {
    NormArguments given;
    given.input = input.data();
    if (with_residual) given.residual = residual.data();
    if (with_bias) given.bias = bias.data();
    given.weight = weight.data();
    if (centred) given.shift = shift.data();
    given.epsilon = 1e-5F;
    given.output = output.data();
    given.rows = rows;
    given.width = width;
    return given;
  }

  std::size_t rows;
  std::size_t width;
  Floats input, residual, bias, weight, shift, output;
};

// The formulas, in double.
std::vector<double> twin(const NormArguments& given, std::size_t row) {
  std::vector<double> x(given.width);
  double sum = 0;
  for (std::size_t i = 0; i < given.width; ++i) {
    x[i] = given.input[row * given.width + i];
    if (given.residual != nullptr) x[i] += given.residual[row * given.width + i];
    if (given.bias != nullptr) x[i] += given.bias[i];
    sum += x[i];
  }
  const double count = static_cast<double>(given.width);
  const double mean = given.shift != nullptr ? sum / count : 0;
  double squares = 0;
  for (const double value : x) squares += (value - mean) * (value - mean);
  const double root = std::sqrt(squares / count + static_cast<double>(given.epsilon));
  for (std::size_t i = 0; i < given.width; ++i) {
    x[i] = (x[i] - mean) / root * static_cast<double>(given.weight[i]) +
           (given.shift != nullptr ? static_cast<double>(given.shift[i]) : 0.0);
  }
  return x;
}

TEST(Norm, IsTheFormulaOnEveryInstructionSet) {
  for (const NormRow norm_row : usable_norm_rows()) {
    for (const std::size_t width : {1U, 3U, 4U, 5U, 15U, 16U, 17U, 31U, 33U, 128U, 384U, 1023U}) {
      Rows rows(3, width);
      for (const auto& [with_residual, with_bias, centred] :
           {std::tuple(false, false, false), std::tuple(true, false, true),
            std::tuple(true, true, true), std::tuple(false, true, false)}) {
        const NormArguments given = rows.arguments(with_residual, with_bias, centred);
        for (std::size_t row = 0; row < 3; ++row) {
          norm_row(given, row);
          const auto wanted = twin(given, row);
          for (std::size_t i = 0; i < width; ++i) {
            ASSERT_NEAR(static_cast<double>(rows.output[row * width + i]), wanted[i],
                        2e-6 * (1 + std::abs(wanted[i])))
                << width << ", " << row << ", " << i;
          }
        }
      }
    }
  }
}

// The variance of large numbers that differ little.
TEST(Norm, LosesNoDigitsToALargeMean) {
  Rows rows(2, 384, 1000.0F);
  const NormArguments given = rows.arguments(false, false, true);
  for (const NormRow norm_row : usable_norm_rows()) {
    norm_row(given, 1);
    const auto wanted = twin(given, 1);
    for (std::size_t i = 0; i < 384; ++i) {
      ASSERT_NEAR(static_cast<double>(rows.output[384 + i]), wanted[i], 1e-3);
    }
  }
}

// At a row less, as many and a row more than jobs hold.
TEST(Norm, GivesARowTheSameInAnyCompany) {
  const std::size_t width = 1024;
  for (const std::size_t row_count : {1U, 15U, 16U, 17U, 32U, 33U, 100U}) {
    Rows rows(row_count, width);
    const NormArguments given = rows.arguments(true, true, true);
    norm(given, on_threads);
    const Floats together = rows.output;
    for (std::size_t row = 0; row < row_count; ++row) {
      NormArguments alone = given;
      alone.input += row * width;
      alone.residual += row * width;
      Floats output(width);
      alone.output = output.data();
      alone.rows = 1;
      norm(alone, on_threads);
      ASSERT_TRUE(std::equal(output.begin(), output.end(), &together[row * width])) << row;
    }
  }
}

TEST(Norm, KeepsWhatIsWrongInItsRow) {
  Rows rows(3, 40);
  rows.input[40 + 7] = std::numeric_limits<float>::quiet_NaN();
  norm(rows.arguments(true, true, true), on_threads);
  for (std::size_t i = 0; i < rows.output.size(); ++i) {
    EXPECT_EQ(std::isfinite(rows.output[i]), i / 40 != 1) << i;
  }
}

TEST(Norm, DoesNothingForNoRows) {
  Rows rows(0, 8);
  norm(rows.arguments(true, true, true), on_threads);
}

}  // namespace
}  // namespace textvec::kernels
