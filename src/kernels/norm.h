// In: rows of hidden states. Out: each row's LayerNorm or RMS norm, what stands before it added in
// the same pass, on the instructions that this processor has.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/parallel.h"

namespace textvec::kernels {

// With x = input + residual + bias:
// LayerNorm (arXiv 1607.06450): (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + shift.
// RMS norm (arXiv 1910.07467): x / sqrt(mean(x^2) + epsilon) * weight, when there is no shift.
struct NormArguments {
  const float* input = nullptr;     // [rows, width]
  const float* residual = nullptr;  // [rows, width]; nullptr: none
  const float* bias = nullptr;      // [width]; nullptr: none
  const float* weight = nullptr;    // [width]
  const float* shift = nullptr;     // [width]; nullptr: an RMS norm
  float epsilon = 0;
  float* output = nullptr;  // [rows, width], apart from what is read
  std::size_t rows = 0;
  std::size_t width = 0;
};

// A row's result is the same in any company, bit for bit. Thread-safe.
void norm(const NormArguments& arguments, const Parallel& parallel);

// For tests: those of every instruction set that this processor can run. Not thread-safe.
using NormRow = void (*)(const NormArguments& arguments, std::size_t row);
std::vector<NormRow> usable_norm_rows();

}  // namespace textvec::kernels
