#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/tiles.h"
#include "support/floats.h"

namespace textvec::kernels {
namespace {

using testing::bf16;
using testing::Floats;
using testing::on_threads;
using testing::random_floats;

void in_turn(std::size_t count, const std::function<void(std::size_t)>& function) {
  for (std::size_t i = 0; i < count; ++i) function(i);
}

// The weights behind a byte that puts them out of every alignment.
std::vector<std::byte> pack(const PackedShape& shape, const Floats& weights) {
  std::vector<std::byte> packed(1 + shape.bytes());
  const std::size_t panel = PackedShape::kPanelColumns * shape.in_features;
  for (std::size_t i = 0; i < shape.panels(); ++i) {
    const auto rest = std::span<const float>(weights).subspan(i * panel);
    pack_panel(shape, rest.first(std::min(panel, rest.size())),
               std::span(packed).subspan(1 + i * shape.panel_bytes(), shape.panel_bytes()));
  }
  return packed;
}

struct Case {
  PackedShape shape{};
  Rounding rounding = Rounding::Fine;
  const Tiles* tiles = nullptr;
  std::size_t threads = 1;
};

Floats run(const Case& given, const Floats& weights, const Floats& input,
           const Parallel& parallel = in_turn) {
  const auto packed = pack(given.shape, weights);
  LinearArguments arguments;
  arguments.type = given.shape.type;
  arguments.in_features = given.shape.in_features;
  arguments.input = input.data();
  arguments.rows = input.size() / given.shape.in_features;
  arguments.rounding = given.rounding;
  arguments.threads = given.threads;
  arguments.tiles = given.tiles;
  Floats output(arguments.rows * given.shape.out_features, -1.0F);
  const LinearOutput outputs[] = {{packed.data() + 1, given.shape.out_features, output.data()}};
  arguments.outputs = outputs;
  // Exactly as large as asked for, so that the address sanitizer sees a byte too many.
  const std::size_t bytes = linear_scratch_bytes(arguments);
  auto* scratch = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64)));
  linear(arguments, {scratch, bytes}, parallel);
  ::operator delete(scratch, std::align_val_t(64));
  return output;
}

struct Sum {
  double value = 0;
  double magnitude = 0;  // of all that was added
};

Sum exact(const PackedShape& shape, const float* weights, const float* input) {
  Sum sum;
  for (std::size_t k = 0; k < shape.in_features; ++k) {
    const float weight = shape.type == WeightType::BF16 ? bf16(weights[k]) : weights[k];
    const double product = static_cast<double>(weight) * static_cast<double>(input[k]);
    sum.value += product;
    sum.magnitude += std::abs(product);
  }
  return sum;
}

float largest_magnitude(const float* values, std::size_t count) {
  float largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  return largest;
}

// What Int8 means, in whole numbers: each side rounded by its own scale.
double int8_twin(const PackedShape& shape, const float* weights, const float* input,
                 double levels) {
  const float weight_scale = largest_magnitude(weights, shape.in_features) / 127.0F;
  const float largest = largest_magnitude(input, shape.in_features);
  if (weight_scale == 0 || largest == 0) return 0;
  const float factor = static_cast<float>(levels) / largest;
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < shape.in_features; ++k) {
    sum += static_cast<std::int64_t>(std::nearbyint(weights[k] / weight_scale)) *
           static_cast<std::int64_t>(std::nearbyint(input[k] * factor));
  }
  EXPECT_LT(std::abs(sum), std::int64_t{1} << 31);
  return static_cast<double>(sum) * static_cast<double>(weight_scale) *
         (static_cast<double>(largest) / levels);
}

double fine_levels(const PackedShape& shape) {
  const std::size_t filled = (shape.in_features + 3) / 4 * 4;
  return static_cast<double>(std::min<std::size_t>(32767, 2147483647U / (127U * filled)));
}

constexpr std::size_t kInFeatures[] = {1, 2, 3, 4, 5, 64, 383, 384, 385, 770};
constexpr std::size_t kOutFeatures[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33};
constexpr std::size_t kRows[] = {1, 2, 5, 6, 7, 12, 13, 47, 48, 49, 50};

class EveryTiles : public ::testing::TestWithParam<const Tiles*> {
 protected:
  template <typename Check>
  void for_shapes(WeightType type, const Check& check) {
    for (const std::size_t in_features : kInFeatures) {
      const Floats weights = random_floats(33 * in_features, 1, 0.05F);
      const Floats input = random_floats(50 * in_features, 2);
      for (const std::size_t out_features : kOutFeatures) {
        for (const std::size_t rows : kRows) {
          // All shapes with few rows, and all rows with one shape.
          if (rows > 7 && out_features != 17) continue;
          const PackedShape shape{type, in_features, out_features};
          SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(in_features) + " x " +
                       std::to_string(out_features));
          check(shape,
                Floats(weights.begin(),
                       weights.begin() + static_cast<std::ptrdiff_t>(out_features * in_features)),
                Floats(input.begin(),
                       input.begin() + static_cast<std::ptrdiff_t>(rows * in_features)));
          if (HasFailure()) return;
        }
      }
    }
  }

  void expect_floats(WeightType type) {
    for_shapes(type, [&](const PackedShape& shape, const Floats& weights, const Floats& input) {
      const Floats output = run({shape, Rounding::Fine, GetParam()}, weights, input);
      for (std::size_t i = 0; i < output.size(); ++i) {
        const std::size_t row = i / shape.out_features;
        const std::size_t column = i % shape.out_features;
        const Sum wanted =
            exact(shape, &weights[column * shape.in_features], &input[row * shape.in_features]);
        ASSERT_NEAR(static_cast<double>(output[i]), wanted.value, 5e-7 * wanted.magnitude)
            << row << ", " << column;
      }
    });
  }

  void expect_ints(Rounding rounding) {
    for_shapes(WeightType::Int8, [&](const PackedShape& shape, const Floats& weights,
                                     const Floats& input) {
      const double levels = rounding == Rounding::Coarse ? 127 : fine_levels(shape);
      const Floats output = run({shape, rounding, GetParam()}, weights, input);
      for (std::size_t i = 0; i < output.size(); ++i) {
        const std::size_t row = i / shape.out_features;
        const std::size_t column = i % shape.out_features;
        const double wanted = int8_twin(shape, &weights[column * shape.in_features],
                                        &input[row * shape.in_features], levels);
        ASSERT_NEAR(static_cast<double>(output[i]), wanted, std::abs(wanted) * 3e-7 + 1e-12)
            << row << ", " << column;
      }
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Linear, EveryTiles, ::testing::ValuesIn(usable_tiles()),
                         [](const auto& tiles) {
                           std::string name(tiles.param->name);
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

TEST_P(EveryTiles, MultiplyFloats) { expect_floats(WeightType::F32); }
TEST_P(EveryTiles, MultiplyHalves) { expect_floats(WeightType::BF16); }
TEST_P(EveryTiles, MultiplyFineInts) { expect_ints(Rounding::Fine); }
TEST_P(EveryTiles, MultiplyCoarseInts) { expect_ints(Rounding::Coarse); }

TEST_P(EveryTiles, GiveARowTheSameInAnyCompany) {
  for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
    const PackedShape shape{type, 515, 33};
    const Floats weights = random_floats(33 * 515, 1, 0.05F);
    const Floats input = random_floats(50 * 515, 2);
    const Floats together = run({shape, Rounding::Fine, GetParam()}, weights, input);
    const Floats on_many = run({shape, Rounding::Fine, GetParam(), 3}, weights, input, on_threads);
    EXPECT_EQ(together, on_many) << to_string(type);
    for (std::size_t row = 0; row < 50; ++row) {
      const Floats alone(input.begin() + static_cast<std::ptrdiff_t>(row * 515),
                         input.begin() + static_cast<std::ptrdiff_t>((row + 1) * 515));
      const Floats wanted(together.begin() + static_cast<std::ptrdiff_t>(row * 33),
                          together.begin() + static_cast<std::ptrdiff_t>((row + 1) * 33));
      ASSERT_EQ(run({shape, Rounding::Fine, GetParam()}, weights, alone), wanted)
          << to_string(type) << ", row " << row;
    }
  }
}

// As many as an int32 has room for, of the largest: one more level would overflow it.
TEST_P(EveryTiles, SumTheLargestWithoutOverflow) {
  for (const std::size_t in_features : {516U, 3072U, 12288U, 40000U}) {
    const PackedShape shape{WeightType::Int8, in_features, 17};
    const Floats weights(17 * in_features, 0.5F);
    const Floats output =
        run({shape, Rounding::Fine, GetParam()}, weights, Floats(2 * in_features, -3.0F));
    for (const float value : output) {
      ASSERT_NEAR(value, -1.5 * static_cast<double>(in_features),
                  1e-6 * static_cast<double>(in_features));
    }
  }
}

TEST_P(EveryTiles, KeepWhatIsWrongInItsRow) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
      const PackedShape shape{type, 64, 17};
      const Floats weights = random_floats(17 * 64, 1);
      Floats input = random_floats(3 * 64, 2);
      const Floats good = run({shape, Rounding::Fine, GetParam()}, weights, input);
      input[64 + 5] = wrong;
      const Floats output = run({shape, Rounding::Fine, GetParam()}, weights, input);
      for (std::size_t i = 0; i < output.size(); ++i) {
        if (i / 17 == 1) {
          EXPECT_FALSE(std::isfinite(output[i])) << to_string(type) << " " << wrong;
        } else {
          EXPECT_EQ(output[i], good[i]) << to_string(type) << " " << wrong;
        }
      }
    }
  }
}

TEST_P(EveryTiles, KeepAWrongWeightInItsColumn) {
  for (const float wrong :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
      const PackedShape shape{type, 64, 17};
      const Floats input = random_floats(3 * 64, 2);
      Floats weights = random_floats(17 * 64, 1);
      const Floats good = run({shape, Rounding::Fine, GetParam()}, weights, input);
      weights[3 * 64 + 5] = wrong;
      const Floats output = run({shape, Rounding::Fine, GetParam()}, weights, input);
      for (std::size_t i = 0; i < output.size(); ++i) {
        if (i % 17 == 3) {
          EXPECT_FALSE(std::isfinite(output[i])) << to_string(type) << " " << wrong;
        } else {
          EXPECT_EQ(output[i], good[i]) << to_string(type) << " " << wrong;
        }
      }
    }
  }
}

TEST_P(EveryTiles, RoundNothingThatIsNothing) {
  const PackedShape shape{WeightType::Int8, 8, 2};
  const Floats weights{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  // Rows of zeros, of the smallest numbers there are, and of the largest.
  Floats input(8, 0.0F);
  input.resize(16, std::numeric_limits<float>::denorm_min());
  input.resize(24, 1e38F);
  const Floats output = run({shape, Rounding::Fine, GetParam()}, weights, input);
  EXPECT_EQ(output[0], 0);
  EXPECT_EQ(output[1], 0);
  EXPECT_NEAR(output[2], 0, 1e-29);
  EXPECT_EQ(output[3], 0);
  EXPECT_TRUE(std::isinf(output[4]));
  EXPECT_FALSE(std::isfinite(output[5]) && output[5] != 0);
}

TEST(Linear, GivesTheSameIntsOnEveryInstructionSet) {
  const PackedShape shape{WeightType::Int8, 384, 48};
  const Floats weights = random_floats(48 * 384, 1, 0.05F);
  const Floats input = random_floats(13 * 384, 2);
  for (const auto rounding : {Rounding::Fine, Rounding::Coarse}) {
    const Floats best = run({shape, rounding}, weights, input);
    for (const Tiles* tiles : usable_tiles()) {
      const Floats output = run({shape, rounding, tiles}, weights, input);
      for (std::size_t i = 0; i < output.size(); ++i) {
        ASSERT_FLOAT_EQ(output[i], best[i]) << tiles->name << " " << i;
      }
    }
  }
}

// At every number of panels around those of a job, some of them not full.
TEST_P(EveryTiles, MultiplyForSeveralOutputsAsForEachAlone) {
  for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
    for (const std::size_t rows : {1U, 12U, 30U}) {
      const Floats input = random_floats(rows * 400, 2);
      const std::size_t out_features[] = {17, 1, 64, 15, 32};
      std::vector<std::vector<std::byte>> packed;
      std::vector<Floats> wanted;
      std::vector<Floats> found;
      std::vector<LinearOutput> outputs;
      for (const std::size_t count : out_features) {
        const PackedShape shape{type, 400, count};
        const Floats weights = random_floats(count * 400, static_cast<unsigned>(count), 0.05F);
        wanted.push_back(run({shape, Rounding::Coarse, GetParam()}, weights, input));
        packed.push_back(pack(shape, weights));
        found.emplace_back(rows * count, -1.0F);
      }
      for (std::size_t i = 0; i < std::size(out_features); ++i) {
        outputs.push_back({packed[i].data() + 1, out_features[i], found[i].data()});
      }
      LinearArguments arguments;
      arguments.type = type;
      arguments.in_features = 400;
      arguments.input = input.data();
      arguments.rows = rows;
      arguments.outputs = outputs;
      arguments.rounding = Rounding::Coarse;
      arguments.threads = 3;
      arguments.tiles = GetParam();
      const std::size_t bytes = linear_scratch_bytes(arguments);
      auto* scratch = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64)));
      linear(arguments, {scratch, bytes}, on_threads);
      ::operator delete(scratch, std::align_val_t(64));
      EXPECT_EQ(found, wanted) << to_string(type) << ", " << rows;
    }
  }
}

TEST(Linear, DoesNothingForNoRows) {
  const PackedShape shape{WeightType::F32, 4, 4};
  EXPECT_TRUE(run({shape}, Floats(16, 1.0F), {}).empty());
}

TEST(Packed, IsAsLargeAsItsTypeSays) {
  EXPECT_EQ((PackedShape{WeightType::F32, 100, 16}).bytes(), 100U * 16 * 4);
  EXPECT_EQ((PackedShape{WeightType::F32, 100, 17}).bytes(), 2U * 100 * 16 * 4);
  EXPECT_EQ((PackedShape{WeightType::BF16, 101, 16}).bytes(), 102U * 16 * 2);
  EXPECT_EQ((PackedShape{WeightType::Int8, 100, 16}).bytes(), 100U * 16 + 128);
  EXPECT_EQ((PackedShape{WeightType::Int8, 101, 16}).bytes(), 104U * 16 + 128);
}

TEST(Packed, RoundsToBfloat16ToTheNearestAndTiesToEven) {
  const PackedShape shape{WeightType::BF16, 1, 4};
  const float tie_down = std::bit_cast<float>(0x3F808000U);
  const float tie_up = std::bit_cast<float>(0x3F818000U);
  const float above = std::bit_cast<float>(0x3F808001U);
  const Floats output = run({shape}, {tie_down, tie_up, above, 1.5F}, {1.0F});
  EXPECT_EQ(std::bit_cast<std::uint32_t>(output[0]), 0x3F800000U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(output[1]), 0x3F820000U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(output[2]), 0x3F810000U);
  EXPECT_EQ(output[3], 1.5F);
}

TEST(WeightType, HasNames) {
  for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
    EXPECT_EQ(weight_type(to_string(type)), type);
  }
  EXPECT_EQ(weight_type("int4"), std::nullopt);
}

}  // namespace
}  // namespace textvec::kernels
