// The target `static`: which nodes each block becomes. See static.h.
#include "graph/static.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <utility>

#include "graph/fill.h"

namespace textvec::graph {
namespace {

// onnx.proto, TensorProto.DataType
constexpr std::int64_t kFloat = 1;
constexpr std::int64_t kFloat16 = 10;

// Before a norm squares them, values are multiplied by a constant. Powers of two, so that a float
// loses nothing. Squares of a 16-bit float overflow above 255 and lose bits below 2^-7, so that:
constexpr float kEmbeddingScale = 1;         // tables hold 0.01 to 1, and little above 10
constexpr float kHeadScale = 1.0F / 16;      // 0.1 to 4,080
constexpr float kResidualScale = 1.0F / 64;  // 0.5 to 16,320: sums of all layers before
constexpr float kEncoderScale = 1.0F / 16;   // sums of two normalised layers
// The least 16-bit float above 0. Where epsilon would be less, rows of zeros would divide by 0.
constexpr float kHalfMin = 5.9604645e-8F;

std::int64_t integer(std::size_t value) { return static_cast<std::int64_t>(value); }

std::vector<float> filled(const Fill& fill, std::size_t count) {
  std::vector<float> values(count);
  fill(0, values);
  return values;
}

// `frequencies` apply to the first half of a head and again to the second.
std::vector<float> twice(const std::vector<float>& frequencies) {
  std::vector<float> both = frequencies;
  both.insert(both.end(), frequencies.begin(), frequencies.end());
  return both;
}

}  // namespace

StaticTarget::StaticTarget(const model::Weights& weights, Bucket bucket, TensorType type)
    : weights_(weights), bucket_(bucket), type_(type), file_("textvec_static") {}

const model::Tensor* StaticTarget::find(const std::string& name,
                                        const std::vector<std::size_t>& shape) {
  return find_tensor(weights_, name, shape, status_);
}

std::string StaticTarget::weight(const std::string& name, const std::vector<std::size_t>& shape) {
  if (const model::Tensor* tensor = find(name, shape)) {
    file_.weight(name, shape, copied(*tensor), type_);
  }
  return name;
}

std::string StaticTarget::node(std::string_view operation, const std::vector<std::string>& inputs,
                               const std::vector<Attribute>& attributes) {
  const std::string output = std::string(operation) + "_" + std::to_string(nodes_++);
  if (status_) file_.node(operation, inputs, std::vector<std::string>{output}, {}, attributes);
  return output;
}

// The provider refuses a Cast right behind an input ("Cast has no preceding nodes"), so that inputs
// come flat and are given their shape first.
std::string StaticTarget::input(const std::string& name, const std::vector<Dimension>& given,
                                const std::vector<std::size_t>& shape) {
  file_.input_float(name, given);
  const std::string shaped = reshaped(name, shape);
  return type_ == TensorType::Half ? node("Cast", {shaped}, {{"to", kFloat16}}) : shaped;
}

std::string StaticTarget::number(float value) {
  std::ostringstream name;
  name << "number " << std::setprecision(9) << value;
  if (constants_.insert(name.str()).second) {
    file_.constant(name.str(), std::span<const float>(&value, 1), {1}, type_);
  }
  return name.str();
}

std::string StaticTarget::list(const std::vector<std::int64_t>& values) {
  std::string name = "list of";
  for (const std::int64_t value : values) name += " " + std::to_string(value);
  if (constants_.insert(name).second) file_.constant(name, values, {values.size()});
  return name;
}

std::string StaticTarget::reshaped(const std::string& x, const std::vector<std::size_t>& shape) {
  std::vector<std::int64_t> sizes;
  std::transform(shape.begin(), shape.end(), std::back_inserter(sizes), integer);
  return node("Reshape", {x, list(sizes)});
}

std::string StaticTarget::transposed(const std::string& x, const std::vector<std::int64_t>& order) {
  return node("Transpose", {x}, {{"perm", order}});
}

std::string StaticTarget::unit_mean_square(const std::string& x, double epsilon, float scale) {
  const float own = static_cast<float>(epsilon) * scale * scale;
  const float floor = type_ == TensorType::Half ? std::max(own, kHalfMin) : own;
  const std::string scaled = scale == 1 ? x : node("Mul", {x, number(scale)});
  const std::string squares = node("Mul", {scaled, scaled});
  const std::string mean = node("ReduceMean", {squares, list({-1})});
  return node("Div", {scaled, node("Sqrt", {node("Add", {mean, number(floor)})})});
}

std::string StaticTarget::layer_norm(const std::string& x, const NormNames& names,
                                     std::size_t width, float scale) {
  const std::string centred = node("Sub", {x, node("ReduceMean", {x, list({-1})})});
  const std::string unit = unit_mean_square(centred, names.epsilon, scale);
  const std::string weighted = node("Mul", {unit, weight(names.weight, {width})});
  return node("Add", {weighted, weight(names.bias, {width})});
}

Edge StaticTarget::token_embeddings(const std::string& table, std::size_t vocabulary_size,
                                    std::size_t hidden_size) {
  find(table, {vocabulary_size, hidden_size});
  embedding_names_.tokens = table;
  embedding_names_.vocabulary_size = vocabulary_size;
  embedding_names_.hidden_size = hidden_size;
  embedded_ =
      input(kEmbeddingsInput, {integer(bucket_.texts * bucket_.tokens), integer(hidden_size)},
            {bucket_.texts, bucket_.tokens, hidden_size});
  return {embedded_, hidden_size, {}};
}

Edge StaticTarget::embeddings(const EmbeddingNames& names) {
  const Edge sum = token_embeddings(names.tokens, names.vocabulary_size, names.hidden_size);
  find(names.positions, {names.positions_max, names.hidden_size});
  if (!names.types.empty()) find(names.types, {names.type_vocabulary_size, names.hidden_size});
  embedding_names_ = names;
  return like(sum, layer_norm(sum.name, names.norm, sum.width, kEmbeddingScale));
}

std::vector<Edge> StaticTarget::linears(const Edge& x, std::span<const LinearNames> layers) {
  std::vector<Edge> edges;
  for (const LinearNames& layer : layers) edges.push_back(one_linear(x, layer));
  return edges;
}

Edge StaticTarget::one_linear(const Edge& x, const LinearNames& names) {
  if (const model::Tensor* tensor = find(names.weight, {names.out_features, names.in_features})) {
    file_.weight(names.weight, {names.in_features, names.out_features}, graph::transposed(*tensor),
                 type_);
  }
  std::string out = node("MatMul", {x.name, names.weight});
  if (!names.bias.empty()) out = node("Add", {out, weight(names.bias, {names.out_features})});
  return {std::move(out), names.out_features, {}, x.one_token};
}

std::string StaticTarget::heads_apart(const std::string& x, std::size_t heads,
                                      std::size_t head_size) {
  return transposed(reshaped(x, {bucket_.texts, bucket_.tokens, heads, head_size}), {0, 2, 1, 3});
}

std::string StaticTarget::heads_together(const std::string& x, std::size_t heads,
                                         std::size_t head_size) {
  return reshaped(transposed(x, {0, 2, 1, 3}), {bucket_.texts, bucket_.tokens, heads * head_size});
}

std::string StaticTarget::attend(const std::string& q, const std::string& k, const std::string& v,
                                 std::size_t head_size, const std::string& bias) {
  // Before the product, so that scores stay small.
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_size)));
  const std::string queries = node("Mul", {q, number(scale)});
  const std::string scores = node("MatMul", {queries, transposed(k, {0, 1, 3, 2})});
  const std::string shares =
      node("Softmax", {node("Add", {scores, bias})}, {{"axis", std::int64_t{-1}}});
  return node("MatMul", {shares, v});
}

Edge StaticTarget::attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) {
  if (bias_.empty()) {
    bias_ = input(kBiasInput, {integer(bucket_.texts), integer(bucket_.tokens)},
                  {bucket_.texts, 1, 1, bucket_.tokens});
  }
  const std::size_t head_size = q.width / heads;
  const std::string attended =
      attend(heads_apart(q.name, heads, head_size), heads_apart(k.name, heads, head_size),
             heads_apart(v.name, heads, head_size), head_size, bias_);
  return like(v, heads_together(attended, heads, head_size));
}

Edge StaticTarget::add_norm(const Edge& residual, const Edge& x, const NormNames& names) {
  const std::string sum = node("Add", {residual.name, x.name});
  return like(x, layer_norm(sum, names, x.width, kEncoderScale));
}

Edge StaticTarget::activation(const Edge& x, const std::string& function) {
  if (function == "relu") return like(x, node("Relu", {x.name}));
  // gelu_new, gelu_pytorch_tanh and gelu_fast are the same tanh formula.
  const std::string form = function == "gelu" ? "none" : "tanh";
  return like(x, node("Gelu", {x.name}, {{"approximate", form}}));
}

void StaticTarget::output(const Edge& x) {
  const std::string name = x.one_token ? "sentence_embedding" : "last_hidden_state";
  const std::vector<std::size_t> shape = x.one_token
                                             ? std::vector{bucket_.texts, x.width}
                                             : std::vector{bucket_.texts, bucket_.tokens, x.width};
  const std::string flat = x.one_token ? reshaped(x.name, shape) : x.name;
  if (!status_) return;
  const std::vector<Attribute> to_float{{"to", kFloat}};
  const bool half = type_ == TensorType::Half;
  file_.node(half ? "Cast" : "Identity", std::vector<std::string>{flat},
             std::vector<std::string>{name}, {},
             half ? std::span<const Attribute>(to_float) : std::span<const Attribute>());
  std::vector<Dimension> dimensions(shape.size());
  std::transform(shape.begin(), shape.end(), dimensions.begin(), integer);
  file_.output_float(name, dimensions);
}

Edge StaticTarget::rms_norm(const Edge& x, const NormNames& names) {
  const float scale = x.name == embedded_ ? kEmbeddingScale : kResidualScale;
  const std::string unit = unit_mean_square(x.name, names.epsilon, scale);
  return like(x, node("Mul", {unit, weight(names.weight, {x.width})}));
}

Edge StaticTarget::add(const Edge& a, const Edge& b) {
  return like(a, node("Add", {a.name, b.name}));
}

Edge StaticTarget::gated(const Edge& gate, const Edge& up) {
  const std::string silu = node("Mul", {gate.name, node("Sigmoid", {gate.name})});
  return like(up, node("Mul", {silu, up.name}));
}

void StaticTarget::rotary_tables(const CausalAttention& names) {
  if (!constants_.insert("rotary").second) return;
  const std::vector<float> frequencies = twice(names.rotary.inverse_frequencies);
  const float scale = names.rotary.scale;
  const std::size_t count = bucket_.tokens * names.head_size;
  const auto cosine = [](double angle) { return std::cos(angle); };
  const auto sine = [](double angle) { return std::sin(angle); };
  const std::vector<std::size_t> shape{1, 1, bucket_.tokens, names.head_size};
  file_.constant("rotary_cosine", filled(rotary_table(frequencies, scale, cosine), count), shape,
                 type_);
  // The halves change places before they are multiplied; the first then counts negative.
  std::vector<float> sines = filled(rotary_table(frequencies, scale, sine), count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i % names.head_size < names.head_size / 2) sines[i] = -sines[i];
  }
  file_.constant("rotary_sine", sines, shape, type_);
}

std::string StaticTarget::turned(const std::string& x, const CausalAttention& names) {
  const std::int64_t half = integer(names.head_size / 2);
  const std::string axis = list({3});
  const std::string first = node("Slice", {x, list({0}), list({half}), axis});
  const std::string second = node("Slice", {x, list({half}), list({2 * half}), axis});
  const std::string swapped = node("Concat", {second, first}, {{"axis", std::int64_t{3}}});
  return node("Add", {node("Mul", {x, "rotary_cosine"}), node("Mul", {swapped, "rotary_sine"})});
}

std::string StaticTarget::turned_heads(const Edge& x, std::size_t heads, const NormNames& norm,
                                       const CausalAttention& names) {
  const std::string apart = heads_apart(x.name, heads, names.head_size);
  const std::string unit = unit_mean_square(apart, norm.epsilon, kHeadScale);
  return turned(node("Mul", {unit, weight(norm.weight, {names.head_size})}), names);
}

std::string StaticTarget::causal_bias(std::size_t repeats) {
  if (constants_.insert("causal").second) {
    const std::size_t tokens = bucket_.tokens;
    std::vector<float> values(repeats * tokens * tokens);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = i % tokens > i / tokens % tokens ? kMasked : 0.0F;
    }
    file_.constant("causal_bias", values, {1, 1, repeats * tokens, tokens}, type_);
  }
  return "causal_bias";
}

// Query heads that share keys stand one below the other, as more rows of one matrix, so that keys
// and values are not repeated.
Edge StaticTarget::causal_attention(const Edge& q, const Edge& k, const Edge& v,
                                    const CausalAttention& names) {
  rotary_tables(names);
  const std::size_t shared = names.key_value_heads;
  const std::size_t group = names.heads / shared;
  const std::size_t size = names.head_size;
  const std::string queries = reshaped(turned_heads(q, names.heads, names.query_norm, names),
                                       {bucket_.texts, shared, group * bucket_.tokens, size});
  const std::string keys = turned_heads(k, shared, names.key_norm, names);
  const std::string values = heads_apart(v.name, shared, size);
  const std::string attended = attend(queries, keys, values, size, causal_bias(group));
  const std::string apart = reshaped(attended, {bucket_.texts, names.heads, bucket_.tokens, size});
  return {heads_together(apart, names.heads, size), names.heads * size, {}};
}

Edge StaticTarget::last_tokens(const Edge& x) {
  if (last_token_.empty()) {
    last_token_ = input(kLastTokenInput, {integer(bucket_.texts), integer(bucket_.tokens)},
                        {bucket_.texts, 1, bucket_.tokens});
  }
  Edge out = like(x, node("MatMul", {last_token_, x.name}));
  out.one_token = true;
  return out;
}

}  // namespace textvec::graph
