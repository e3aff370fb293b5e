// textvec's operators as ONNX Runtime calls them, in graphs that are right and in graphs that
// somebody else made wrong.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "graph/onnx_file.h"
#include "kernels/linear.h"
#include "kernels/tiles.h"
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

// One operator on hidden states of `width` equal to their id, with inputs of these sizes besides:
// for an Attention, of texts of these lengths.
struct Call {
  std::string operation;
  std::vector<std::pair<std::string, std::size_t>> others;  // filled with 1, 2, ...
  std::vector<graph::Attribute> attributes;
  std::size_t width = 4;
  std::vector<std::int64_t> lengths{2, 1, 1};  // the last is of some_batch()'s padding
  bool in_one_row = true;                      // if it is an Attention
  std::vector<std::pair<std::string, std::size_t>> packed{};  // weights of so many bytes, all zero
};

Result<std::unique_ptr<Session>> open(const Call& call) {
  graph::OnnxFile file("call");
  file.input_int64("input_ids", {"batch", "length"});
  file.input_int64("attention_mask", {"batch", "length"});
  file.constant("last axis", std::array<std::int64_t, 1>{-1}, {1});
  file.constant("shape", std::array<std::int64_t, 3>{1, 1, static_cast<std::int64_t>(call.width)},
                {3});
  const auto node = [&](std::string_view operation, std::vector<std::string> inputs,
                        const std::string& output, std::string_view domain,
                        const std::vector<graph::Attribute>& attributes) {
    file.node(operation, inputs, std::array{output}, domain, attributes);
  };
  node("Cast", {"input_ids"}, "numbers", {}, {{"to", kFloat}});
  node("Unsqueeze", {"numbers", "last axis"}, "rows", {}, {});
  node("Expand", {"rows", "shape"}, "padded states", {}, {});
  file.constant("lengths", call.lengths, {call.lengths.size()});
  file.constant("one row",
                std::array<std::int64_t, 3>{1, -1, static_cast<std::int64_t>(call.width)}, {3});
  const bool packed = call.operation == "Attention" && call.in_one_row;
  node("Reshape", {"padded states", "one row"}, "one row of states", {}, {});
  node("Identity", {packed ? "one row of states" : "padded states"}, "states", {}, {});
  node("Shape", {"padded states"}, "shape of all", {}, {});
  node("Shape", {"rows"}, "fourth", {}, {{"end", std::int64_t{2}}});  // [2] of int64
  std::vector<std::string> inputs{"states"};
  for (const auto& [name, size] : call.others) {
    inputs.push_back(name);
    if (size == 0) continue;  // of the graph's own
    file.weight(name, {size}, [](std::size_t begin, std::span<float> out) {
      std::iota(out.begin(), out.end(), static_cast<float>(begin + 1));
    });
  }
  for (const auto& [name, bytes] : call.packed) {
    file.encoded_weight(
        name, bytes, 1, 1, [](std::size_t, std::span<float> out) { out.front() = 0; },
        [size = bytes](std::span<const float>, std::vector<std::byte>& out) { out.resize(size); });
  }
  node(call.operation, inputs, "result", graph::kTextvec, call.attributes);
  node("Reshape", {"result", "shape of all"}, "last_hidden_state", {}, {});
  file.output_float("last_hidden_state",
                    {"batch", "length", static_cast<std::int64_t>(call.width)});
  auto model = file.build_in_memory({});
  if (!model) return model.error();
  return open_session(std::move(*model), {});
}

void expect_refused(const Call& call, const char* message) {
  const auto session = open(call);
  ASSERT_TRUE(session) << session.error().message;
  const auto states = (*session)->run(some_batch(), {});
  ASSERT_FALSE(states) << message;
  EXPECT_NE(states.error().message.find(message), std::string::npos) << states.error().message;
}

TEST(NormOperator, TakesWhatIsGiven) {
  // Equal numbers: their RMS norm is 1 times the weight; without their mean nothing but the shift.
  const auto rms = open(Call{"Norm", {{"weight", 4}}, {{"epsilon", 0.0F}}});
  ASSERT_TRUE(rms) << rms.error().message;
  const auto scaled = (*rms)->run(some_batch(), {});
  ASSERT_TRUE(scaled) << scaled.error().message;
  const auto full = open(
      Call{"Norm", {{"weight", 4}, {"shift", 4}, {"states", 0}, {"bias", 4}}, {{"epsilon", 0.0F}}});
  ASSERT_TRUE(full) << full.error().message;
  const auto centred = (*full)->run(some_batch(), {});
  ASSERT_TRUE(centred) << centred.error().message;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto number = static_cast<float>(i + 1);
    EXPECT_FLOAT_EQ(scaled->row(0)[i], number);
    // 1, 2, 3, 4 less 2.5, over the root of 1.25.
    EXPECT_FLOAT_EQ(centred->row(1)[i], (number - 2.5F) / std::sqrt(1.25F) * number + number);
  }
}

TEST(NormOperator, RefusesWhatDoesNotFit) {
  const std::vector<graph::Attribute> epsilon{{"epsilon", 1e-5F}};
  expect_refused({"Norm", {{"weight", 5}}, epsilon}, "the weight has 5 numbers; it should have 4");
  expect_refused({"Norm", {{"weight", 4}, {"shift", 3}}, epsilon},
                 "the shift has 3 numbers; it should have 4");
  expect_refused({"Norm", {{"weight", 4}, {"shift", 4}, {"residual", 4}}, epsilon},
                 "the residual has 4 numbers; it should have 16");
}

// Four hidden, three between.
Call feed_forward() {
  return {"FeedForward",
          {{"up", 0}, {"up bias", 3}, {"down", 0}, {"down bias", 4}, {"weight", 4}, {"shift", 4}},
          {{"weight_type", std::string("f32")},
           {"hidden_size", std::int64_t{4}},
           {"intermediate_size", std::int64_t{3}},
           {"function", std::string("gelu")},
           {"epsilon", 0.0F}},
          4,
          {},
          true,
          {{"up", 256}, {"down", 192}}};
}

TEST(FeedForwardOperator, TakesWhatIsGiven) {
  const auto session = open(feed_forward());
  ASSERT_TRUE(session) << session.error().message;
  const auto states = (*session)->run(some_batch(), {});
  ASSERT_TRUE(states) << states.error().message;
  for (std::size_t i = 0; i < 4; ++i) {
    // Weights of zero leave the residual, which is one number, and the bias: 1, 2, 3, 4 less 2.5,
    // over the root of 1.25.
    const auto number = static_cast<float>(i + 1);
    EXPECT_FLOAT_EQ(states->row(1)[i], (number - 2.5F) / std::sqrt(1.25F) * number + number);
  }
}

TEST(FeedForwardOperator, RefusesWhatDoesNotFit) {
  const std::pair<std::size_t, const char*> wrong[] = {
      {1, "the bias of up has 2 numbers; it should have 3"},
      {3, "the bias of down has 2 numbers; it should have 4"},
      {4, "the weight of the norm has 2 numbers; it should have 4"},
      {5, "the shift of the norm has 2 numbers; it should have 4"}};
  for (const auto& [index, message] : wrong) {
    Call call = feed_forward();
    call.others[index].second = 2;
    expect_refused(call, message);
  }
  for (const auto& [index, bytes, message] :
       {std::tuple{0, 255, "the weights \"up\" have 255 bytes; they should have 256"},
        std::tuple{0, 257, "the weights \"up\" have 257 bytes"},
        std::tuple{1, 191, "the weights \"down\" have 191 bytes; they should have 192"},
        std::tuple{1, 193, "the weights \"down\" have 193 bytes"}}) {
    Call call = feed_forward();
    call.packed[static_cast<std::size_t>(index)].second = static_cast<std::size_t>(bytes);
    expect_refused(call, message);
  }
  Call wide = feed_forward();
  wide.attributes[1].second = std::int64_t{5};
  expect_refused(wide, "the input has 4 features; the weights take 5");
}

TEST(FeedForwardOperator, RefusesWhatItDoesNotKnow) {
  const std::tuple<std::size_t, graph::AttributeValue, const char*> wrong[] = {
      {0, std::string("int4"), "FeedForward: it knows the weight types f32, bf16 and int8"},
      {1, std::int64_t{0}, "FeedForward: a layer of 0 features; it takes 1 to 16777216"},
      {2, (std::int64_t{1} << 24) + 1, "FeedForward: a layer of 16777217 features"},
      {3, std::string("elu"), "FeedForward: it knows the functions gelu"}};
  for (const auto& [index, value, message] : wrong) {
    Call call = feed_forward();
    call.attributes[index].second = value;
    const auto session = open(call);
    ASSERT_FALSE(session) << message;
    EXPECT_NE(session.error().message.find(message), std::string::npos) << session.error().message;
  }
}

std::vector<graph::Attribute> heads(std::int64_t count, std::int64_t shared, bool causal = false,
                                    bool coarse = false) {
  return {{"num_heads", count},
          {"kv_num_heads", shared},
          {"causal", std::int64_t{causal}},
          {"coarse", std::int64_t{coarse}}};
}

// A text of one token gets its own value, of which bfloat16 does not have 257.
TEST(AttentionOperator, RoundsWhereItMay) {
  for (const bool coarse : {false, true}) {
    const auto session = open(Call{"Attention",
                                   {{"states", 0}, {"values", 4 * 66}, {"lengths", 0}},
                                   heads(2, 2, false, coarse),
                                   66,
                                   {1, 1, 1, 1}});
    ASSERT_TRUE(session) << session.error().message;
    const auto states = (*session)->run(some_batch(), {});
    ASSERT_TRUE(states) << states.error().message;
    const bool rounded = coarse && !kernels::best_tiles().bf16_dot.empty();
    EXPECT_EQ(states->row(1)[66 + 57], 256.0F);
    EXPECT_EQ(states->row(1)[66 + 58], rounded ? 256.0F : 257.0F);
    EXPECT_EQ(states->row(1)[66 + 59], 258.0F);
  }
}

TEST(AttentionOperator, AttendsToTheTokensOfItsText) {
  const auto session = open(
      Call{"Attention", {{"states", 0}, {"states", 0}, {"lengths", 0}, {"bias", 12}}, heads(2, 2)});
  ASSERT_TRUE(session) << session.error().message;
  const auto states = (*session)->run(some_batch(), {});
  ASSERT_TRUE(states) << states.error().message;
  for (std::size_t i = 0; i < 4; ++i) {
    // The second text has one token: its value and the bias.
    EXPECT_FLOAT_EQ(states->row(1)[i], 5 + static_cast<float>(i + 9));
    // The first text's two tokens attend to 3 and 4, nearly all to the larger.
    EXPECT_NEAR(states->row(0)[i], 4 + static_cast<float>(i + 9), 5e-3);
  }
}

TEST(AttentionOperator, LooksBackOnlyWhenItIsCausal) {
  const auto session =
      open(Call{"Attention", {{"states", 0}, {"states", 0}, {"lengths", 0}}, heads(2, 2, true)});
  ASSERT_TRUE(session) << session.error().message;
  const auto states = (*session)->run(some_batch(), {});
  ASSERT_TRUE(states) << states.error().message;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(states->row(0)[i], 3);
    EXPECT_NEAR(states->row(0)[4 + i], 4, 5e-3);
  }
}

TEST(AttentionOperator, RefusesWhatDoesNotFit) {
  const std::pair<std::string, std::size_t> states{"states", 0};
  const std::pair<std::string, std::size_t> lengths{"lengths", 0};
  const std::pair<std::string, std::size_t> none{"", 0};
  expect_refused({"Attention", {{"keys", 16}, states, lengths}, heads(2, 2)},
                 "keys of 0 tokens; the queries are of 4");
  expect_refused({"Attention", {states, states, lengths}, heads(2, 1)},
                 "keys of 16 numbers; they should be 4 tokens of 2");
  expect_refused({"Attention", {states, {"values", 4}, lengths}, heads(2, 2)},
                 "values of 4 numbers; they should be 4 tokens of 4");
  expect_refused({"Attention", {states, states, lengths, {"bias", 11}}, heads(2, 2)},
                 "the bias has 11 numbers; it should have 12");
  // Two tokens of heads of two take two angles.
  expect_refused(
      {"Attention", {states, states, lengths, none, {"cosine", 1}, {"sine", 2}}, heads(2, 2)},
      "a table of 1 angles; 2 tokens take 2");
  expect_refused(
      {"Attention", {states, states, lengths, none, {"cosine", 2}, {"sine", 1}}, heads(2, 2)},
      "a table of 1 angles; 2 tokens take 2");
  expect_refused(
      {"Attention", {states, states, lengths, none, {"cosine", 4}, {"sine", 4}}, heads(4, 4)},
      "heads of 1 components cannot be turned");
  expect_refused({"Attention",
                  {states, states, lengths, {"bias", 12}, {"cosine", 2}, {"sine", 2}},
                  heads(2, 2)},
                 "a bias; heads that share");
  expect_refused({"Attention", {states, states, lengths}, heads(3, 3)},
                 "queries of 4 components for 3 heads");
  for (const auto& [count, shared] :
       {std::pair(0, 0), std::pair(0, 1), std::pair(2, 0), std::pair(2, 3), std::pair(3, 2)}) {
    const auto session = open(Call{"Attention", {states, states, lengths}, heads(count, shared)});
    ASSERT_FALSE(session) << count << ", " << shared;
    EXPECT_NE(session.error().message.find(std::to_string(count) + " heads and " +
                                           std::to_string(shared) + " of keys and values"),
              std::string::npos)
        << session.error().message;
  }
}

TEST(AttentionOperator, RefusesTextsThatAreNotItsTokens) {
  const std::pair<std::vector<std::int64_t>, const char*> wrong[] = {
      {{2, 1}, "1 of 4 tokens are of no text"},
      {{}, "4 of 4 tokens are of no text"},
      {{2, 1, 2}, "a text of 2 tokens, where 1 are left of 4"},
      {{4, 1}, "a text of 1 tokens, where 0 are left of 4"},
      {{2, 0, 2}, "a text of 0 tokens"},
      {{-1, 5}, "a text of -1 tokens"},
      {{std::numeric_limits<std::int64_t>::max(), 1}, "a text of 9223372036854775807 tokens"},
  };
  const std::pair<std::string, std::size_t> states{"states", 0};
  const std::pair<std::string, std::size_t> lengths{"lengths", 0};
  for (const auto& [given, message] : wrong) {
    expect_refused({"Attention", {states, states, lengths}, heads(2, 2), 4, given}, message);
  }
}

// As graphs of before have it.
TEST(AttentionOperator, TakesNoMaskForLengths) {
  const std::pair<std::string, std::size_t> states{"states", 0};
  expect_refused({"Attention", {states, states, {"attention_mask", 0}}, heads(2, 2)},
                 "lengths that are no list");
}

TEST(AttentionOperator, TakesOneRowOfTexts) {
  const std::pair<std::string, std::size_t> states{"states", 0};
  expect_refused({"Attention", {states, states, {"lengths", 0}}, heads(2, 2), 4, {2, 2}, false},
                 "2 rows of queries; it takes one");
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
