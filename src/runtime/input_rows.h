// In: a text's token ids. Out: the rows that a static graph begins with, from the tables in the
// model's mapped files: token + position + type 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/blocks.h"
#include "model/safetensors.h"
#include "textvec/result.h"

namespace textvec::runtime {

class InputRows {
 public:
  // `weights` must outlive it. Errors: as Weights::get().
  static Result<InputRows> open(const model::Weights& weights, const graph::EmbeddingNames& names);

  std::size_t width() const noexcept { return names_.hidden_size; }
  // Writes ids.size() rows. Errors: InvalidArgument (an id or a position that has no row).
  Result<void> write(std::span<const std::int64_t> ids, std::span<float> out) const;

 private:
  InputRows() = default;

  graph::EmbeddingNames names_{};
  model::Tensor tokens_{};
  model::Tensor positions_{};  // of encoders
  std::vector<float> type_{};  // its row of type 0
};

}  // namespace textvec::runtime
