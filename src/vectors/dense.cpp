// In: a pooled vector. Out: activation(weight * vector + bias). See dense.h.
#include "vectors/dense.h"

#include <array>
#include <cmath>

#include "model/safetensors.h"

namespace textvec::vectors {

Result<Dense> Dense::load(const model::DenseSpec& spec) {
  auto weights = model::Weights::open(spec.folder);
  if (!weights) return weights.error();

  Dense dense;
  dense.spec_ = spec;
  const std::array<std::size_t, 2> weight_shape{spec.out_features, spec.in_features};
  const auto weight = weights->get("linear.weight", weight_shape);
  if (!weight) return weight.error();
  dense.weight_.resize(weight->elements());
  weight->copy_to(0, dense.weight_);

  dense.bias_.assign(spec.out_features, 0.0F);
  if (spec.bias) {
    const std::array<std::size_t, 1> bias_shape{spec.out_features};
    const auto bias = weights->get("linear.bias", bias_shape);
    if (!bias) return bias.error();
    bias->copy_to(0, dense.bias_);
  }
  return dense;
}

std::vector<float> Dense::apply(std::span<const float> vector) const {
  std::vector<float> out(spec_.out_features);
  for (std::size_t row = 0; row < out.size(); ++row) {
    const float* weight = weight_.data() + row * vector.size();
    double sum = static_cast<double>(bias_[row]);
    for (std::size_t column = 0; column < vector.size(); ++column) {
      sum += static_cast<double>(weight[column]) * static_cast<double>(vector[column]);
    }
    out[row] =
        static_cast<float>(spec_.activation == model::DenseActivation::Tanh ? std::tanh(sum) : sum);
  }
  return out;
}

}  // namespace textvec::vectors
