// The vocabulary between architectures and targets: an architecture (bert.cpp) is written once with
// these blocks; a target (fused.cpp) says what nodes each block becomes.
#pragma once

#include <cstddef>
#include <string>

#include "textvec/result.h"

namespace textvec::graph {

// A tensor that flows through the graph. A target may leave a linear layer's bias pending, so that
// the next operator can take it in; nobody but the target looks inside.
struct Edge {
  std::string name{};
  std::size_t width = 0;       // size of the last axis
  std::string pending_bias{};  // [width], by its name in the model's files; empty: none
};

// Names of tensors in the model's files.
struct LinearNames {
  std::string weight{};  // [out_features, in_features]
  std::string bias{};    // [out_features]
  std::size_t in_features = 0;
  std::size_t out_features = 0;
};

struct NormNames {
  std::string weight{};  // [hidden_size]
  std::string bias{};    // [hidden_size]
  double epsilon = 0;
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
  virtual Edge linear(const Edge& x, const LinearNames& names) = 0;
  // softmax(q k^T / sqrt(head size)) v over the tokens that are no padding, in both directions.
  virtual Edge attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) = 0;
  // LayerNorm(residual + x).
  virtual Edge add_norm(const Edge& residual, const Edge& x, const NormNames& names) = 0;
  // `function` as in config.json: gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu.
  virtual Edge activation(const Edge& x, const std::string& function) = 0;
  // The graph's result: hidden states [batch, length, width].
  virtual void output(const Edge& x) = 0;

  // The first thing that went wrong: a tensor that is missing or of another shape. Blocks after it
  // do nothing, so that an architecture need not look in between.
  virtual Result<void> status() const = 0;
};

}  // namespace textvec::graph
