// The target `fused`: which nodes each block becomes. See fused.h.
#include "graph/fused.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include "graph/fill.h"
#include "kernels/activation.h"
#include "kernels/linear.h"

namespace textvec::graph {
namespace {

// onnx.proto, TensorProto.DataType
constexpr std::int64_t kInt32 = 6;
constexpr std::int64_t kInt64 = 7;

// gelu_new, gelu_pytorch_tanh and gelu_fast are the same formula.
kernels::Activation activation_of(const std::string& function) {
  return function == "gelu"   ? kernels::Activation::Gelu
         : function == "relu" ? kernels::Activation::Relu
                              : kernels::Activation::TanhGelu;
}

}  // namespace

FusedTarget::FusedTarget(const model::Weights& weights, Linears linears, std::int64_t piece_work)
    : weights_(weights), linears_(linears), piece_work_(piece_work), file_("textvec_fused") {
  file_.input_int64("input_ids", {"batch", "length"});
  file_.input_int64("attention_mask", {"batch", "length"});
  if (linears_ != Linears::Standard) pack();
}

void FusedTarget::pack() {
  file_.property(kPackedProperty, "1");
  const std::string flat_mask = node("Reshape", {"attention_mask", list(-1)});
  places_ = node("NonZero", {flat_mask});
  ids_ = node("Gather", {node("Reshape", {"input_ids", list(-1)}), places_});
  lengths_ = tokens_of_texts();
}

std::string FusedTarget::tokens_of_texts() {
  return node("ReduceSum", {"attention_mask", list(1)}, {}, {{"keepdims", std::int64_t{0}}});
}

const model::Tensor* FusedTarget::find(const std::string& name,
                                       const std::vector<std::size_t>& shape) {
  return find_tensor(weights_, name, shape, status_);
}

std::string FusedTarget::weight(const std::string& name, const std::vector<std::size_t>& shape) {
  const model::Tensor* tensor = find(name, shape);
  if (tensor != nullptr && is_new(name)) file_.weight(name, shape, copied(*tensor));
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

std::string FusedTarget::scalar(std::int64_t value) {
  const std::string name = "number " + std::to_string(value);
  if (constants_.insert(name).second) file_.constant(name, std::array{value}, {});
  return name;
}

std::string FusedTarget::list(std::int64_t value) {
  const std::string name = "list of " + std::to_string(value);
  if (constants_.insert(name).second) file_.constant(name, std::array{value}, {1});
  return name;
}

std::string FusedTarget::size_of(const std::string& tensor, std::int64_t axis) {
  return node("Shape", {tensor}, {}, {{"start", axis}, {"end", axis + 1}});
}

std::string FusedTarget::settled(const Edge& x) {
  if (x.pending_bias.empty()) return x.name;
  return node("Add", {x.name, weight(x.pending_bias, {x.width})});
}

std::string FusedTarget::first_rows(const std::string& table) {
  const std::string length = size_of("input_ids", 1);
  if (!places_.empty()) return node("Gather", {table, node("Mod", {places_, length})});
  // The last input is the axis.
  return node("Slice", {table, list(0), length, list(0)});
}

// transformers' create_position_ids_from_input_ids: padding ids, wherever they stand, are not
// counted and have the row before the first token's, which is row 0 of what we keep.
std::string FusedTarget::counted_rows(const EmbeddingNames& names) {
  const std::string padding_id = scalar(static_cast<std::int64_t>(names.position_offset) - 1);
  const std::string is_token = node("Not", {node("Equal", {"input_ids", padding_id})});
  const std::string counted = node("Cast", {is_token}, {}, {{"to", kInt64}});
  std::string rows = node("Mul", {node("CumSum", {counted, scalar(1)}), counted});
  if (!places_.empty()) rows = node("Gather", {node("Reshape", {rows, list(-1)}), places_});
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

  const std::string gathered = node("Gather", {tokens, ids_});
  const std::string positions =
      names.position_offset == 0 ? first_rows(names.positions) : counted_rows(names);
  const std::string sum = node("Add", {gathered, positions});
  const std::string normalised =
      node("LayerNormalization",
           {sum, weight(names.norm.weight, {hidden}), weight(names.norm.bias, {hidden})}, {},
           {{"axis", std::int64_t{-1}}, {"epsilon", static_cast<float>(names.norm.epsilon)}});
  return {normalised, hidden, {}};
}

std::vector<Edge> FusedTarget::linears(const Edge& x, std::span<const LinearNames> layers) {
  const std::string input = settled(x);
  std::vector<std::string> outputs;
  if (linears_ == Linears::Standard) {
    for (const LinearNames& layer : layers) {
      if (const model::Tensor* tensor =
              find(layer.weight, {layer.out_features, layer.in_features})) {
        file_.weight(layer.weight, {layer.in_features, layer.out_features}, transposed(*tensor));
      }
      outputs.push_back(node("MatMul", {input, layer.weight}));
    }
  } else {
    outputs = own_linears(input, layers);
  }
  std::vector<Edge> edges;
  edges.reserve(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    edges.push_back({outputs[i], layers[i].out_features, layers[i].bias, x.one_token});
  }
  return edges;
}

kernels::WeightType FusedTarget::packed_weights(std::span<const LinearNames> layers) {
  std::vector<const model::Tensor*> tensors;
  bool halves = true;
  for (const LinearNames& layer : layers) {
    tensors.push_back(find(layer.weight, {layer.out_features, layer.in_features}));
    halves = halves && tensors.back() != nullptr && tensors.back()->type == model::DataType::BF16;
  }
  const auto type = linears_ == Linears::Int8 ? kernels::WeightType::Int8
                    : halves                  ? kernels::WeightType::BF16
                                              : kernels::WeightType::F32;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (tensors[i] != nullptr) packed_weight(layers[i], *tensors[i], type);
  }
  return type;
}

std::vector<std::string> FusedTarget::own_linears(const std::string& input,
                                                  std::span<const LinearNames> layers) {
  const auto type = packed_weights(layers);
  std::vector<std::string> inputs{input};
  std::vector<std::string> outputs;
  std::vector<std::int64_t> out_features;
  for (const LinearNames& layer : layers) {
    inputs.push_back(layer.weight);
    outputs.push_back("Linear_" + std::to_string(nodes_++));
    out_features.push_back(static_cast<std::int64_t>(layer.out_features));
  }
  if (status_) {
    const std::vector<Attribute> attributes{
        {"weight_type", std::string(kernels::to_string(type))},
        {"in_features", static_cast<std::int64_t>(layers.front().in_features)},
        {"out_features", out_features}};
    file_.node("Linear", inputs, outputs, kTextvec, attributes);
  }
  return outputs;
}

void FusedTarget::packed_weight(const LinearNames& layer, const model::Tensor& tensor,
                                kernels::WeightType type) {
  if (!is_new(layer.weight)) return;
  const kernels::PackedShape shape{type, layer.in_features, layer.out_features};
  const std::size_t panel_elements = kernels::PackedShape::kPanelColumns * layer.in_features;
  file_.encoded_weight(
      layer.weight, shape.bytes(), layer.in_features * layer.out_features, panel_elements,
      copied(tensor),
      [shape, panel_elements](std::span<const float> values, std::vector<std::byte>& out) {
        const std::size_t panels = (values.size() + panel_elements - 1) / panel_elements;
        out.resize(panels * shape.panel_bytes());
        auto rest = std::span<std::byte>(out);
        while (!values.empty()) {
          const std::size_t count = std::min(panel_elements, values.size());
          kernels::pack_panel(shape, values.first(count), rest.first(shape.panel_bytes()));
          values = values.subspan(count);
          rest = rest.subspan(shape.panel_bytes());
        }
      });
}

std::string FusedTarget::own_norm(const std::vector<std::string>& inputs, double epsilon) {
  return node("Norm", inputs, kTextvec, {{"epsilon", static_cast<float>(epsilon)}});
}

Edge FusedTarget::own_attention(const std::vector<std::string>& inputs, std::size_t heads,
                                std::size_t key_value_heads, std::size_t width, bool causal) {
  return {node("Attention", inputs, kTextvec,
               {{"num_heads", static_cast<std::int64_t>(heads)},
                {"kv_num_heads", static_cast<std::int64_t>(key_value_heads)},
                {"causal", std::int64_t{causal}},
                {"coarse", std::int64_t{linears_ == Linears::Int8}}}),
          width,
          {}};
}

Edge FusedTarget::attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) {
  const std::string bias = joined(q.pending_bias, k.pending_bias, v.pending_bias, q.width);
  if (linears_ != Linears::Standard) {
    return own_attention({q.name, k.name, v.name, lengths_, bias}, heads, heads, v.width, false);
  }
  if (padding_mask_.empty()) {
    padding_mask_ = node("Cast", {"attention_mask"}, {}, {{"to", kInt32}});
  }
  return {node("MultiHeadAttention", {q.name, k.name, v.name, bias, padding_mask_}, kMicrosoft,
               {{"num_heads", static_cast<std::int64_t>(heads)}}),
          v.width,
          {}};
}

Edge FusedTarget::add_norm(const Edge& residual, const Edge& x, const NormNames& names) {
  const std::string gain = weight(names.weight, {x.width});
  const std::string shift = weight(names.bias, {x.width});
  std::vector<std::string> bias;
  if (!x.pending_bias.empty()) bias.push_back(weight(x.pending_bias, {x.width}));
  std::vector<std::string> inputs;
  if (linears_ != Linears::Standard) {
    inputs = {x.name, gain, shift, settled(residual)};
    inputs.insert(inputs.end(), bias.begin(), bias.end());
    return {own_norm(inputs, names.epsilon), x.width, {}};
  }
  inputs = {settled(residual), x.name, gain, shift};
  inputs.insert(inputs.end(), bias.begin(), bias.end());
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
  // The tanh formula is FastGelu's.
  std::vector<std::string> inputs{x.name};
  if (has_bias) inputs.push_back(weight(x.pending_bias, {x.width}));
  return {node("FastGelu", inputs, kMicrosoft), x.width, {}};
}

Edge FusedTarget::feed_forward(const Edge& x, const FeedForward& names) {
  if (linears_ == Linears::Standard) return Blocks::feed_forward(x, names);
  const auto type = packed_weights(std::array{names.up, names.down});
  const std::size_t hidden = names.up.in_features;
  const std::vector<std::string> inputs{settled(x),
                                        names.up.weight,
                                        weight(names.up.bias, {names.up.out_features}),
                                        names.down.weight,
                                        weight(names.down.bias, {hidden}),
                                        weight(names.norm.weight, {hidden}),
                                        weight(names.norm.bias, {hidden})};
  return {node("FeedForward", inputs, kTextvec,
               {{"weight_type", std::string(kernels::to_string(type))},
                {"hidden_size", static_cast<std::int64_t>(hidden)},
                {"intermediate_size", static_cast<std::int64_t>(names.up.out_features)},
                {"function", std::string(kernels::to_string(activation_of(names.function)))},
                {"epsilon", static_cast<float>(names.norm.epsilon)}}),
          hidden,
          {}};
}

void FusedTarget::output(const Edge& x) {
  if (!status_) return;
  if (in_form_) {
    result_of_form_ = {settled(x), x.width, {}, x.one_token};
  } else {
    declare_output(settled(x), x);
  }
}

void FusedTarget::declare_output(const std::string& name, const Edge& x) {
  const auto width = static_cast<std::int64_t>(x.width);
  if (x.one_token) {
    const std::string axis = list(places_.empty() ? 1 : 0);
    file_.node("Squeeze", std::array{name, axis}, std::array{std::string("sentence_embedding")});
    file_.output_float("sentence_embedding", {"batch", width});
    return;
  }
  file_.node("Identity", std::array{name}, std::array{std::string("last_hidden_state")});
  const bool packed = !places_.empty();
  file_.output_float("last_hidden_state",
                     {packed ? "one" : "batch", packed ? "tokens" : "length", width});
}

// Most texts are one piece, for which a loop would be copies for nothing.
void FusedTarget::for_all_lengths(std::size_t hidden_size, const Build& build) {
  if (linears_ == Linears::Standard) return build();
  count_tokens(hidden_size);
  const std::string condition = node("Less", {counts_.pieces, scalar(2)});
  one_piece_ = true;
  add_form(build);
  one_piece_ = false;
  add_form(build);
  if (!status_) return;
  const std::string name = "hidden_states";
  file_.branch(condition, {&name, 1});
  declare_output(name, *result_of_form_);
}

void FusedTarget::add_form(const Build& build) {
  const Counts outside = counts_;
  file_.begin_body();
  in_form_ = true;
  build();
  in_form_ = false;
  counts_ = outside;
  std::vector<BodyPort> results;
  if (status_) {
    results.push_back({result_of_form_->name,
                       TensorType::Float,
                       {"one", "tokens", static_cast<std::int64_t>(result_of_form_->width)}});
  }
  file_.end_body({}, results);
}

Edge FusedTarget::token_embeddings(const std::string& table, std::size_t vocabulary_size,
                                   std::size_t hidden_size) {
  return {node("Gather", {weight(table, {vocabulary_size, hidden_size}), ids_}), hidden_size, {}};
}

Edge FusedTarget::rms_norm(const Edge& x, const NormNames& names) {
  const std::vector<std::string> inputs{settled(x), weight(names.weight, {x.width})};
  if (linears_ != Linears::Standard) return like(x, own_norm(inputs, names.epsilon));
  return like(x,
              node("SimplifiedLayerNormalization", inputs, {},
                   {{"axis", std::int64_t{-1}}, {"epsilon", static_cast<float>(names.epsilon)}}));
}

Edge FusedTarget::add(const Edge& a, const Edge& b) {
  return like(a, node("Add", {settled(a), settled(b)}));
}

Edge FusedTarget::gated(const Edge& gate, const Edge& up) {
  if (linears_ != Linears::Standard) {
    const std::vector<std::string> inputs{settled(gate), "", settled(up)};  // no bias
    return like(gate, node("Activation", inputs, kTextvec, {{"function", std::string("silu")}}));
  }
  // QuickGelu is x * sigmoid(alpha * x), which is silu for 1.
  const std::string silu = node("QuickGelu", {settled(gate)}, kMicrosoft, {{"alpha", 1.0F}});
  return like(up, node("Mul", {silu, settled(up)}));
}

void FusedTarget::count_tokens(std::size_t width) {
  if (!counts_.length.empty()) return;
  counts_.batch = size_of("input_ids", 0);
  counts_.length = node("Squeeze", {size_of("input_ids", 1), list(0)});
  const std::string tokens =
      places_.empty() ? tokens_of_texts() : node("CumSum", {lengths_, scalar(0)});
  counts_.last_token = node("Sub", {tokens, scalar(1)});
  const auto work = piece_work_ / static_cast<std::int64_t>(width);
  const std::string fitting = node("Div", {scalar(work), node("Size", {"input_ids"})});
  const std::string small = node("Max", {fitting, scalar(kPieceTokensMin)});
  // GroupQueryAttention takes keys of earlier pieces for one text only. The planner makes no
  // batches so large that it matters; a long text runs alone.
  const std::string several =
      node("Greater", {node("Squeeze", {counts_.batch, list(0)}), scalar(1)});
  counts_.piece = node("Where", {several, counts_.length, small});
  const std::string rounded_up =
      node("Add", {counts_.length, node("Sub", {counts_.piece, scalar(1)})});
  counts_.pieces = node("Div", {rounded_up, counts_.piece});
}

Edge FusedTarget::last_tokens(const Edge& x) {
  count_tokens(x.width);
  std::string rows;
  if (places_.empty()) {
    const std::string indices = node(
        "Unsqueeze", {node("Unsqueeze", {counts_.last_token, list(1)}), list(2)});  // [batch, 1, 1]
    rows = node("GatherND", {settled(x), indices}, {}, {{"batch_dims", std::int64_t{1}}});
  } else {
    rows = node("Gather", {settled(x), counts_.last_token}, {}, {{"axis", std::int64_t{1}}});
  }
  Edge out = like(x, rows);
  out.one_token = true;
  return out;
}

std::string FusedTarget::empty(const std::vector<std::string>& shape) {
  return node("ConstantOfShape", {node("Concat", shape, {}, {{"axis", std::int64_t{0}}})});
}

std::int64_t FusedTarget::Piece::token_axis() const {
  return 1 + std::distance(key_shape.begin(), std::find(key_shape.begin(), key_shape.end(), 0));
}

std::vector<Dimension> FusedTarget::Piece::key_dimensions(const std::string& tokens) const {
  std::vector<Dimension> dimensions{"batch"};
  for (const std::int64_t size : key_shape) {
    dimensions.push_back(size == 0 ? Dimension(tokens) : Dimension(size));
  }
  return dimensions;
}

// Keys, values and the result begin empty and grow by a piece with every turn of the loop. A batch
// of short texts is one piece.
Edge FusedTarget::by_pieces(const Edge& x, const Layer& layer) {
  if (one_piece_) return layer(x);
  count_tokens(x.width);
  const std::string input = settled(x);
  const std::string name = "Loop_" + std::to_string(nodes_++);
  const std::string go_on_before = name + "_go_on";
  const std::string before = name + "_before";
  piece_ = {};
  piece_.index = name + "_index";
  piece_.past_key = name + "_past_key";
  piece_.past_value = name + "_past_value";

  file_.begin_body();
  const std::string begin = node("Mul", {piece_.index, counts_.piece});
  piece_.end = node("Min", {node("Add", {begin, counts_.piece}), counts_.length});
  const std::string first = node("Unsqueeze", {begin, list(0)});
  const std::string behind = node("Unsqueeze", {piece_.end, list(0)});
  const Edge result = layer({node("Slice", {input, first, behind, list(1)}), x.width, {}});
  const std::string after =
      node("Concat", {before, settled(result)}, {}, {{"axis", std::int64_t{1}}});
  const std::string go_on = node("Identity", {go_on_before});

  const auto width = static_cast<std::int64_t>(result.width);
  const std::vector<Dimension> of_past = piece_.key_dimensions(name + "_past");
  const std::vector<Dimension> of_present = piece_.key_dimensions(name + "_present");
  const BodyPort inputs[] = {{piece_.index, TensorType::Int64, {}},
                             {go_on_before, TensorType::Bool, {}},
                             {piece_.past_key, TensorType::Float, of_past},
                             {piece_.past_value, TensorType::Float, of_past},
                             {before, TensorType::Float, {"batch", name + "_past", width}}};
  const BodyPort outputs[] = {{go_on, TensorType::Bool, {}},
                              {piece_.present_key, TensorType::Float, of_present},
                              {piece_.present_value, TensorType::Float, of_present},
                              {after, TensorType::Float, {"batch", name + "_present", width}}};
  file_.end_body(inputs, outputs);

  std::vector<std::string> key_shape{counts_.batch};
  for (const std::int64_t size : piece_.key_shape) key_shape.push_back(list(size));
  const std::string nothing = empty(key_shape);
  const std::string no_result = empty({counts_.batch, list(0), list(width)});
  const std::string keys = name + "_keys";
  const std::string values = name + "_values";
  if (status_) {
    file_.loop(std::array<std::string, 5>{counts_.pieces, "", nothing, nothing, no_result},
               std::array{keys, values, name});
  }
  // ONNX Runtime keeps an output that nobody reads until the run ends: at 32,768 tokens that would
  // be gigabytes of keys and values. So the next loop reads from them how long the texts are.
  const std::string both =
      node("Min", {size_of(keys, piece_.token_axis()), size_of(values, piece_.token_axis())});
  counts_.length = node("Squeeze", {both, list(0)});
  return {name, result.width, {}};
}

std::string FusedTarget::head_norm(const Edge& x, std::size_t heads, std::size_t head_size,
                                   const NormNames& names) {
  const std::string shape = "heads " + std::to_string(heads);
  if (constants_.insert(shape).second) {
    file_.constant(shape,
                   std::array<std::int64_t, 4>{0, 0, static_cast<std::int64_t>(heads),
                                               static_cast<std::int64_t>(head_size)},
                   {4});
  }
  if (constants_.insert("joined heads").second) {
    file_.constant("joined heads", std::array<std::int64_t, 3>{0, 0, -1}, {3});
  }
  const Edge apart{node("Reshape", {settled(x), shape}), head_size, {}};
  return node("Reshape", {rms_norm(apart, names).name, "joined heads"});
}

void FusedTarget::rotary_tables(const CausalAttention& names) {
  if (!constants_.insert("rotary").second) return;
  const auto& [frequencies, scale] = names.rotary;
  const std::vector<std::size_t> shape{names.positions_max, frequencies.size()};
  const auto cosine = [](double angle) { return std::cos(angle); };
  const auto sine = [](double angle) { return std::sin(angle); };
  file_.weight("rotary_cosine", shape, rotary_table(frequencies, scale, cosine));
  file_.weight("rotary_sine", shape, rotary_table(frequencies, scale, sine));
}

Edge FusedTarget::own_causal_attention(const std::string& queries, std::string keys,
                                       std::string values, const CausalAttention& names) {
  std::string lengths = lengths_;
  if (!one_piece_) {
    lengths = node("Unsqueeze", {piece_.end, list(0)});
    const auto width = static_cast<std::int64_t>(names.key_value_heads * names.head_size);
    const std::vector<Attribute> by_tokens{{"axis", std::int64_t{1}}};
    keys = node("Concat", {piece_.past_key, keys}, {}, by_tokens);
    values = node("Concat", {piece_.past_value, values}, {}, by_tokens);
    piece_.present_key = keys;
    piece_.present_value = values;
    piece_.key_shape = {0, width};
  }
  return own_attention({queries, keys, values, lengths, "", "rotary_cosine", "rotary_sine"},
                       names.heads, names.key_value_heads, names.heads * names.head_size, true);
}

Edge FusedTarget::causal_attention(const Edge& q, const Edge& k, const Edge& v,
                                   const CausalAttention& names) {
  rotary_tables(names);
  const std::string queries = head_norm(q, names.heads, names.head_size, names.query_norm);
  const std::string keys = head_norm(k, names.key_value_heads, names.head_size, names.key_norm);
  const std::string values = settled(v);
  if (linears_ != Linears::Standard) return own_causal_attention(queries, keys, values, names);

  if (names.head_size % 16 != 0 && status_) {
    status_ = Error{ErrorCode::Unsupported, "heads of " + std::to_string(names.head_size) +
                                                " components; ONNX Runtime's attention takes "
                                                "multiples of 16"};
  }
  // The index of the last token to look at: in the first piece that of the text, so that padding
  // behind it costs nothing; later that of the piece. What padding sees there, nobody reads.
  const std::string last = node("Sub", {piece_.end, scalar(1)});
  const std::string is_first = node("Equal", {piece_.index, scalar(0)});
  const std::string own_last = node("Min", {counts_.last_token, last});
  const std::string last_seen =
      node("Cast", {node("Where", {is_first, own_last, last})}, {}, {{"to", kInt32}});
  const std::string tokens_seen = node("Cast", {piece_.end}, {}, {{"to", kInt32}});

  const std::string name = "GroupQueryAttention_" + std::to_string(nodes_++);
  piece_.present_key = name + "_key";
  piece_.present_value = name + "_value";
  const auto key_value_heads = static_cast<std::int64_t>(names.key_value_heads);
  piece_.key_shape = {key_value_heads, 0, static_cast<std::int64_t>(names.head_size)};
  const std::vector<std::string> inputs{queries,           keys,      values,      piece_.past_key,
                                        piece_.past_value, last_seen, tokens_seen, "rotary_cosine",
                                        "rotary_sine"};
  const std::vector<Attribute> attributes{{"num_heads", static_cast<std::int64_t>(names.heads)},
                                          {"kv_num_heads", key_value_heads},
                                          {"do_rotary", std::int64_t{1}}};
  if (status_) {
    file_.node("GroupQueryAttention", inputs,
               std::array{name, piece_.present_key, piece_.present_value}, kMicrosoft, attributes);
  }
  return {name, names.heads * names.head_size, {}};
}

}  // namespace textvec::graph
