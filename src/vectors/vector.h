// In: the model's vector of one text. Out: the caller's vector: cut, checked, of length 1.
#pragma once

#include <cstdint>
#include <span>

#include "textvec/result.h"

namespace textvec::vectors {

// Copies the first out.size() components, and divides them by their Euclidean norm when
// `normalize`. NonFinite when the vector holds NaN or infinity anywhere, or when what is kept is
// all zero (norm below 1e-12, as in sentence-transformers' Normalize): such a row must never reach
// an index. REQUIRES: out.size() <= vector.size().
Result<void> finish_vector(std::span<const float> vector, bool normalize, std::span<float> out);

// The mean of the rows of `vectors` [weights.size(), out.size()], weighted, in the order of the
// rows and summed in double. REQUIRES: the weights' sum is above 0.
void weighted_mean(std::span<const float> vectors, std::span<const std::uint32_t> weights,
                   std::span<float> out);

}  // namespace textvec::vectors
