// In: the model's vector of one text. Out: the caller's vector. See vector.h.
#include "vectors/vector.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace textvec::vectors {

Result<void> finish_vector(std::span<const float> vector, bool normalize, std::span<float> out) {
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      return Error{ErrorCode::NonFinite,
                   "the model gave a value that is not a finite number (component " +
                       std::to_string(i) + ")"};
    }
  }
  double sum = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto value = static_cast<double>(vector[i]);
    sum += value * value;
  }
  const double norm = std::sqrt(sum);
  if (norm < 1e-12) return Error{ErrorCode::NonFinite, "the model gave a vector of zeros"};
  const double scale = normalize ? 1.0 / norm : 1.0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(static_cast<double>(vector[i]) * scale);
  }
  return {};
}

void weighted_mean(std::span<const float> vectors, std::span<const std::uint32_t> weights,
                   std::span<float> out) {
  double total = 0;
  for (const std::uint32_t weight : weights) total += weight;
  for (std::size_t column = 0; column < out.size(); ++column) {
    double sum = 0;
    for (std::size_t row = 0; row < weights.size(); ++row) {
      sum += weights[row] * static_cast<double>(vectors[row * out.size() + column]);
    }
    out[column] = static_cast<float>(sum / total);
  }
}

}  // namespace textvec::vectors
