// The target `static`: one shape, and only operators that ONNX Runtime's CoreML provider takes as
// an ML program, so that the whole graph is one partition. docs/coreml.md says why each is as it
// is.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graph/blocks.h"
#include "graph/onnx_file.h"
#include "model/safetensors.h"
#include "textvec/options.h"

namespace textvec::graph {

inline constexpr const char* kEmbeddingsInput = "token_embeddings";
inline constexpr const char* kBiasInput = "attention_bias";
inline constexpr const char* kLastTokenInput = "last_token";

// Inputs of the graph, all float:
//   token_embeddings [texts * tokens, width]: what embeddings() names, added up and not normalised
//   attention_bias [texts, tokens]: 0 for a token, kMasked for padding; encoders only
//   last_token [texts, tokens]: 1 at the text's last token, else 0; when the graph pools
// Output: as FusedTarget's. Texts are padded on the right.
class StaticTarget final : public Blocks {
 public:
  // Added to an attention score, leaves nothing of it, and is a 16-bit float.
  static constexpr float kMasked = -1e4F;

  // With `type` Half weights and activations are 16-bit floats, inputs and output still float.
  // `weights` must outlive the OnnxFile: it is read when the file is written. The data is the same
  // for every bucket; what a bucket has of its own is inside the .onnx.
  StaticTarget(const model::Weights& weights, Bucket bucket, TensorType type);

  Edge embeddings(const EmbeddingNames& names) override;
  std::vector<Edge> linears(const Edge& x, std::span<const LinearNames> layers) override;
  Edge attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) override;
  Edge add_norm(const Edge& residual, const Edge& x, const NormNames& names) override;
  Edge activation(const Edge& x, const std::string& function) override;
  void output(const Edge& x) override;
  Edge token_embeddings(const std::string& table, std::size_t vocabulary_size,
                        std::size_t hidden_size) override;
  Edge rms_norm(const Edge& x, const NormNames& names) override;
  Edge add(const Edge& a, const Edge& b) override;
  Edge gated(const Edge& gate, const Edge& up) override;
  void for_all_lengths(std::size_t /*hidden_size*/, const Build& build) override { build(); }
  Edge by_pieces(const Edge& x, const Layer& layer) override { return layer(x); }
  Edge causal_attention(const Edge& q, const Edge& k, const Edge& v,
                        const CausalAttention& names) override;
  Edge last_tokens(const Edge& x) override;
  Result<void> status() const override { return status_; }

  // Where the rows of token_embeddings come from.
  const EmbeddingNames& embedding_names() const { return embedding_names_; }
  OnnxFile take_file() && { return std::move(file_); }

 private:
  // Sets status_ when the tensor is missing or of another shape.
  const model::Tensor* find(const std::string& name, const std::vector<std::size_t>& shape);
  std::string weight(const std::string& name, const std::vector<std::size_t>& shape);
  std::string node(std::string_view operation, const std::vector<std::string>& inputs,
                   const std::vector<Attribute>& attributes = {});
  Edge one_linear(const Edge& x, const LinearNames& names);
  // An input of the graph as a tensor of `shape` and of the graph's type.
  std::string input(const std::string& name, const std::vector<Dimension>& given,
                    const std::vector<std::size_t>& shape);
  std::string number(float value);
  std::string list(const std::vector<std::int64_t>& values);
  std::string reshaped(const std::string& x, const std::vector<std::size_t>& shape);
  std::string transposed(const std::string& x, const std::vector<std::int64_t>& order);
  // x / sqrt(mean(x^2) + epsilon), computed on x * scale, whose squares a 16-bit float can hold.
  std::string unit_mean_square(const std::string& x, double epsilon, float scale);
  std::string layer_norm(const std::string& x, const NormNames& names, std::size_t width,
                         float scale);
  // [texts, tokens, heads * head_size] -> [texts, heads, tokens, head_size]
  std::string heads_apart(const std::string& x, std::size_t heads, std::size_t head_size);
  std::string heads_together(const std::string& x, std::size_t heads, std::size_t head_size);
  std::string turned(const std::string& x, const CausalAttention& names);
  // softmax(q k^T / sqrt(head_size) + bias) v over the last two axes.
  std::string attend(const std::string& q, const std::string& k, const std::string& v,
                     std::size_t head_size, const std::string& bias);
  // Heads' RMS norm and rotation, [texts, heads, tokens, head_size].
  std::string turned_heads(const Edge& x, std::size_t heads, const NormNames& norm,
                           const CausalAttention& names);
  void rotary_tables(const CausalAttention& names);
  std::string causal_bias(std::size_t repeats);

  const model::Weights& weights_;
  const Bucket bucket_;
  const TensorType type_;
  OnnxFile file_;
  Result<void> status_{};
  EmbeddingNames embedding_names_{};
  std::string embedded_{};  // the edge that token_embeddings gives
  std::string bias_{};
  std::string last_token_{};
  std::set<std::string> constants_{};
  std::size_t nodes_ = 0;
};

}  // namespace textvec::graph
