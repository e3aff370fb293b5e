// In: rows of a layer's outputs. Out: an activation of them, the layer's bias added before and a
// gate's other half multiplied behind in the same pass, on the instructions that this processor
// has.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "kernels/parallel.h"

namespace textvec::kernels {

// Gelu (arXiv 1606.08415): x / 2 * (1 + erf(x / sqrt(2))).
// TanhGelu, its approximation there: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
// Silu: x / (1 + exp(-x)).
// Relu: x, and 0 below 0.
enum class Activation : unsigned char { Gelu, TanhGelu, Silu, Relu };

// "gelu", "gelu_tanh", "silu", "relu"
std::string_view to_string(Activation function) noexcept;
std::optional<Activation> activation_function(std::string_view name) noexcept;  // of that

// function(input + bias) * factor.
struct ActivationArguments {
  Activation function = Activation::Gelu;
  const float* input = nullptr;   // [rows, width]
  const float* bias = nullptr;    // [width]; nullptr: none
  const float* factor = nullptr;  // [rows, width]; nullptr: none
  float* output = nullptr;        // [rows, width]; may be the input or the factor
  std::size_t rows = 0;
  std::size_t width = 0;
};

// Apart from the factor within 2e-7 + 2e-7 |y| of the formula's y at input + bias in float32. A
// row's result is the same in any company, bit for bit. Thread-safe.
void activation(const ActivationArguments& arguments, const Parallel& parallel);

// For tests: those of every instruction set that this processor can run. Not thread-safe.
using ActivationRow = void (*)(const ActivationArguments& arguments, std::size_t row);
std::vector<ActivationRow> usable_activation_rows();

}  // namespace textvec::kernels
