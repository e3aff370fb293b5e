// The Dense module: the formula, and files that do not fit.
#include "vectors/dense.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec::vectors {
namespace {

model::DenseSpec spec(const std::filesystem::path& folder, model::DenseActivation activation) {
  model::DenseSpec spec;
  spec.folder = folder;
  spec.in_features = 2;
  spec.out_features = 3;
  spec.activation = activation;
  return spec;
}

const testing::TinyTensors kTensors{{"linear.weight", {{3, 2}, {1, 2, 3, 4, 5, 6}}},
                                    {"linear.bias", {{3}, {0.5F, -1.0F, 0.0F}}}};

TEST(Dense, AppliesWeightBiasAndActivation) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "model.safetensors", testing::to_safetensors(kTensors));
  const auto plain = Dense::load(spec(folder.path(), model::DenseActivation::Identity));
  ASSERT_TRUE(plain) << plain.error().message;
  const std::array<float, 2> x{0.1F, -0.2F};
  const auto out = plain->apply(x);
  ASSERT_EQ(out.size(), 3U);
  EXPECT_NEAR(out[0], 0.2, 1e-6);   // 0.1 - 0.4 + 0.5
  EXPECT_NEAR(out[1], -1.5, 1e-6);  // 0.3 - 0.8 - 1
  EXPECT_NEAR(out[2], -0.7, 1e-6);  // 0.5 - 1.2
  const auto curved = Dense::load(spec(folder.path(), model::DenseActivation::Tanh));
  ASSERT_TRUE(curved);
  EXPECT_NEAR(curved->apply(x)[1], std::tanh(-1.5), 1e-6);
}

TEST(Dense, NamesATensorOfAnotherShape) {
  const testing::TemporaryFolder folder;
  auto tensors = kTensors;
  tensors.at("linear.weight").shape = {2, 3};
  testing::write_file(folder / "model.safetensors", testing::to_safetensors(tensors));
  const auto dense = Dense::load(spec(folder.path(), model::DenseActivation::Tanh));
  ASSERT_FALSE(dense);
  EXPECT_EQ(dense.error().code, ErrorCode::BadModel);
  EXPECT_NE(dense.error().message.find("linear.weight"), std::string::npos);
}

TEST(Dense, AMissingFileIsNamed) {
  const testing::TemporaryFolder folder;
  const auto dense = Dense::load(spec(folder.path(), model::DenseActivation::Tanh));
  ASSERT_FALSE(dense);
  EXPECT_EQ(dense.error().code, ErrorCode::NotFound);
}

}  // namespace
}  // namespace textvec::vectors
