// The target `fused`: dynamic shapes and ONNX Runtime's fused operators, for processors.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/blocks.h"
#include "graph/onnx_file.h"
#include "kernels/linear.h"
#include "model/safetensors.h"

namespace textvec::graph {

// Inputs of the graph: input_ids and attention_mask, int64 [batch, length], padded on the right.
// Output: last_hidden_state, float [batch, length, width], or sentence_embedding, [batch, width],
// when the graph takes the last token itself. With textvec's own operators padding is left out at
// the start: edges are [1, all tokens, width], and so are the hidden states.
class FusedTarget final : public Blocks {
 public:
  // Work of one piece of a long text: tokens of the piece x tokens of the batch x width. At 32,768
  // tokens some tenths of a second on two cores, which is how soon a stop is heeded.
  static constexpr std::int64_t kPieceWork = std::int64_t{1} << 32;
  static constexpr std::int64_t kPieceTokensMin = 64;  // fewer would read the weights for little

  // Who computes the linear layers, the norms and the activations. Standard: ONNX Runtime, so that
  // any program runs the file. Exact: textvec's own operators, on the weights as they are; faster,
  // and bfloat16 weights stay half as large. Int8: the same on rounded weights.
  enum class Linears : unsigned char { Standard, Exact, Int8 };

  // `weights` must outlive the OnnxFile: it is read when the file is written.
  explicit FusedTarget(const model::Weights& weights, Linears linears = Linears::Standard,
                       std::int64_t piece_work = kPieceWork);

  Edge embeddings(const EmbeddingNames& names) override;
  std::vector<Edge> linears(const Edge& x, std::span<const LinearNames> layers) override;
  Edge attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) override;
  Edge add_norm(const Edge& residual, const Edge& x, const NormNames& names) override;
  Edge activation(const Edge& x, const std::string& function) override;
  Edge feed_forward(const Edge& x, const FeedForward& names) override;
  void output(const Edge& x) override;
  void for_all_lengths(std::size_t hidden_size, const Build& build) override;
  Edge token_embeddings(const std::string& table, std::size_t vocabulary_size,
                        std::size_t hidden_size) override;
  Edge rms_norm(const Edge& x, const NormNames& names) override;
  Edge add(const Edge& a, const Edge& b) override;
  Edge gated(const Edge& gate, const Edge& up) override;
  Edge by_pieces(const Edge& x, const Layer& layer) override;
  Edge causal_attention(const Edge& q, const Edge& k, const Edge& v,
                        const CausalAttention& names) override;
  Edge last_tokens(const Edge& x) override;
  Result<void> status() const override { return status_; }

  OnnxFile take_file() && { return std::move(file_); }

 private:
  // nullptr, and status_ set, when the tensor is missing or of another shape.
  const model::Tensor* find(const std::string& name, const std::vector<std::size_t>& shape);
  // Whether the file shall get it now: it has it once, however many forms the graph has.
  bool is_new(const std::string& weight_name) {
    return weights_written_.insert(weight_name).second;
  }
  // Puts the tensor into the file under its own name, which is returned.
  std::string weight(const std::string& name, const std::vector<std::size_t>& shape);
  // Three vectors of the same size as one.
  std::string joined(const std::string& a, const std::string& b, const std::string& c,
                     std::size_t size_each);
  // ONNX calls it a tensor of this shape without elements.
  std::string empty(const std::vector<std::string>& shape);
  std::string node(std::string_view operation, const std::vector<std::string>& inputs,
                   std::string_view domain = {}, const std::vector<Attribute>& attributes = {});
  // One number as a constant of the graph; its name.
  std::string scalar(std::int64_t value);
  std::string list(std::int64_t value);
  // The size of one of the tensor's axes: [1].
  std::string size_of(const std::string& tensor, std::int64_t axis);
  // What `build` builds, as a body whose result is in result_of_form_.
  void add_form(const Build& build);
  // `name` is x with nothing pending.
  void declare_output(const std::string& name, const Edge& x);
  // Counts of the batch that pieces and last tokens need, made once. `width` is a token's.
  void count_tokens(std::size_t width);
  // Each head's RMS norm, on [batch, length, heads * head_size].
  std::string head_norm(const Edge& x, std::size_t heads, std::size_t head_size,
                        const NormNames& names);
  // Cosine and sine of every position and frequency.
  void rotary_tables(const CausalAttention& names);
  // Leaves padding out.
  void pack();
  std::string tokens_of_texts();  // [batch]
  // Rows of the position table: as many as the batch is long, or one for each id.
  std::string first_rows(const std::string& table);
  std::string counted_rows(const EmbeddingNames& names);
  // The edge's tensor with its pending bias added.
  std::string settled(const Edge& x);

  // How the layers' weights are kept, which are put into the file in that way.
  kernels::WeightType packed_weights(std::span<const LinearNames> layers);
  // linears() by textvec's own operator: the outputs' names.
  std::vector<std::string> own_linears(const std::string& input,
                                       std::span<const LinearNames> layers);
  void packed_weight(const LinearNames& layer, const model::Tensor& tensor,
                     kernels::WeightType type);
  // By textvec's own operator, where the graph may have it: of the inputs of textvec.Norm.
  std::string own_norm(const std::vector<std::string>& inputs, double epsilon);
  Edge own_causal_attention(const std::string& queries, std::string keys, std::string values,
                            const CausalAttention& names);
  // By textvec's own operator: of the inputs of textvec.Attention.
  Edge own_attention(const std::vector<std::string>& inputs, std::size_t heads,
                     std::size_t key_value_heads, std::size_t width, bool causal);

  const model::Weights& weights_;
  const Linears linears_;
  const std::int64_t piece_work_;
  OnnxFile file_;
  Result<void> status_{};
  std::string ids_ = "input_ids";  // of the edges' tokens
  std::string places_{};           // [1, all tokens]: where they stand in the matrices
  std::string lengths_{};          // [batch]: each text's tokens
  std::string padding_mask_{};     // int32 [batch, length], made at the first attention
  std::set<std::string> constants_{};
  std::set<std::string> weights_written_{};
  bool in_form_ = false;    // one of several forms is being built
  bool one_piece_ = false;  // and it is that for texts of one piece
  std::optional<Edge> result_of_form_{};

  struct Counts {
    std::string batch{};       // [1]
    std::string length{};      // scalar: of the longest text
    std::string last_token{};  // [batch]: its index in each text, or among all tokens
    std::string piece{};       // scalar: tokens of a piece
    std::string pieces{};      // scalar: how many
  };
  Counts counts_{};
  // Of the loop over pieces that is being built.
  struct Piece {
    std::string index{};     // scalar: how many pieces came before
    std::string end{};       // scalar: the index behind its last token
    std::string past_key{};  // of the tokens before
    std::string past_value{};
    std::string present_key{};  // the same with its own tokens
    std::string present_value{};
    std::vector<std::int64_t> key_shape{};  // behind the batch; 0 stands for the tokens

    std::int64_t token_axis() const;
    std::vector<Dimension> key_dimensions(const std::string& tokens) const;
  };
  Piece piece_{};
  std::size_t nodes_ = 0;
};

}  // namespace textvec::graph
