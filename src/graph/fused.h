// The target `fused`: dynamic shapes and ONNX Runtime's fused operators, for processors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/blocks.h"
#include "graph/onnx_file.h"
#include "model/safetensors.h"

namespace textvec::graph {

// Inputs of the graph: input_ids and attention_mask, int64 [batch, length], padded on the right.
// Output: last_hidden_state, float [batch, length, width].
class FusedTarget final : public Blocks {
 public:
  // `weights` must outlive the OnnxFile: it is read when the file is written.
  explicit FusedTarget(const model::Weights& weights);

  Edge embeddings(const EmbeddingNames& names) override;
  Edge linear(const Edge& x, const LinearNames& names) override;
  Edge attention(const Edge& q, const Edge& k, const Edge& v, std::size_t heads) override;
  Edge add_norm(const Edge& residual, const Edge& x, const NormNames& names) override;
  Edge activation(const Edge& x, const std::string& function) override;
  void output(const Edge& x) override;
  Result<void> status() const override { return status_; }

  OnnxFile take_file() && { return std::move(file_); }

 private:
  // nullptr, and status_ set, when the tensor is missing or of another shape.
  const model::Tensor* find(const std::string& name, const std::vector<std::size_t>& shape);
  // Puts the tensor into the file under its own name, which is returned.
  std::string weight(const std::string& name, const std::vector<std::size_t>& shape);
  // Three vectors of the same size as one.
  std::string joined(const std::string& a, const std::string& b, const std::string& c,
                     std::size_t size_each);
  std::string node(std::string_view operation, const std::vector<std::string>& inputs,
                   std::string_view domain = {}, const std::vector<Attribute>& attributes = {});
  // Rows of the position table: as many as the batch is long, or one for each id.
  std::string first_rows(const std::string& table);
  std::string counted_rows(const EmbeddingNames& names);
  // The edge's tensor with its pending bias added.
  std::string settled(const Edge& x);

  const model::Weights& weights_;
  OnnxFile file_;
  Result<void> status_{};
  std::string padding_mask_{};  // int32 [batch, length], made at the first attention
  std::size_t nodes_ = 0;
};

}  // namespace textvec::graph
