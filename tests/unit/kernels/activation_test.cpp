#include "kernels/activation.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "support/floats.h"

namespace textvec::kernels {
namespace {

using testing::Floats;
using testing::on_threads;
using testing::random_floats;

constexpr Activation kFunctions[] = {Activation::Gelu, Activation::TanhGelu, Activation::Silu,
                                     Activation::Relu};

// The formulas, in double.
double twin(Activation function, double x) {
  switch (function) {
    case Activation::Gelu:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case Activation::TanhGelu: {
      const double root = std::sqrt(2 / std::numbers::pi);
      return x / 2 * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
    }
    case Activation::Silu:
      return x / (1 + std::exp(-x));
    case Activation::Relu:
      return x < 0 ? 0 : x;
  }
  return 0;
}

double allowed(double wanted) { return 2e-7 + 2e-7 * std::abs(wanted); }

bool is_near(double value, double wanted, double difference_max) {
  if (std::isnan(wanted)) return std::isnan(value);
  return std::isinf(wanted) ? value == wanted : std::abs(value - wanted) <= difference_max;
}

// Every 16411th of all floats, numbers and others, and a close look at where the curve is.
Floats everywhere() {
  Floats values{0.0F, -0.0F};
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 16411) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (int i = -(1 << 20); i <= 1 << 20; i += 5) {
    values.push_back(static_cast<float>(i) / (1 << 16));  // -16 to 16
  }
  using Limits = std::numeric_limits<float>;
  for (const float value : {Limits::infinity(), Limits::quiet_NaN(), Limits::max(), Limits::min(),
                            Limits::denorm_min()}) {
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

struct Rows {
  Rows(std::size_t row_count, std::size_t row_width)
      : rows(row_count),
        width(row_width),
        input(random_floats(rows * width, 1, 2)),
        bias(random_floats(width, 2, 2)),
        factor(random_floats(rows * width, 3, 2)),
        output(rows * width, -77.0F) {}

  ActivationArguments arguments(Activation function, bool with_bias, bool with_factor) {
    ActivationArguments given;
    given.function = function;
    given.input = input.data();
    if (with_bias) given.bias = bias.data();
    if (with_factor) given.factor = factor.data();
    given.output = output.data();
    given.rows = rows;
    given.width = width;
    return given;
  }

  std::size_t rows;
  std::size_t width;
  Floats input, bias, factor, output;
};

TEST(Activation, IsTheFormulaForEveryNumber) {
  const Floats input = everywhere();
  Floats output(input.size());
  for (const Activation function : kFunctions) {
    std::vector<double> wanted(input.size());
    for (std::size_t i = 0; i < input.size(); ++i) {
      wanted[i] = twin(function, static_cast<double>(input[i]));
    }
    for (const ActivationRow activation_row : usable_activation_rows()) {
      ActivationArguments given;
      given.function = function;
      given.input = input.data();
      given.output = output.data();
      given.rows = 1;
      given.width = input.size();
      activation_row(given, 0);
      for (std::size_t i = 0; i < input.size(); ++i) {
        const auto value = static_cast<double>(output[i]);
        ASSERT_TRUE(is_near(value, wanted[i], allowed(wanted[i])))
            << to_string(function) << " of " << input[i] << " is " << value << ", not "
            << wanted[i];
      }
    }
  }
}

// What is left behind whole vectors, and nothing of the rows before and behind.
TEST(Activation, TakesBiasAndFactorAtEveryWidth) {
  for (const ActivationRow activation_row : usable_activation_rows()) {
    for (const std::size_t width : {1U, 3U, 4U, 5U, 7U, 8U, 9U, 15U, 16U, 17U, 31U, 33U, 1023U}) {
      for (const Activation function : kFunctions) {
        for (const auto& [with_bias, with_factor] :
             {std::pair(false, false), std::pair(true, false), std::pair(false, true),
              std::pair(true, true)}) {
          Rows rows(3, width);
          const auto given = rows.arguments(function, with_bias, with_factor);
          activation_row(given, 1);
          for (std::size_t i = 0; i < 3 * width; ++i) {
            const auto value = static_cast<double>(rows.output[i]);
            if (i / width != 1) {
              ASSERT_EQ(value, -77.0) << width << ", " << i;
              continue;
            }
            const float x = rows.input[i] + (with_bias ? rows.bias[i % width] : 0);
            const double factor = with_factor ? static_cast<double>(rows.factor[i]) : 1.0;
            const double plain = twin(function, static_cast<double>(x));
            // The product is rounded once more.
            ASSERT_NEAR(value, plain * factor,
                        (allowed(plain) + 6e-8 * std::abs(plain)) * std::abs(factor))
                << to_string(function) << ", " << width << ", " << i;
          }
        }
      }
    }
  }
}

// At a row less, as many and a row more than jobs hold; alone in place.
TEST(Activation, GivesARowTheSameInAnyCompany) {
  for (const std::size_t width : {1023U, 1024U}) {
    for (const std::size_t row_count : {1U, 15U, 16U, 17U, 32U, 33U, 100U}) {
      for (const Activation function : kFunctions) {
        Rows rows(row_count, width);
        const auto given = rows.arguments(function, true, true);
        activation(given, on_threads);
        for (std::size_t row = 0; row < row_count; ++row) {
          ActivationArguments alone = given;
          float* const own_input = &rows.input[row * width];
          alone.input = own_input;
          alone.factor += row * width;
          alone.output = own_input;
          alone.rows = 1;
          activation(alone, on_threads);
          ASSERT_TRUE(std::equal(own_input, own_input + width, &rows.output[row * width]))
              << to_string(function) << ", " << row << " of " << row_count;
        }
      }
    }
  }
}

TEST(Activation, MayOverwriteTheFactor) {
  Rows rows(40, 1000);
  auto given = rows.arguments(Activation::Silu, false, true);
  activation(given, on_threads);
  given.output = rows.factor.data();
  activation(given, on_threads);
  EXPECT_EQ(rows.factor, rows.output);
}

TEST(Activation, DoesNothingForNoRows) {
  Rows rows(0, 8);
  activation(rows.arguments(Activation::Gelu, true, true), on_threads);
}

TEST(Activation, KnowsItsFunctionsByName) {
  for (const Activation function : kFunctions) {
    EXPECT_EQ(activation_function(to_string(function)), function);
  }
  for (const char* name : {"", "Gelu", "gelu ", "gelu_new", "swish"}) {
    EXPECT_EQ(activation_function(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace textvec::kernels
