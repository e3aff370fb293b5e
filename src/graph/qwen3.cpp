// In: a ModelSpec of the Qwen3 family. Out: its decoder, as blocks. See qwen3.h.
// The names are those of transformers' Qwen3Model.
#include "graph/qwen3.h"

#include <array>
#include <string>

namespace textvec::graph {
namespace {

constexpr const char* kTokens = "embed_tokens.weight";

// One decoder layer: what it is called, and what it computes.
class DecoderLayer {
 public:
  DecoderLayer(const model::Transformer& transformer, std::string base, Blocks& blocks)
      : transformer_(transformer), base_(std::move(base)), blocks_(blocks) {}

  Edge attend(const Edge& x) const {
    const std::size_t head_size = transformer_.head_size;
    const std::size_t wide = transformer_.heads * head_size;
    const std::size_t narrow = transformer_.key_value_heads * head_size;
    const std::size_t hidden = transformer_.hidden_size;
    const Edge normed = blocks_.rms_norm(x, norm("input_layernorm"));
    const auto qkv =
        blocks_.linears(normed, std::array{attention_linear("q_proj", hidden, wide),
                                           attention_linear("k_proj", hidden, narrow),
                                           attention_linear("v_proj", hidden, narrow)});
    CausalAttention attention;
    attention.heads = transformer_.heads;
    attention.key_value_heads = transformer_.key_value_heads;
    attention.head_size = head_size;
    attention.query_norm = norm("self_attn.q_norm");
    attention.key_norm = norm("self_attn.k_norm");
    attention.rotary = transformer_.rotary;
    attention.positions_max = transformer_.positions_max;
    return blocks_.causal_attention(qkv[0], qkv[1], qkv[2], attention);
  }

  // The rest of the layer: from its input and what attend() gave for it to its output.
  Edge finish(const Edge& x, const Edge& attended) const {
    const std::size_t hidden = transformer_.hidden_size;
    const std::size_t inner = transformer_.intermediate_size;
    const std::size_t wide = transformer_.heads * transformer_.head_size;
    const Edge projected = blocks_.linear(attended, attention_linear("o_proj", wide, hidden));
    const Edge sum = blocks_.add(x, projected);
    const Edge normed = blocks_.rms_norm(sum, norm("post_attention_layernorm"));
    const auto gate_and_up = blocks_.linears(
        normed,
        std::array{linear("mlp.gate_proj", hidden, inner), linear("mlp.up_proj", hidden, inner)});
    const Edge gated = blocks_.gated(gate_and_up[0], gate_and_up[1]);
    return blocks_.add(sum, blocks_.linear(gated, linear("mlp.down_proj", inner, hidden)));
  }

 private:
  NormNames norm(const char* name) const {
    return {base_ + name + ".weight", {}, transformer_.norm_epsilon};
  }

  LinearNames linear(const std::string& name, std::size_t in, std::size_t out) const {
    return {base_ + name + ".weight", {}, in, out};
  }

  LinearNames attention_linear(const std::string& name, std::size_t in, std::size_t out) const {
    LinearNames names = linear("self_attn." + name, in, out);
    if (transformer_.attention_bias) names.bias = base_ + "self_attn." + name + ".bias";
    return names;
  }

  const model::Transformer& transformer_;
  const std::string base_;
  Blocks& blocks_;
};

}  // namespace

void build_qwen3(const model::Transformer& transformer, Pooling pooling,
                 const model::Weights& weights, Blocks& blocks) {
  const std::string prefix = weights.prefix_of(kTokens, {"", "model.", "0.auto_model."});
  blocks.for_all_lengths(transformer.hidden_size, [&] {
    Edge x = blocks.token_embeddings(prefix + kTokens, transformer.vocabulary_size,
                                     transformer.hidden_size);
    for (std::size_t index = 0; index < transformer.layers; ++index) {
      const DecoderLayer layer(transformer, prefix + "layers." + std::to_string(index) + ".",
                               blocks);
      if (index + 1 == transformer.layers && pooling == Pooling::LastToken) {
        const Edge attended =
            blocks.by_pieces(x, [&](const Edge& piece) { return layer.attend(piece); });
        x = layer.finish(blocks.last_tokens(x), blocks.last_tokens(attended));
      } else {
        x = blocks.by_pieces(
            x, [&](const Edge& piece) { return layer.finish(piece, layer.attend(piece)); });
      }
    }
    blocks.output(blocks.rms_norm(x, {prefix + "norm.weight", {}, transformer.norm_epsilon}));
  });
}

}  // namespace textvec::graph
