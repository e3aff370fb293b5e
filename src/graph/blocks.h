// The vocabulary between architectures and targets: an architecture (bert.cpp) is written once with
// these blocks; a target (fused.cpp) says what nodes each block becomes.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/rotary.h"
#include "textvec/result.h"

namespace textvec::graph {

// A tensor that flows through the graph. A target may leave a linear layer's bias pending, so that
// the next operator can take it in; nobody but the target looks inside.
struct Edge {
  std::string name{};
  std::size_t width = 0;       // size of the last axis
  std::string pending_bias{};  // [width], by its name in the model's files; empty: none
  bool one_token = false;      // of each text, its last
};

// Another tensor of the same shape, with nothing pending.
inline Edge like(const Edge& x, std::string name) {
  return {std::move(name), x.width, {}, x.one_token};
}

// Names of tensors in the model's files.
struct LinearNames {
  std::string weight{};  // [out_features, in_features]
  std::string bias{};    // [out_features]; empty: none
  std::size_t in_features = 0;
  std::size_t out_features = 0;
};

struct NormNames {
  std::string weight{};  // [width]
  std::string bias{};    // [width]; empty: an RMS norm, which has none
  double epsilon = 0;
};

// A causal attention with rotary positions, as decoders have it.
struct CausalAttention {
  std::size_t heads = 0;
  std::size_t key_value_heads = 0;
  std::size_t head_size = 0;
  NormNames query_norm{};  // RMS norm of each head; weight [head_size]
  NormNames key_norm{};
  model::Rotary rotary{};
  std::size_t positions_max = 0;
};

struct EmbeddingNames {
  std::string tokens{};     // [vocabulary_size, hidden_size]
  std::string positions{};  // [positions_max, hidden_size]
  std::string types{};      // [type_vocabulary_size, hidden_size]; empty: the family has none
  std::size_t vocabulary_size = 0;
  std::size_t positions_max = 0;
  // Row of the first token's position. Above 0, positions count the ids other than
  // position_offset - 1, which is the padding's id and row.
  std::size_t position_offset = 0;
  std::size_t type_vocabulary_size = 0;
  std::size_t hidden_size = 0;
  NormNames norm{};
};

class Blocks {
 public:
  virtual ~Blocks() = default;

  // Token + position + type 0, normalised: [batch, length, hidden_size].
  virtual Edge embeddings(const EmbeddingNames& names) = 0;
  // weight * x + bias of each of the layers, which read the same input.
  virtual std::vector<Edge> linears(const Edge& x, std::span<const LinearNames> layers) = 0;
  Edge linear(const Edge& x, const LinearNames& layer) { return linears(x, {&layer, 1}).front(); }
  // softmax(q k^T / sqrt(head size)) v over the tokens that are no padding, in both directions.
  virtual Edge attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) = 0;
  // LayerNorm(residual + x).
  virtual Edge add_norm(const Edge& residual, const Edge& x, const NormNames& names) = 0;
  // `function` as in config.json: gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu.
  virtual Edge activation(const Edge& x, const std::string& function) = 0;
  // add_norm(x, down(function(up(x)))), which a target may have an operator for.
  struct FeedForward {
    LinearNames up{};
    std::string function{};
    LinearNames down{};
    NormNames norm{};
  };
  virtual Edge feed_forward(const Edge& x, const FeedForward& names) {
    const Edge inner = activation(linear(x, names.up), names.function);
    return add_norm(x, linear(inner, names.down), names.norm);
  }
  // The graph's result: hidden states [batch, length, width], or as the target has them without
  // padding; or [batch, width] of last_tokens().
  virtual void output(const Edge& x) = 0;

  // What decoders need besides:
  // Builds all of the graph, from the tokens to output(). A target calls `build` once for each form
  // that it has, as for short and for long texts.
  using Build = std::function<void()>;
  virtual void for_all_lengths(std::size_t hidden_size, const Build& build) = 0;
  // A row of the table for each token.
  virtual Edge token_embeddings(const std::string& table, std::size_t vocabulary_size,
                                std::size_t hidden_size) = 0;
  // x / sqrt(mean(x^2) + epsilon) * weight (arXiv 1910.07467).
  virtual Edge rms_norm(const Edge& x, const NormNames& names) = 0;
  virtual Edge add(const Edge& a, const Edge& b) = 0;
  // silu(gate) * up.
  virtual Edge gated(const Edge& gate, const Edge& up) = 0;
  // Runs `layer` over pieces of the text's length, in order, and puts the results together, so that
  // a text of any length needs little memory and can be stopped between two pieces. `layer` must
  // hold exactly one causal_attention(), and nothing else that looks at other tokens.
  using Layer = std::function<Edge(const Edge& piece)>;
  virtual Edge by_pieces(const Edge& x, const Layer& layer) = 0;
  // Each token attends to itself and to those before it. Only inside by_pieces().
  virtual Edge causal_attention(const Edge& q, const Edge& k, const Edge& v,
                                const CausalAttention& names) = 0;
  // The last token's row of each text: [batch, 1, width].
  virtual Edge last_tokens(const Edge& x) = 0;

  // The first thing that went wrong: a tensor that is missing or of another shape. Blocks after it
  // do nothing, so that an architecture need not look in between.
  virtual Result<void> status() const = 0;
};

}  // namespace textvec::graph
