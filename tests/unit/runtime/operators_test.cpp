// The operator textvec.Linear as ONNX Runtime calls it, in graphs that are right and in graphs that
// somebody else made wrong.
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "graph/onnx_file.h"
#include "kernels/linear.h"
#include "runtime/session.h"

namespace textvec::runtime {
namespace {

struct Layer {
  std::string weight_type = "f32";
  std::int64_t in_features = 1;
  std::int64_t out_features = 17;
  std::size_t bytes = 2 * 16 * 4;
};

constexpr std::int64_t kFloat = 1;  // onnx.proto, TensorProto.DataType

// Every id times 1, 2, ... 17.
Result<std::unique_ptr<Session>> open(const Layer& layer) {
  graph::OnnxFile file("linear");
  file.input_int64("input_ids", {"batch", "length"});
  const auto node = [&](std::string_view operation, std::vector<std::string> inputs,
                        const std::string& output, std::string_view domain,
                        std::vector<graph::Attribute> attributes) {
    file.node(operation, inputs, std::array{output}, domain, attributes);
  };
  file.constant("last axis", std::array<std::int64_t, 1>{-1}, {1});
  node("Cast", {"input_ids"}, "values", {}, {{"to", kFloat}});
  node("Unsqueeze", {"values", "last axis"}, "rows", {}, {});
  file.encoded_weight(
      "weights", layer.bytes, 17, 17,
      [](std::size_t, std::span<float> out) { std::iota(out.begin(), out.end(), 1.0F); },
      [&](std::span<const float> values, std::vector<std::byte>& out) {
        const kernels::PackedShape shape{kernels::WeightType::F32, 1, 17};
        out.assign(shape.bytes(), std::byte{0});
        kernels::pack_panel(shape, values.first(16), std::span(out).first(64));
        kernels::pack_panel(shape, values.subspan(16), std::span(out).subspan(64));
        out.resize(layer.bytes);
      });
  node("Linear", {"rows", "weights"}, "last_hidden_state", graph::kTextvec,
       {{"weight_type", layer.weight_type},
        {"in_features", layer.in_features},
        {"out_features", std::vector{layer.out_features}}});
  file.output_float("last_hidden_state", {"batch", "length", std::int64_t{17}});
  auto model = file.build_in_memory({});
  if (!model) return model.error();
  return open_session(std::move(*model), {});
}

batch::Batch some_batch() {
  static const batch::Text first{{3, 4}, {}, 0};
  static const batch::Text second{{5}, {}, 1};
  const std::array<const batch::Text*, 2> texts{&first, &second};
  return batch::make_batch(texts, 0);
}

TEST(LinearOperator, MultipliesWhatTheGraphGives) {
  const auto session = open({});
  ASSERT_TRUE(session) << session.error().message;
  const auto states = (*session)->run(some_batch(), {});
  ASSERT_TRUE(states) << states.error().message;
  ASSERT_EQ(states->width, 17U);
  for (std::size_t i = 0; i < 17; ++i) {
    const auto factor = static_cast<float>(i + 1);
    EXPECT_EQ(states->row(0)[i], 3 * factor);
    EXPECT_EQ(states->row(0)[17 + i], 4 * factor);
    EXPECT_EQ(states->row(1)[i], 5 * factor);
  }
}

TEST(LinearOperator, RefusesWhatItDoesNotKnow) {
  const std::pair<Layer, const char*> wrong[] = {
      {{"int4", 1, 17, 128}, "f32, bf16 and int8"},
      {{"f32", 0, 17, 128}, "a layer of 0 features; it takes 1 to 16777216"},
      {{"f32", 1, -1, 128}, "a layer of -1 features"},
      {{"f32", (std::int64_t{1} << 24) + 1, 17, 128}, "a layer of 16777217 features"},
  };
  for (const auto& [layer, message] : wrong) {
    const auto session = open(layer);
    ASSERT_FALSE(session);
    EXPECT_NE(session.error().message.find(message), std::string::npos) << session.error().message;
  }
}

TEST(LinearOperator, ReadsNothingBehindTheWeights) {
  const std::pair<Layer, const char*> wrong[] = {
      {{"f32", 1, 17, 127}, "the weights have 127 bytes; they should have 128"},
      {{"f32", 1, 17, 129}, "the weights have 129 bytes; they should have 128"},
      {{"int8", 1, 17, 128}, "the weights have 128 bytes"},
      {{"f32", 2, 17, 256}, "the input has 1 features; the weights take 2"},
      {{"f32", std::int64_t{1} << 24, std::int64_t{1} << 24, 128}, "the input has 1 features"},
      {{"f32", 1, std::int64_t{1} << 24, 128}, "the weights have 128 bytes"},
  };
  for (const auto& [layer, message] : wrong) {
    const auto session = open(layer);
    if (!session) {
      // ONNX Runtime's own look at the shapes came first.
      EXPECT_EQ(session.error().code, ErrorCode::BadModel);
      continue;
    }
    const auto states = (*session)->run(some_batch(), {});
    ASSERT_FALSE(states) << message;
    EXPECT_NE(states.error().message.find(message), std::string::npos) << states.error().message;
  }
}

}  // namespace
}  // namespace textvec::runtime
