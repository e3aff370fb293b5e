// The target `fused`: which nodes each block becomes. See fused.h.
#include "graph/fused.h"

#include <algorithm>
#include <utility>

namespace textvec::graph {
namespace {

// onnx.proto, TensorProto.DataType
constexpr std::int64_t kInt32 = 6;
constexpr std::int64_t kInt64 = 7;

// Copies columns of [out_features, in_features] as rows of its transpose, because ONNX's MatMul
// takes [in_features, out_features]. Works on strips of 16 columns: one cache line of the result.
Fill transposed(const model::Tensor& tensor) {
  const std::size_t columns_out = tensor.shape[0];
  const std::size_t columns_in = tensor.shape[1];
  return [tensor, columns_out, columns_in](std::size_t begin, std::span<float> out) {
    const std::size_t first = begin / columns_out;
    const std::size_t rows = out.size() / columns_out;
    std::vector<float> strip(16 * rows);
    for (std::size_t column = 0; column < columns_out; column += 16) {
      const std::size_t width = std::min<std::size_t>(16, columns_out - column);
      for (std::size_t i = 0; i < width; ++i) {
        tensor.copy_to((column + i) * columns_in + first,
                       std::span<float>(strip).subspan(i * rows, rows));
      }
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = 0; i < width; ++i) {
          out[row * columns_out + column + i] = strip[i * rows + row];
        }
      }
    }
  };
}

Fill copied(const model::Tensor& tensor) {
  return [tensor](std::size_t begin, std::span<float> out) { tensor.copy_to(begin, out); };
}

}  // namespace

FusedTarget::FusedTarget(const model::Weights& weights)
    : weights_(weights), file_("textvec_fused") {
  file_.input_int64("input_ids", {"batch", "length"});
  file_.input_int64("attention_mask", {"batch", "length"});
}

const model::Tensor* FusedTarget::find(const std::string& name,
                                       const std::vector<std::size_t>& shape) {
  if (!status_) return nullptr;
  const auto tensor = weights_.get(name, shape);
  if (tensor) return weights_.find(name);
  status_ = tensor.error();
  return nullptr;
}

std::string FusedTarget::weight(const std::string& name, const std::vector<std::size_t>& shape) {
  if (const model::Tensor* tensor = find(name, shape)) file_.weight(name, shape, copied(*tensor));
  return name;
}

std::string FusedTarget::joined(const std::string& a, const std::string& b, const std::string& c,
                                std::size_t size_each) {
  std::vector<float> values(3 * size_each);
  auto rest = std::span<float>(values);
  for (const std::string& name : {a, b, c}) {
    const model::Tensor* tensor = find(name, {size_each});
    if (tensor == nullptr) return {};
    tensor->copy_to(0, rest.first(size_each));
    rest = rest.subspan(size_each);
  }
  const std::string name = a + " and the two after it";
  file_.weight(name, {values.size()}, [values](std::size_t begin, std::span<float> out) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
  });
  return name;
}

std::string FusedTarget::node(std::string_view operation, const std::vector<std::string>& inputs,
                              std::string_view domain, const std::vector<Attribute>& attributes) {
  const std::string output = std::string(operation) + "_" + std::to_string(nodes_++);
  if (status_) file_.node(operation, inputs, std::vector<std::string>{output}, domain, attributes);
  return output;
}

std::string FusedTarget::settled(const Edge& x) {
  if (x.pending_bias.empty()) return x.name;
  return node("Add", {x.name, weight(x.pending_bias, {x.width})});
}

std::string FusedTarget::first_rows(const std::string& table) {
  const std::string length =
      node("Shape", {"input_ids"}, {}, {{"start", std::int64_t{1}}, {"end", std::int64_t{2}}});
  const std::vector<std::int64_t> zero{0};
  file_.constant("zero", zero, {1});  // the slice's first row, and its axis
  return node("Slice", {table, "zero", length, "zero"});
}

// transformers' create_position_ids_from_input_ids: padding ids, wherever they stand, are not
// counted and have the row before the first token's, which is row 0 of what we keep.
std::string FusedTarget::counted_rows(const EmbeddingNames& names) {
  const std::vector<std::int64_t> padding{static_cast<std::int64_t>(names.position_offset) - 1};
  file_.constant("padding_id", padding, {});
  const std::vector<std::int64_t> one{1};
  file_.constant("one", one, {});  // the axis of the tokens
  const std::string is_token = node("Not", {node("Equal", {"input_ids", "padding_id"})});
  const std::string counted = node("Cast", {is_token}, {}, {{"to", kInt64}});
  const std::string rows = node("Mul", {node("CumSum", {counted, "one"}), counted});
  return node("Gather", {names.positions, rows});
}

Edge FusedTarget::embeddings(const EmbeddingNames& names) {
  const std::size_t hidden = names.hidden_size;
  const std::string tokens = weight(names.tokens, {names.vocabulary_size, hidden});

  // Every token has type 0, so its row is added to the position table once, here.
  std::vector<float> type(hidden, 0.0F);
  if (!names.types.empty()) {
    const model::Tensor* types = find(names.types, {names.type_vocabulary_size, hidden});
    if (types != nullptr) types->copy_to(0, type);
  }
  const std::size_t skipped_rows = names.position_offset == 0 ? 0 : names.position_offset - 1;
  if (const model::Tensor* table = find(names.positions, {names.positions_max, hidden})) {
    file_.weight(names.positions, {names.positions_max - skipped_rows, hidden},
                 [table = *table, type, skipped = skipped_rows * hidden](std::size_t begin,
                                                                         std::span<float> out) {
                   table.copy_to(skipped + begin, out);
                   for (std::size_t i = 0; i < out.size(); ++i) {
                     out[i] += type[(begin + i) % type.size()];
                   }
                 });
  }

  const std::string gathered = node("Gather", {tokens, "input_ids"});
  const std::string positions =
      names.position_offset == 0 ? first_rows(names.positions) : counted_rows(names);
  const std::string sum = node("Add", {gathered, positions});
  const std::string normalised =
      node("LayerNormalization",
           {sum, weight(names.norm.weight, {hidden}), weight(names.norm.bias, {hidden})}, {},
           {{"axis", std::int64_t{-1}}, {"epsilon", static_cast<float>(names.norm.epsilon)}});
  return {normalised, hidden, {}};
}

Edge FusedTarget::linear(const Edge& x, const LinearNames& names) {
  const std::string input = settled(x);
  if (const model::Tensor* tensor = find(names.weight, {names.out_features, names.in_features})) {
    file_.weight(names.weight, {names.in_features, names.out_features}, transposed(*tensor));
  }
  return {node("MatMul", {input, names.weight}), names.out_features, names.bias};
}

Edge FusedTarget::attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) {
  if (padding_mask_.empty()) {
    padding_mask_ = node("Cast", {"attention_mask"}, {}, {{"to", kInt32}});
  }
  const std::string bias = joined(q.pending_bias, k.pending_bias, v.pending_bias, q.width);
  return {node("MultiHeadAttention", {q.name, k.name, v.name, bias, padding_mask_}, kMicrosoft,
               {{"num_heads", static_cast<std::int64_t>(heads)}}),
          v.width,
          {}};
}

Edge FusedTarget::add_norm(const Edge& residual, const Edge& x, const NormNames& names) {
  std::vector<std::string> inputs{settled(residual), x.name, weight(names.weight, {x.width}),
                                  weight(names.bias, {x.width})};
  if (!x.pending_bias.empty()) inputs.push_back(weight(x.pending_bias, {x.width}));
  return {node("SkipLayerNormalization", inputs, kMicrosoft,
               {{"epsilon", static_cast<float>(names.epsilon)}}),
          x.width,
          {}};
}

Edge FusedTarget::activation(const Edge& x, const std::string& function) {
  const bool has_bias = !x.pending_bias.empty();
  if (function == "gelu" && has_bias) {
    return {node("BiasGelu", {x.name, weight(x.pending_bias, {x.width})}, kMicrosoft), x.width, {}};
  }
  if (function == "gelu") return {node("Gelu", {x.name}, kMicrosoft), x.width, {}};
  if (function == "relu") return {node("Relu", {settled(x)}), x.width, {}};
  // gelu_new, gelu_pytorch_tanh and gelu_fast are the same tanh formula, which is FastGelu's.
  std::vector<std::string> inputs{x.name};
  if (has_bias) inputs.push_back(weight(x.pending_bias, {x.width}));
  return {node("FastGelu", inputs, kMicrosoft), x.width, {}};
}

void FusedTarget::output(const Edge& x) {
  if (!status_) return;
  file_.node("Identity", std::vector<std::string>{settled(x)},
             std::vector<std::string>{"last_hidden_state"});
  file_.output_float("last_hidden_state", {"batch", "length", static_cast<std::int64_t>(x.width)});
}

}  // namespace textvec::graph
