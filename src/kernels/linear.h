// In: rows of activations and a weight matrix, packed. Out: their product, on the instructions that
// this processor has. What a text costs on a processor is spent here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/parallel.h"

namespace textvec::kernels {

// How weights are kept. Activations come and go as float32.
enum class WeightType : std::uint8_t {
  F32,
  BF16,  // upper halves of float32: exact for models that were trained so
  Int8,  // symmetric, one scale for each out feature
};

std::string_view to_string(WeightType type) noexcept;                   // "f32", "bf16", "int8"
std::optional<WeightType> weight_type(std::string_view name) noexcept;  // of that

// A matrix [out_features, in_features], as Hugging Face keeps it, packed for the product with rows
// of activations: panels of 16 out features one behind another, each in the order of reading.
struct PackedShape {
  WeightType type = WeightType::F32;
  std::size_t in_features = 0;
  std::size_t out_features = 0;

  static constexpr std::size_t kPanelColumns = 16;

  std::size_t panels() const noexcept { return (out_features + kPanelColumns - 1) / kPanelColumns; }
  std::size_t panel_bytes() const noexcept;  // a multiple of 64
  std::size_t bytes() const noexcept { return panels() * panel_bytes(); }
};

// Packs one panel: `rows` are its out features, at most 16, [rows, in_features] row-major. What is
// missing to 16 is filled with zeros. `out` has panel_bytes().
void pack_panel(const PackedShape& shape, std::span<const float> rows, std::span<std::byte> out);

// How finely Int8 rounds activations. Coarse is 8 bits, which VNNI and NEON's dot products take;
// Fine as many as 32-bit sums of the row allow, up to 16, at half of Coarse's speed there and at
// no cost on AVX2.
enum class Rounding : std::uint8_t { Coarse, Fine };
Rounding preferred_rounding() noexcept;

struct Tiles;

struct LinearOutput {
  const std::byte* weights = nullptr;  // PackedShape::bytes()
  std::size_t out_features = 0;
  float* output = nullptr;  // [rows, out_features]
};

struct LinearArguments {
  WeightType type = WeightType::F32;
  std::size_t in_features = 0;
  const float* input = nullptr;  // [rows, in_features]
  std::size_t rows = 0;
  std::span<const LinearOutput> outputs{};  // layers of the same input, which is prepared once
  Rounding rounding = Rounding::Fine;       // of Int8
  std::size_t threads = 1;                  // that `parallel` has
  const Tiles* tiles = nullptr;             // nullptr: the best; see tiles.h
};

// Each output = input * its weights^T. A row's result is the same in any company, bit for bit. Int8
// scales each row of activations by its own largest magnitude. Thread-safe.
// `scratch` has linear_scratch_bytes(), aligned to 64.
void linear(const LinearArguments& arguments, std::span<std::byte> scratch,
            const Parallel& parallel);
std::size_t linear_scratch_bytes(const LinearArguments& arguments) noexcept;

// The instruction set that linear() runs on: "AVX2", "AVX3_DL", "NEON", ...
std::string_view instruction_set() noexcept;

}  // namespace textvec::kernels
