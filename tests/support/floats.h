// In: a seed. Out: numbers, and threads of a test's own for kernels that share their work.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <thread>
#include <vector>

namespace textvec::testing {

using Floats = std::vector<float>;

// Normally distributed; the same for the same seed.
inline Floats random_floats(std::size_t count, unsigned seed, float spread = 1, float mean = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, spread);
  Floats values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The nearest bfloat16, ties to even; not for NaN.
inline float bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) & 0xFFFF0000U);
}

// A kernels::Parallel with a thread for each call.
inline void on_threads(std::size_t count, const std::function<void(std::size_t)>& function) {
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back([&function, i] { function(i); });
}

}  // namespace textvec::testing
