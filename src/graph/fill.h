// In: a tensor of the model's files, or numbers. Out: a Fill, which writes them into the ONNX file.
#pragma once

#include <string>
#include <vector>

#include "graph/onnx_file.h"
#include "model/safetensors.h"
#include "textvec/result.h"

namespace textvec::graph {

// nullptr, and `status` an error, when the tensor is missing or of another shape, or when `status`
// was one before.
const model::Tensor* find_tensor(const model::Weights& weights, const std::string& name,
                                 const std::vector<std::size_t>& shape, Result<void>& status);

Fill copied(const model::Tensor& tensor);
// [out_features, in_features] as its transpose, because ONNX's MatMul takes
// [in_features, out_features].
Fill transposed(const model::Tensor& tensor);
// A row for each position: `function` of its angle at each frequency, times `scale`. The angle is a
// float, as in transformers: its rounding is part of what models were trained with.
Fill rotary_table(std::vector<float> frequencies, float scale, double (*function)(double));

}  // namespace textvec::graph
