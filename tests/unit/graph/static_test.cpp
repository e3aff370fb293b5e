// Static graphs as files: only operators that CoreML takes, the same weights for every bucket, and
// 16-bit floats that are rounded as the standard says.
#include "graph/static.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "graph/static_model.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"
#include "support/tiny_qwen3.h"

namespace textvec::graph {
namespace {

namespace fs = std::filesystem;

using testing::read_file;
using testing::TemporaryFolder;
using testing::TinyModel;
using testing::TinyQwen3;

template <class Tiny>
Result<std::vector<OnnxModel>> compile_into(const Tiny& tiny, const TemporaryFolder& folder,
                                            Precision precision,
                                            const std::vector<Bucket>& buckets) {
  tiny.write(folder / "model");
  const auto spec = model::read_spec(folder / "model");
  if (!spec) return spec.error();
  const auto weights = model::Weights::open(folder / "model");
  if (!weights) return weights.error();
  return compile_static_to(*spec, *weights, precision, buckets, folder / "out");
}

onnx::ModelProto parse(const fs::path& file) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(read_file(file)));
  return model;
}

// Those of ONNX Runtime's coreml_supported_mlprogram_ops.md that we use.
const std::set<std::string> kTaken{"Add",      "Cast",     "Concat", "Div",        "Gelu",
                                   "Identity", "MatMul",   "Mul",    "ReduceMean", "Relu",
                                   "Reshape",  "Sigmoid",  "Slice",  "Softmax",    "Sqrt",
                                   "Sub",      "Transpose"};

void expect_plain(const onnx::ModelProto& model) {
  std::set<std::string> inputs;
  for (const auto& input : model.graph().input()) {
    inputs.insert(input.name());
    for (const auto& size : input.type().tensor_type().shape().dim())
      EXPECT_GT(size.dim_value(), 0);
  }
  for (const auto& node : model.graph().node()) {
    EXPECT_TRUE(node.domain().empty()) << node.op_type();
    EXPECT_TRUE(kTaken.contains(node.op_type())) << node.op_type();
    if (node.op_type() == "Cast") {
      EXPECT_FALSE(inputs.contains(node.input(0))) << "CoreML refuses a Cast of an input";
    }
  }
}

template <class Tiny>
void expect_good_graphs(const Tiny& tiny, Precision precision) {
  const TemporaryFolder folder;
  const auto models = compile_into(tiny, folder, precision, {{1, 8}, {3, 16}});
  ASSERT_TRUE(models) << models.error().message;
  ASSERT_EQ(models->size(), 2U);
  EXPECT_EQ((*models)[0].file, folder / "out/model_1x8.onnx");
  const auto first = parse((*models)[0].file);
  const auto second = parse((*models)[1].file);
  expect_plain(first);
  expect_plain(second);
  // Where each weight lies in the one file of data.
  const auto places = [](const onnx::ModelProto& model) {
    std::map<std::string, std::string> all;
    for (const auto& tensor : model.graph().initializer()) {
      if (tensor.external_data_size() > 0) {
        all[tensor.name()] =
            tensor.external_data(1).value() + "+" + tensor.external_data(2).value();
      }
    }
    return all;
  };
  EXPECT_GT(places(first).size(), 20U);
  EXPECT_EQ(places(first), places(second));
}

TEST(StaticGraph, HoldsOnlyWhatCoreMlTakes) {
  for (const Precision precision : {Precision::F32, Precision::F16}) {
    expect_good_graphs(TinyQwen3(), precision);
    for (const char* activation : {"gelu", "relu", "gelu_new"}) {
      testing::TinyShape shape;
      shape.activation = activation;
      expect_good_graphs(TinyModel(shape), precision);
    }
  }
}

TEST(StaticGraph, AWeightThatSixteenBitsCannotHoldIsNamed) {
  TinyQwen3 tiny;
  auto& values = tiny.tensors().at("layers.0.mlp.up_proj.weight").values;
  for (const float value : {65519.0F, -65519.0F}) {  // rounds down to the largest
    values[3] = value;
    EXPECT_TRUE(compile_into(tiny, TemporaryFolder(), Precision::F16, {{1, 8}}));
  }
  for (const float value : {65520.0F, -1e9F, std::numeric_limits<float>::quiet_NaN()}) {
    const TemporaryFolder folder;
    values[3] = value;
    const auto models = compile_into(tiny, folder, Precision::F16, {{1, 8}});
    ASSERT_FALSE(models);
    EXPECT_EQ(models.error().code, ErrorCode::BadModel);
    EXPECT_NE(models.error().message.find("layers.0.mlp.up_proj.weight"), std::string::npos);
    EXPECT_NE(models.error().message.find("65,504"), std::string::npos);
    EXPECT_TRUE(fs::is_empty(folder / "out"));
  }
}

TEST(StaticGraph, OtherPrecisionsAndFamiliesAreRefused) {
  const auto models = compile_into(TinyQwen3(), TemporaryFolder(), Precision::Int8, {{1, 8}});
  ASSERT_FALSE(models);
  EXPECT_EQ(models.error().code, ErrorCode::Unsupported);
}

TEST(StaticGraph, AMissingTableIsNamed) {
  TinyModel tiny;
  tiny.tensors().erase("embeddings.position_embeddings.weight");
  const auto models = compile_into(tiny, TemporaryFolder(), Precision::F32, {{1, 8}});
  ASSERT_FALSE(models);
  EXPECT_NE(models.error().message.find("embeddings.position_embeddings.weight"),
            std::string::npos);
}

// IEEE 754 binary16, digit by digit.
float widen(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>((half & 0x8000) != 0 ? -magnitude : magnitude);
}

std::vector<std::uint16_t> written_as_half(const std::vector<float>& values) {
  OnnxFile file("halves");
  file.weight(
      "values", {values.size()},
      [&](std::size_t begin, std::span<float> out) {
        std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
      },
      TensorType::Half);
  const auto model = file.build_in_memory({});
  EXPECT_TRUE(model);
  std::vector<std::uint16_t> halves(values.size());
  std::memcpy(halves.data(), model->data.data(), halves.size() * sizeof(std::uint16_t));
  return halves;
}

TEST(OnnxFileHalves, EveryHalfIsKeptAndWhatIsBetweenGoesToTheNearestOrTheEvenOne) {
  std::vector<float> values;
  std::vector<std::uint16_t> expected;
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = widen(half);
    const float high = widen(static_cast<std::uint16_t>(half + 1));
    const float middle = (low + high) / 2;  // exact
    const auto even = static_cast<std::uint16_t>(half + (half & 1U));
    values.insert(values.end(), {low, std::nextafter(middle, low), middle,
                                 std::nextafter(middle, high), -middle});
    const auto above = static_cast<std::uint16_t>(half + 1);
    expected.insert(expected.end(),
                    {half, half, even, above, static_cast<std::uint16_t>(even | 0x8000)});
  }
  const auto halves = written_as_half(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(halves[i], expected[i]) << values[i];
  }
}

}  // namespace
}  // namespace textvec::graph
