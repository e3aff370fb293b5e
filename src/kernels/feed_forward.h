// In: rows of hidden states. Out: an encoder's feed-forward network of them, with the residual and
// the norm behind it, on the instructions that this processor has.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/activation.h"
#include "kernels/linear.h"
#include "kernels/parallel.h"

namespace textvec::kernels {

// LayerNorm(x + down * function(up * x + up_bias) + down_bias) (arXiv 1706.03762, section 3.3, with
// the norm behind): what linear(), activation(), linear() and norm() give one after the other. Some
// rows at a time go through all of it, so that what is between stays in the cache, and threads meet
// once.
struct FeedForwardArguments {
  WeightType type = WeightType::F32;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  const float* input = nullptr;  // [rows, hidden_size]
  std::size_t rows = 0;
  const std::byte* up = nullptr;     // PackedShape{type, hidden_size, intermediate_size}
  const float* up_bias = nullptr;    // [intermediate_size]
  const std::byte* down = nullptr;   // PackedShape{type, intermediate_size, hidden_size}
  const float* down_bias = nullptr;  // [hidden_size]
  Activation function = Activation::Gelu;
  const float* norm_weight = nullptr;  // [hidden_size]
  const float* norm_shift = nullptr;   // [hidden_size]
  float epsilon = 0;
  float* output = nullptr;             // [rows, hidden_size], apart from what is read
  Rounding rounding = Rounding::Fine;  // of Int8
  std::size_t threads = 1;             // that `parallel` has
};

// A row's result is the same in any company, bit for bit. Thread-safe. `scratch` has
// feed_forward_scratch_bytes(), aligned to 64.
void feed_forward(const FeedForwardArguments& arguments, std::span<std::byte> scratch,
                  const Parallel& parallel);
std::size_t feed_forward_scratch_bytes(const FeedForwardArguments& arguments) noexcept;

}  // namespace textvec::kernels
