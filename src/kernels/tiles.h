// In: a tile's activations and a panel's weights. Out: the tile of the product. The inner loops of
// linear(), one set for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/linear.h"

namespace textvec::kernels {

constexpr std::size_t rounded_up(std::size_t value, std::size_t step) noexcept {
  return (value + step - 1) / step * step;
}

// The least distance of rows of so many bytes. At an even number of the cache's lines, above all a
// power of two, they would stand in each other's place in the cache.
constexpr std::size_t odd_lines(std::size_t bytes) noexcept {
  return ((bytes + 63) / 64 | 1U) * 64;
}

// Behind the weights of an Int8 panel.
struct PanelTail {
  float scales[PackedShape::kPanelColumns];
  std::int32_t sums[PackedShape::kPanelColumns];  // of the column's weights
};

// One tile against one panel, two neighbours, or a part of them, added to what `output` has when
// `add` is set.
struct Step {
  // F32, BF16: a float for each row and depth. Int8: a row's numbers one behind another. Products
  // of bfloat16: a word of two numbers for each row and depth, and of weights for each column and
  // depth; they fetch nothing ahead.
  const std::byte* input = nullptr;
  std::size_t input_row = 0;    // bytes from one row to the next
  std::size_t input_depth = 0;  // bytes from one depth to the next
  const std::byte* weights = nullptr;
  std::size_t weights_depth = 0;     // bytes from one depth's 16 columns to the next's
  std::size_t beside = 0;            // of two panels: bytes from one's weights to the other's
  std::size_t depth = 0;             // BF16: even
  const std::byte* ahead = nullptr;  // what to fetch into the cache meanwhile, and how much in
  std::size_t ahead_bytes = 0;       // every turn of the loop
  std::size_t ahead_beside = 0;      // of two panels: bytes from there to the other's
  float* output = nullptr;
  std::size_t output_stride = 0;  // in floats
  std::size_t columns = 0;        // that there are, at most as many as the step has
  bool add = false;
  const float* row_scales = nullptr;  // Int8
  const float* scales = nullptr;      // Int8: of these columns
  const std::int32_t* sums = nullptr;
};

using Tile = void (*)(const Step&);

struct Tiles {
  std::string_view name{};
  // Tiles of 1, 2, ... rows.
  std::span<const Tile> f32{};
  std::span<const Tile> bf16{};    // as many rows as f32
  std::span<const Tile> fine{};    // 16-bit activations
  std::span<const Tile> coarse{};  // 8-bit activations; empty: there is no instruction for them
  // The same for two panels, where a vector holds a whole panel's columns: an activation is loaded
  // once for both. Empty elsewhere.
  std::span<const Tile> f32_pair{};
  std::span<const Tile> bf16_pair{};
  std::span<const Tile> coarse_pair{};
  // Of words of two bfloat16 numbers, on both sides; empty, as the functions below that make them:
  // there is no instruction for their products.
  std::span<const Tile> bf16_dot{};
  std::span<const Tile> bf16_dot_pair{};
  std::size_t fine_columns = 0;  // of one step; the others take whole panels
  float (*largest_magnitude)(std::span<const float> values) = nullptr;
  // round(value * factor), ties to even. Coarse ones as the tiles take them, signed or raised by
  // 128; nullptr where there are none.
  void (*round_fine)(std::span<const float> values, float factor, std::int16_t* out) = nullptr;
  void (*round_coarse)(std::span<const float> values, float factor, std::uint8_t* out) = nullptr;
  // Of `depth` rows of 16 or 32 columns, in place: 2^(value - the column's largest), and their
  // sums.
  void (*powers)(float* values, std::size_t depth, std::size_t columns, float* sums) = nullptr;
  // The same as words for `bf16_dot`, of each column the first two, the next two, ...; the sums are
  // of what was not rounded yet.
  void (*bf16_powers)(float* values, std::size_t depth, std::size_t columns, float* sums) = nullptr;
  // Rotary positions: each of the first half of `size` components is turned with the one as far
  // into the second.
  void (*rotate)(const float* from, const float* cosine, const float* sine, std::size_t size,
                 float* to) = nullptr;
  // Words for `bf16_dot`: each number of a row with its neighbour, the last with zero if it has
  // none. `words` may be `values`.
  void (*bf16_row)(const float* values, std::size_t size, std::uint32_t* words) = nullptr;
  // The same of each number with the one below it; nullptr: all zeros.
  void (*bf16_rows)(const float* upper, const float* lower, std::size_t size,
                    std::uint32_t* words) = nullptr;
  // 16 rows of `size` numbers as `size` rows of 16.
  void (*transpose)(const float* rows, std::size_t size, float* to) = nullptr;
};

// Those of the best instruction set that this processor has.
const Tiles& best_tiles();
// All that this processor can run, the best first. For tests: not thread-safe.
std::vector<const Tiles*> usable_tiles();

}  // namespace textvec::kernels
