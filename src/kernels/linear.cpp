// In: rows of activations and packed weights. Out: their product. See linear.h.
// Structure: K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// a tile of the result stays in registers, a panel of weights in the first-level cache, a block of
// activations in the second-level cache.
#include "kernels/linear.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>

#include "kernels/tiles.h"

namespace textvec::kernels {
namespace {

constexpr std::size_t kColumns = PackedShape::kPanelColumns;
constexpr std::size_t kBlockRows = 48;  // of activations, in the second-level cache
// Float weights are multiplied so many deep at a time, which fit the first-level cache; the parts'
// sums are then added. Never changed by the number of rows: the order of additions is the result.
constexpr std::size_t kFloatDepth = 384;
constexpr std::size_t kManyRows = 24;
// Activations so few are prepared before another thread would have woken up.
constexpr std::size_t kAloneElements = std::size_t{1} << 15;
constexpr std::size_t kJobsPerThread = 4;  // so that a thread that is late costs little
// Rows below it are zeros; the factor that makes them integers would overflow.
constexpr float kMagnitudeMin = 1e-30F;

// How many values of one column stand together.
std::size_t grouped(WeightType type) {
  return type == WeightType::F32 ? 1 : type == WeightType::BF16 ? 2 : 4;
}

std::size_t bytes_of_weight(WeightType type) {
  return type == WeightType::F32 ? 4 : type == WeightType::BF16 ? 2 : 1;
}

std::size_t depth_of(const PackedShape& shape) {
  return rounded_up(shape.in_features, grouped(shape.type));
}

// Nearest, ties to even.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}

void pack_int8(const PackedShape& shape, std::span<const float> rows, std::byte* out) {
  const std::size_t depth = depth_of(shape);
  PanelTail tail{};
  for (std::size_t column = 0; column * shape.in_features < rows.size(); ++column) {
    const auto row = rows.subspan(column * shape.in_features, shape.in_features);
    float largest = 0;
    bool finite = true;
    for (const float weight : row) {
      finite = finite && std::isfinite(weight);
      largest = std::max(largest, std::abs(weight));
    }
    if (!finite) {
      // As the product of floats would be.
      tail.scales[column] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    if (largest < kMagnitudeMin) continue;
    const float scale = largest / 127.0F;
    tail.scales[column] = scale;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const auto rounded = static_cast<std::int32_t>(std::nearbyint(row[k] / scale));
      tail.sums[column] += rounded;
      out[(k / 4 * kColumns + column) * 4 + k % 4] = static_cast<std::byte>(rounded);
    }
  }
  std::memcpy(out + depth * kColumns, &tail, sizeof(tail));
}

// What a call of linear() is made of. In the scratch stand the rows as tiles read them, and behind
// all of them the scales of Int8.
class Product {
 public:
  Product(const LinearArguments& arguments, std::byte* scratch)
      : arguments_(arguments),
        shape_{arguments.type, arguments.in_features, 0},
        rows_(arguments.rows),
        depth_(depth_of(shape_)),
        set_(arguments.tiles != nullptr ? *arguments.tiles : best_tiles()),
        coarse_(arguments.rounding == Rounding::Coarse && !set_.coarse.empty()),
        tiles_(shape_.type == WeightType::F32    ? set_.f32
               : shape_.type == WeightType::BF16 ? set_.bf16
               : coarse_                         ? set_.coarse
                                                 : set_.fine),
        pair_tiles_(shape_.type == WeightType::F32    ? set_.f32_pair
                    : shape_.type == WeightType::BF16 ? set_.bf16_pair
                    : coarse_                         ? set_.coarse_pair
                                                      : std::span<const Tile>()),
        bytes_of_input_(shape_.type != WeightType::Int8 ? 4
                        : coarse_                       ? 1
                                                        : 2),
        row_bytes_(odd_lines(depth_ * bytes_of_input_)),
        scratch_(scratch) {
    for (const LinearOutput& output : arguments.outputs) panels_ += panels_of(output);
  }

  std::size_t scratch_bytes() const { return rows_ * row_bytes_ + rows_ * sizeof(float); }
  std::size_t tiles() const { return rounded_up(rows_, tiles_.size()) / tiles_.size(); }

  void prepare(std::size_t tile) const {
    const std::size_t first = tile * tiles_.size();
    for (std::size_t row = first; row < first + rows_of(tile); ++row) {
      if (shape_.type != WeightType::Int8) {
        prepare_floats(row);
      } else {
        prepare_ints(row);
      }
    }
  }

  void run(std::size_t threads, const Parallel& parallel) const {
    const auto prepare_one = [this](std::size_t tile) { prepare(tile); };
    if (rows_ * depth_ <= kAloneElements) {
      for (std::size_t tile = 0; tile < tiles(); ++tile) prepare_one(tile);
    } else {
      parallel(tiles(), prepare_one);
    }
    const std::size_t block_tiles = std::max<std::size_t>(1, kBlockRows / tiles_.size());
    const std::size_t blocks = (tiles() + block_tiles - 1) / block_tiles;
    const std::size_t groups_wanted = (kJobsPerThread * threads + blocks - 1) / blocks;
    // Even, so that no pair is cut.
    const std::size_t group = rounded_up(std::max<std::size_t>(1, panels_ / groups_wanted), 2);
    const std::size_t groups = (panels_ + group - 1) / group;
    // Blocks of one group follow each other: its weights are still near.
    const auto multiply_one = [&](std::size_t job) {
      const std::size_t first_tile = job % blocks * block_tiles;
      const std::size_t first_panel = job / blocks * group;
      multiply(first_tile, std::min(first_tile + block_tiles, tiles()), first_panel,
               std::min(first_panel + group, panels_));
    };
    parallel(blocks * groups, std::cref(multiply_one));
  }

 private:
  std::size_t rows_of(std::size_t tile) const {
    return std::min(tiles_.size(), rows_ - tile * tiles_.size());
  }
  std::byte* input_of(std::size_t row) const { return scratch_ + row * row_bytes_; }
  float* scales() const { return reinterpret_cast<float*>(scratch_ + rows_ * row_bytes_); }

  std::span<const float> values_of(std::size_t row) const {
    return {arguments_.input + row * shape_.in_features, shape_.in_features};
  }

  // What is missing to the depth meets weights of zero, but NaN would pass them.
  void prepare_floats(std::size_t row) const {
    const auto values = values_of(row);
    auto* out = reinterpret_cast<float*>(input_of(row));
    std::fill(std::copy(values.begin(), values.end(), out), out + depth_, 0.0F);
  }

  float levels() const {
    if (arguments_.rounding == Rounding::Coarse) return 127.0F;
    // No sum of products may pass 2^31.
    return static_cast<float>(std::min<std::size_t>(32767, 0x7FFFFFFFU / (127U * depth_)));
  }

  void prepare_ints(std::size_t row) const {
    const auto values = values_of(row);
    const float largest = set_.largest_magnitude(values);
    float factor = levels() / largest;
    scales()[row] = largest / levels();
    if (!(largest <= std::numeric_limits<float>::max())) {
      // As the product of floats would be.
      scales()[row] = std::numeric_limits<float>::quiet_NaN();
      factor = 0;
    } else if (largest < kMagnitudeMin) {
      factor = 0;
    }
    std::byte* out = input_of(row);
    if (coarse_) {
      set_.round_coarse(values, factor, reinterpret_cast<std::uint8_t*>(out));
    } else {
      set_.round_fine(values, factor, reinterpret_cast<std::int16_t*>(out));
    }
    std::fill(out + values.size() * bytes_of_input_, out + depth_ * bytes_of_input_, std::byte{0});
  }

  void multiply(std::size_t tile_begin, std::size_t tile_end, std::size_t panel_begin,
                std::size_t panel_end) const {
    if (shape_.type == WeightType::Int8) {
      for_panels(panel_begin, panel_end,
                 [&](const Panels& panels) { multiply_ints(tile_begin, tile_end, panels); });
      return;
    }
    constexpr std::size_t part = kFloatDepth;
    if ((tile_end - tile_begin) * tiles_.size() < kManyRows) {
      // The weights are what counts, so they are read from end to end.
      for_panels(panel_begin, panel_end, [&](const Panels& panels) {
        const std::byte* behind = panels.weights + panels.count() * shape_.panel_bytes();
        for (std::size_t begin = 0; begin < depth_; begin += part) {
          const std::size_t end = std::min(begin + part, depth_);
          multiply_floats(tile_begin, tile_end, panels, begin, end,
                          end < depth_ ? panels.weights + end * bytes_of_line() : behind);
        }
      });
      return;
    }
    // A part of the depth at a time, whose activations stay near.
    for (std::size_t begin = 0; begin < depth_; begin += part) {
      for_panels(panel_begin, panel_end, [&](const Panels& panels) {
        multiply_floats(
            tile_begin, tile_end, panels, begin, std::min(begin + part, depth_),
            panels.weights + panels.count() * shape_.panel_bytes() + begin * bytes_of_line());
      });
    }
  }

  std::size_t bytes_of_line() const { return kColumns * bytes_of_weight(shape_.type); }

  static std::size_t panels_of(const LinearOutput& output) {
    return PackedShape{WeightType::F32, 0, output.out_features}.panels();
  }

  // One or two panels of one output, for a step.
  struct Panels {
    const LinearOutput& of;
    const std::byte* weights;
    std::size_t column;  // the first
    bool two;

    std::size_t count() const { return two ? 2 : 1; }
    std::size_t columns() const { return std::min(count() * kColumns, of.out_features - column); }
  };

  // All outputs' panels are counted through.
  Panels panels_at(std::size_t index, std::size_t end) const {
    std::size_t first = 0;
    const LinearOutput* output = arguments_.outputs.data();
    for (; index >= first + panels_of(*output); ++output) first += panels_of(*output);
    end = std::min(end, first + panels_of(*output));
    return {*output, output->weights + (index - first) * shape_.panel_bytes(),
            (index - first) * kColumns, end - index >= 2 && !pair_tiles_.empty()};
  }

  template <class Work>
  void for_panels(std::size_t begin, std::size_t end, const Work& work) const {
    while (begin < end) {
      const Panels panels = panels_at(begin, end);
      work(panels);
      begin += panels.count();
    }
  }

  Step first_step(std::size_t tile, const Panels& panels, std::size_t column) const {
    const std::size_t first = tile * tiles_.size();
    Step step;
    step.input = input_of(first);
    step.input_row = row_bytes_;
    step.input_depth = sizeof(float);
    step.weights = panels.weights;
    step.weights_depth = bytes_of_line();
    step.beside = shape_.panel_bytes();
    step.ahead_beside = shape_.panel_bytes();
    step.depth = depth_;
    step.output = panels.of.output + first * panels.of.out_features + column;
    step.output_stride = panels.of.out_features;
    return step;
  }

  void run_step(const Step& step, std::size_t tile, const Panels& panels) const {
    (panels.two ? pair_tiles_ : tiles_)[rows_of(tile) - 1](step);
  }

  // `ahead` are the weights that will be wanted next.
  void multiply_floats(std::size_t tile_begin, std::size_t tile_end, const Panels& panels,
                       std::size_t begin, std::size_t end, const std::byte* ahead) const {
    const std::size_t steps = tile_end - tile_begin;
    const std::byte* weights = panels.weights + begin * bytes_of_line();
    for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
      Step step = first_step(tile, panels, panels.column);
      step.input += begin * sizeof(float);
      step.weights = weights;
      step.depth = end - begin;
      step.columns = panels.columns();
      step.add = begin > 0;
      step.ahead_bytes = bytes_of_line() / steps;
      step.ahead = ahead + (tile - tile_begin) * (end - begin) * step.ahead_bytes;
      run_step(step, tile, panels);
    }
  }

  void multiply_ints(std::size_t tile_begin, std::size_t tile_end, const Panels& panels) const {
    // Copies, because the weights may lie anywhere.
    alignas(64) std::array<float, 2 * kColumns> column_scales;
    alignas(64) std::array<std::int32_t, 2 * kColumns> column_sums;
    for (std::size_t i = 0; i < panels.count(); ++i) {
      const std::byte* tail = panels.weights + i * shape_.panel_bytes() + depth_ * kColumns;
      std::memcpy(&column_scales[i * kColumns], tail, sizeof(PanelTail::scales));
      std::memcpy(&column_sums[i * kColumns], tail + offsetof(PanelTail, sums),
                  sizeof(PanelTail::sums));
    }
    const std::size_t columns = coarse_ ? panels.count() * kColumns : set_.fine_columns;
    const std::size_t steps = panels.count() * kColumns / columns * (tile_end - tile_begin);
    const std::size_t ahead_bytes = 64 / steps;
    const std::byte* ahead = panels.weights + panels.count() * shape_.panel_bytes();
    for (std::size_t begin = 0; begin < panels.columns(); begin += columns) {
      for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
        Step step = first_step(tile, panels, panels.column + begin);
        step.weights += begin * 4;
        step.columns = std::min(columns, panels.columns() - begin);
        step.row_scales = scales() + tile * tiles_.size();
        step.scales = &column_scales[begin];
        step.sums = &column_sums[begin];
        step.ahead = ahead;
        step.ahead_bytes = ahead_bytes;
        ahead += depth_ / 4 * ahead_bytes;
        run_step(step, tile, panels);
      }
    }
  }

  const LinearArguments& arguments_;
  const PackedShape shape_;  // of a panel: its outputs have out features of their own
  const std::size_t rows_;
  const std::size_t depth_;
  const Tiles& set_;
  const bool coarse_;
  const std::span<const Tile> tiles_;
  const std::span<const Tile> pair_tiles_;  // empty: a step takes one panel
  const std::size_t bytes_of_input_;
  const std::size_t row_bytes_;
  std::byte* const scratch_;
  std::size_t panels_ = 0;
};

}  // namespace

std::string_view to_string(WeightType type) noexcept {
  return type == WeightType::F32 ? "f32" : type == WeightType::BF16 ? "bf16" : "int8";
}

std::optional<WeightType> weight_type(std::string_view name) noexcept {
  for (const auto type : {WeightType::F32, WeightType::BF16, WeightType::Int8}) {
    if (name == to_string(type)) return type;
  }
  return std::nullopt;
}

std::size_t PackedShape::panel_bytes() const noexcept {
  const std::size_t weights = depth_of(*this) * kPanelColumns * bytes_of_weight(type);
  return type == WeightType::Int8 ? weights + sizeof(PanelTail) : weights;
}

void pack_panel(const PackedShape& shape, std::span<const float> rows, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (shape.type == WeightType::Int8) return pack_int8(shape, rows, out.data());
  for (std::size_t column = 0; column * shape.in_features < rows.size(); ++column) {
    const float* row = &rows[column * shape.in_features];
    for (std::size_t k = 0; k < shape.in_features; ++k) {
      if (shape.type == WeightType::F32) {
        std::memcpy(&out[(k * kColumns + column) * 4], &row[k], 4);
      } else {
        const std::uint16_t half = to_bf16(row[k]);
        std::memcpy(&out[((k / 2 * kColumns + column) * 2 + k % 2) * 2], &half, 2);
      }
    }
  }
}

Rounding preferred_rounding() noexcept {
  return best_tiles().coarse.empty() ? Rounding::Fine : Rounding::Coarse;
}

std::string_view instruction_set() noexcept { return best_tiles().name; }

std::size_t linear_scratch_bytes(const LinearArguments& arguments) noexcept {
  return Product(arguments, nullptr).scratch_bytes();
}

void linear(const LinearArguments& arguments, std::span<std::byte> scratch,
            const Parallel& parallel) {
  if (arguments.rows == 0) return;
  Product(arguments, scratch.data()).run(arguments.threads, parallel);
}

}  // namespace textvec::kernels
