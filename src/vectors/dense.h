// In: a pooled vector. Out: activation(weight * vector + bias): sentence-transformers' Dense
// module.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/spec.h"
#include "textvec/result.h"

namespace textvec::vectors {

class Dense {
 public:
  // Reads linear.weight [out, in] and linear.bias [out] of spec.folder's safetensors into memory.
  // Errors: NotFound, BadModel (tensor and shapes named).
  static Result<Dense> load(const model::DenseSpec& spec);

  // REQUIRES: vector.size() == in_features.
  std::vector<float> apply(std::span<const float> vector) const;

 private:
  model::DenseSpec spec_{};
  std::vector<float> weight_{};
  std::vector<float> bias_{};
};

}  // namespace textvec::vectors
