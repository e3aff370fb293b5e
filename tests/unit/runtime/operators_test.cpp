// textvec's operators as ONNX Runtime calls them, in graphs that are right and in graphs that
// somebody else made wrong.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
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

struct ActivationNode {
  std::string function = "silu";
  std::vector<std::string> inputs{"rows", "bias", "factor"};
  std::size_t bias_size = 4;
  bool is_norm = false;  // a textvec.Norm instead, without a function
};

// rows [batch, length, 4]: every id times 1, 1/2, -1/4 and -1/8, by a Linear of which the
// Activation is not the only reader. factor: the same and 1. Output: the Activation and rows,
// added.
Result<std::unique_ptr<Session>> open(const ActivationNode& activation) {
  graph::OnnxFile file("activation");
  file.input_int64("input_ids", {"batch", "length"});
  const auto node = [&](std::string_view operation, std::vector<std::string> inputs,
                        const std::string& output, std::vector<graph::Attribute> attributes = {},
                        std::string_view domain = {}) {
    file.node(operation, inputs, std::array{output}, domain, attributes);
  };
  const auto numbers = [&](const std::string& name, std::vector<float> values) {
    file.weight(name, {values.size()}, [values](std::size_t begin, std::span<float> out) {
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
    });
  };
  file.constant("last axis", std::array<std::int64_t, 1>{-1}, {1});
  file.constant("no size", std::array<std::int64_t, 1>{0}, {1});
  file.constant("integer", std::array<std::int64_t, 1>{7}, {});
  numbers("each", {1.0F, 0.5F, -0.25F, -0.125F});
  numbers("one", {1.0F});
  numbers("bias", std::vector<float>(activation.bias_size, 0.75F));
  node("Cast", {"integer"}, "number", {{"to", kFloat}});
  node("Cast", {"input_ids"}, "ids", {{"to", kFloat}});
  node("Unsqueeze", {"ids", "last axis"}, "column");
  node("Mul", {"column", "each"}, "rows");
  node("Add", {"rows", "one"}, "factor");
  node("ConstantOfShape", {"no size"}, "nothing");
  const graph::Attribute attribute = activation.is_norm
                                         ? graph::Attribute{"epsilon", 1e-5F}
                                         : graph::Attribute{"function", activation.function};
  node(activation.is_norm ? "Norm" : "Activation", activation.inputs, "activated", {attribute},
       graph::kTextvec);
  node("Add", {"activated", "rows"}, "last_hidden_state");
  file.output_float("last_hidden_state", {"batch", "length", std::int64_t{4}});
  auto model = file.build_in_memory({});
  if (!model) return model.error();
  return open_session(std::move(*model), {});
}

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST(ActivationOperator, TakesWhatTheGraphGives) {
  const double scales[] = {1, 0.5, -0.25, -0.125};
  const std::vector<std::string> several_inputs[] = {{"rows"},
                                                     {"rows", "bias"},
                                                     {"rows", "", "factor"},
                                                     {"rows", "bias", "factor"},
                                                     {"rows", "", "rows"}};
  for (const auto& inputs : several_inputs) {
    const auto session = open(ActivationNode{"silu", inputs});
    ASSERT_TRUE(session) << session.error().message;
    const auto states = (*session)->run(some_batch(), {});
    ASSERT_TRUE(states) << states.error().message;
    ASSERT_EQ(states->width, 4U);
    const std::pair<const float*, double> tokens[] = {
        {states->row(0).data(), 3}, {states->row(0).data() + 4, 4}, {states->row(1).data(), 5}};
    for (const auto& [token, id] : tokens) {
      for (std::size_t i = 0; i < 4; ++i) {
        const double row = id * scales[i];
        const bool has_bias = inputs.size() > 1 && !inputs[1].empty();
        const double factor = inputs.size() < 3 ? 1 : inputs[2] == "rows" ? row : row + 1;
        const double wanted = silu(row + (has_bias ? 0.75 : 0)) * factor + row;
        EXPECT_NEAR(static_cast<double>(token[i]), wanted, 5e-6) << inputs.size() << ", " << i;
      }
    }
  }
}

TEST(ActivationOperator, TellsItsFunctionsApart) {
  // Of 5 * -1/8, and what was added.
  const std::pair<const char*, double> functions[] = {
      {"gelu", -0.625 / 2 * (1 + std::erf(-0.625 / std::sqrt(2.0)))},
      {"gelu_tanh",
       -0.625 / 2 * (1 + std::tanh(0.7978845608 * (-0.625 + 0.044715 * -0.244140625)))},
      {"silu", silu(-0.625)},
      {"relu", 0}};
  for (const auto& [function, wanted] : functions) {
    const auto session = open(ActivationNode{function, {"rows"}});
    ASSERT_TRUE(session) << session.error().message;
    const auto states = (*session)->run(some_batch(), {});
    ASSERT_TRUE(states) << states.error().message;
    EXPECT_NEAR(static_cast<double>(states->row(1)[3]), wanted - 0.625, 2e-6) << function;
  }
}

TEST(ActivationOperator, RefusesWhatItDoesNotKnow) {
  for (const char* function : {"", "gelu_new", "Silu"}) {
    const auto session = open(ActivationNode{function});
    ASSERT_FALSE(session) << function;
    EXPECT_NE(session.error().message.find("gelu, gelu_tanh, silu and relu"), std::string::npos)
        << session.error().message;
  }
}

TEST(ActivationOperator, ReadsNothingBehindItsInputsNorDoesNorm) {
  const std::pair<ActivationNode, const char*> wrong[] = {
      {{"silu", {"rows", "bias"}, 3}, "the bias has 3 numbers; it should have 4"},
      {{"silu", {"rows", "bias"}, 5}, "the bias has 5 numbers; it should have 4"},
      {{"silu", {"rows", "", "column"}}, "the factor has 4 numbers; it should have 16"},
      {{"silu", {"column", "", "rows"}}, "the factor has 16 numbers; it should have 4"},
      {{"silu", {"number"}}, "Activation: the input is a single number; it takes rows"},
      {{{}, {"number", "nothing"}, 4, true}, "Norm: the input is a single number; it takes rows"},
      {{{}, {"rows", "bias"}, 5, true}, "Norm: the weight has 5 numbers; it should have 4"},
  };
  for (const auto& [node, message] : wrong) {
    const auto session = open(node);
    ASSERT_TRUE(session) << session.error().message;
    const auto states = (*session)->run(some_batch(), {});
    ASSERT_FALSE(states) << message;
    EXPECT_NE(states.error().message.find(message), std::string::npos) << states.error().message;
  }
}

}  // namespace
}  // namespace textvec::runtime
