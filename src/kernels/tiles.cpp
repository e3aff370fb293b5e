// In: a tile's activations and a panel's weights. Out: the tile of the product. See tiles.h.
// Compiled once for each instruction set; best_tiles() chooses at run time.
#include "kernels/tiles.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

// Vectors of unknown length have no arrays, and SSSE3 alone no processor of the last fifteen years.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tiles.cpp"
#include <hwy/foreach_target.h>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "kernels/power_of_two-inl.h"
#include "kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace textvec::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kColumns = PackedShape::kPanelColumns;
// 32 vector registers instead of 16.
constexpr bool kManyRegisters = HWY_ARCH_ARM_A64 || HWY_TARGET <= HWY_AVX3;

// Into the second-level cache: the first is full of this step's.
HWY_INLINE void fetch(const std::byte* ahead) { __builtin_prefetch(ahead, 0, 2); }

// A tile's rows, at one depth. Three rows share a pointer, because an address can add a register
// times 0, 1 or 2 to another: a pointer for each row would not leave registers enough.
template <std::size_t kRows>
class Rows {
 public:
  explicit HWY_INLINE Rows(const Step& step) : stride_(step.input_row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPointers; ++i) {
      pointers_[i] = step.input + i * kShared * stride_;
    }
  }

  template <class Number>
  HWY_INLINE Number at(std::size_t row) const {
    Number number;
    std::memcpy(&number, pointers_[row / kShared] + row % kShared * stride_, sizeof(number));
    return number;
  }

  HWY_INLINE void advance(std::size_t bytes) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPointers; ++i) pointers_[i] += bytes;
  }

 private:
  static constexpr std::size_t kShared = 3;
  static constexpr std::size_t kPointers = (kRows + kShared - 1) / kShared;

  const std::size_t stride_;
  const std::byte* pointers_[kPointers];
};

// ---- float32 and bfloat16 weights

using FloatTag = hn::CappedTag<float, kColumns>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using FloatVector = hn::Vec<FloatTag>;
constexpr std::size_t kFloatLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kFloatVectors = kColumns / kFloatLanes;
// As many rows as leave registers for a panel's weights and one activation.
constexpr std::size_t kFloatRows =
    kFloatVectors >= 8 ? 1
                       : std::min<std::size_t>(
                             12, ((kManyRegisters ? 32 : 16) - kFloatVectors - 1) / kFloatVectors);

// Two panels fill more of the registers and load each activation once for both.
constexpr bool kHasPairs = kFloatVectors == 1 && kManyRegisters && HWY_TARGET != HWY_SCALAR;

// Loops over a tile's vectors are unrolled everywhere: an index that is not a constant would move
// all of them from registers into memory.
template <std::size_t kRows, std::size_t kVectors>
HWY_INLINE void begin_floats(const Step& step, FloatVector (&sums)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      if (i * kFloatLanes % kColumns == 0) {
        hwy::Prefetch(step.output + row * step.output_stride + i * kFloatLanes);
      }
      sums[row][i] = hn::Zero(FloatTag());
    }
  }
}

template <std::size_t kRows, std::size_t kVectors>
HWY_INLINE void end_floats(const Step& step, const FloatVector (&sums)[kRows][kVectors]) {
  constexpr std::size_t kStepColumns = kVectors * kFloatLanes;
  const FloatTag tag;
  HWY_ALIGN float edge[kRows][kStepColumns];
  const bool whole = step.columns == kStepColumns;
  float* to = step.output;
  std::size_t stride = step.output_stride;
  if (!whole) {
    for (std::size_t row = 0; row < kRows; ++row) {
      std::copy_n(to + row * stride, step.columns, edge[row]);
    }
    to = edge[0];
    stride = kStepColumns;
  }
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      float* at = to + row * stride + i * kFloatLanes;
      hn::StoreU(step.add ? hn::Add(hn::LoadU(tag, at), sums[row][i]) : sums[row][i], tag, at);
    }
  }
  if (whole) return;
  for (std::size_t row = 0; row < kRows; ++row) {
    std::copy_n(edge[row], step.columns, step.output + row * step.output_stride);
  }
}

template <std::size_t kRows, std::size_t kPanels>
void f32_tile(const Step& step) {
  constexpr std::size_t kVectors = kPanels * kFloatVectors;
  const FloatTag tag;
  FloatVector sums[kRows][kVectors];
  begin_floats<kRows>(step, sums);
  Rows<kRows> input(step);
  const std::byte* weights = step.weights;
  const std::byte* ahead = step.ahead;
  const auto one = [&]() HWY_ATTR {
    FloatVector loaded[kVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::byte* panel = weights + i / kFloatVectors * step.beside;
      loaded[i] =
          hn::LoadU(tag, reinterpret_cast<const float*>(panel) + i % kFloatVectors * kFloatLanes);
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kRows; ++row) {
      const FloatVector value = hn::Set(tag, input.template at<float>(row));
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kVectors; ++i) {
        sums[row][i] = hn::MulAdd(value, loaded[i], sums[row][i]);
      }
    }
    weights += step.weights_depth;
    input.advance(step.input_depth);
  };
  std::size_t k = 0;
  for (; k + 4 <= step.depth; k += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      fetch(ahead);
      if constexpr (kPanels == 2) fetch(ahead + step.ahead_beside);
      ahead += step.ahead_bytes;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) one();
  }
  for (; k < step.depth; ++k) one();
  end_floats<kRows>(step, sums);
}

// Two values of one column stand in 32 bits, the even one low: either is a float whose other half
// is zeros.
template <std::size_t kRows, std::size_t kPanels>
void bf16_tile(const Step& step) {
  constexpr std::size_t kVectors = kPanels * kFloatVectors;
  const FloatTag tag;
  const BitsTag bits;
  FloatVector sums[kRows][kVectors];
  begin_floats<kRows>(step, sums);
  Rows<kRows> input(step);
  const std::byte* weights = step.weights;
  const std::byte* ahead = step.ahead;
  const auto high = hn::Set(bits, 0xFFFF0000U);
  const auto one = [&](const auto& half) HWY_ATTR {
    FloatVector loaded[kVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::byte* panel = weights + i / kFloatVectors * step.beside;
      loaded[i] =
          hn::BitCast(tag, half(hn::LoadU(bits, reinterpret_cast<const std::uint32_t*>(panel) +
                                                    i % kFloatVectors * kFloatLanes)));
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kRows; ++row) {
      const FloatVector value = hn::Set(tag, input.template at<float>(row));
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kVectors; ++i) {
        sums[row][i] = hn::MulAdd(value, loaded[i], sums[row][i]);
      }
    }
    input.advance(step.input_depth);
  };
  const auto pair = [&]() HWY_ATTR {
    one([](auto both) HWY_ATTR { return hn::ShiftLeft<16>(both); });
    one([&](auto both) HWY_ATTR { return hn::And(both, high); });
    weights += 2 * step.weights_depth;
  };
  std::size_t k = 0;
  for (; k + 4 <= step.depth; k += 4) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      fetch(ahead);
      if constexpr (kPanels == 2) fetch(ahead + step.ahead_beside);
      ahead += 2 * step.ahead_bytes;
    }
    pair();
    pair();
  }
  if (k < step.depth) pair();
  end_floats<kRows>(step, sums);
}

// ---- Int8 weights: four values of one column stand together

template <std::size_t kStepColumns>
HWY_INLINE void end_ints(const Step& step, std::size_t row, const std::int32_t* sums) {
  float* to = step.output + row * step.output_stride;
  const float row_scale = step.row_scales[row];
  // The whole step is the usual case, and a loop that the compiler can unroll.
  if (step.columns == kStepColumns) {
    for (std::size_t i = 0; i < kStepColumns; ++i) {
      to[i] = static_cast<float>(sums[i]) * (row_scale * step.scales[i]);
    }
    return;
  }
  for (std::size_t i = 0; i < step.columns; ++i) {
    to[i] = static_cast<float>(sums[i]) * (row_scale * step.scales[i]);
  }
}

#if HWY_TARGET == HWY_SCALAR
constexpr std::size_t kFineColumns = kColumns;
constexpr std::size_t kFineRows = 1;

template <std::size_t kRows>
void fine_tile(const Step& step) {
  static_assert(kRows == 1);
  const auto* input = reinterpret_cast<const std::int16_t*>(step.input);
  const auto* weights = reinterpret_cast<const std::int8_t*>(step.weights);
  std::int32_t sums[kColumns] = {};
  for (std::size_t k = 0; k < step.depth; ++k) {
    for (std::size_t i = 0; i < kColumns; ++i) {
      sums[i] += input[k] * weights[(k / 4 * kColumns + i) * 4 + k % 4];
    }
  }
  end_ints<kColumns>(step, 0, sums);
}
#else
using ShortTag = hn::CappedTag<std::int16_t, 2 * kColumns>;
using ShortVector = hn::Vec<ShortTag>;
using IntTag = hn::RepartitionToWide<ShortTag>;
using IntVector = hn::Vec<IntTag>;
constexpr std::size_t kShortLanes = hn::MaxLanes(ShortTag());
constexpr std::size_t kFineVectors = 2;
constexpr std::size_t kFineColumns = kFineVectors * kShortLanes / 4;
constexpr std::size_t kFineRows = kFineColumns == kColumns ? 12 : 6;

template <std::size_t kRows>
void fine_tile(const Step& step) {
  const ShortTag tag;
  const IntTag wide;
  const hn::Rebind<std::int8_t, ShortTag> narrow;
  const hn::Repartition<std::int64_t, ShortTag> fours;
  // Some instruction sets make two sums, some leave the second at zero.
  IntVector sums[kRows][kFineVectors];
  IntVector more[kRows][kFineVectors];
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kFineVectors; ++i) {
      sums[row][i] = hn::Zero(wide);
      more[row][i] = hn::Zero(wide);
    }
  }
  Rows<kRows> input(step);
  const auto* weights = reinterpret_cast<const std::int8_t*>(step.weights);
  const std::byte* ahead = step.ahead;
  for (std::size_t k = 0; k < step.depth; k += 4) {
    fetch(ahead);
    ahead += step.ahead_bytes;
    ShortVector loaded[kFineVectors];
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kFineVectors; ++i) {
      loaded[i] = hn::PromoteTo(tag, hn::LoadU(narrow, weights + i * kShortLanes));
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kRows; ++row) {
      const auto four = input.template at<std::int64_t>(row);
      const ShortVector value = hn::BitCast(tag, hn::Set(fours, four));
#pragma GCC unroll 2
      for (std::size_t i = 0; i < kFineVectors; ++i) {
        sums[row][i] =
            hn::ReorderWidenMulAccumulate(wide, value, loaded[i], sums[row][i], more[row][i]);
      }
    }
    weights += 4 * kColumns;
    input.advance(4 * sizeof(std::int16_t));
  }
  HWY_ALIGN std::int32_t whole[kRows][kFineColumns];
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
    // Two sums of a column stand side by side.
    const IntVector low = hn::RearrangeToOddPlusEven(sums[row][0], more[row][0]);
    const IntVector high = hn::RearrangeToOddPlusEven(sums[row][1], more[row][1]);
    hn::Store(hn::Add(hn::ConcatEven(wide, high, low), hn::ConcatOdd(wide, high, low)), wide,
              whole[row]);
  }
  for (std::size_t row = 0; row < kRows; ++row) end_ints<kFineColumns>(step, row, whole[row]);
}
#endif

// Four products of bytes and their sum in one instruction, which this Highway has no name for and
// which not every processor of the instruction set has.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define TEXTVEC_DOT __attribute__((target(HWY_TARGET_STR ",avx512vnni")))
#define TEXTVEC_DOT_THERE __builtin_cpu_supports("avx512vnni")
#elif HWY_TARGET == HWY_AVX2
#define TEXTVEC_DOT __attribute__((target(HWY_TARGET_STR ",avxvnni")))
#define TEXTVEC_DOT_THERE __builtin_cpu_supports("avxvnni")
#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR && defined(__ARM_FEATURE_DOTPROD)
#define TEXTVEC_DOT
#define TEXTVEC_DOT_THERE true
#endif

#ifdef TEXTVEC_DOT
using DotTag = hn::CappedTag<std::int32_t, kColumns>;
using DotVector = hn::Vec<DotTag>;
constexpr std::size_t kDotLanes = hn::MaxLanes(DotTag());
constexpr std::size_t kDotVectors = kColumns / kDotLanes;
constexpr std::size_t kCoarseRows = kDotVectors == 1 ? 12 : 6;

#if HWY_ARCH_ARM_A64
constexpr int kRaisedBy = 0;
#else
constexpr int kRaisedBy = 128;
#endif

TEXTVEC_DOT HWY_INLINE DotVector dot(DotVector sum, DotVector values, DotVector weights) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  return DotVector{_mm512_dpbusd_epi32(sum.raw, values.raw, weights.raw)};
#elif HWY_TARGET == HWY_AVX2
  return DotVector{_mm256_dpbusd_avx_epi32(sum.raw, values.raw, weights.raw)};
#else
  return DotVector{
      vdotq_s32(sum.raw, vreinterpretq_s8_s32(values.raw), vreinterpretq_s8_s32(weights.raw))};
#endif
}

template <std::size_t kRows, std::size_t kPanels>
TEXTVEC_DOT void coarse_tile(const Step& step) {
  constexpr std::size_t kVectors = kPanels * kDotVectors;
  const DotTag tag;
  DotVector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      // Undoes the raising: -kRaisedBy * sum(weights).
      sums[row][i] = hn::Mul(hn::LoadU(tag, step.sums + i * kDotLanes), hn::Set(tag, -kRaisedBy));
    }
  }
  Rows<kRows> input(step);
  const std::byte* weights = step.weights;
  const std::byte* ahead = step.ahead;
  for (std::size_t k = 0; k < step.depth; k += 4) {
    fetch(ahead);
    if constexpr (kPanels == 2) fetch(ahead + step.ahead_beside);
    ahead += step.ahead_bytes;
    DotVector loaded[kVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::byte* panel = weights + i / kDotVectors * step.beside;
      loaded[i] = hn::LoadU(
          tag, reinterpret_cast<const std::int32_t*>(panel) + i % kDotVectors * kDotLanes);
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kRows; ++row) {
      const DotVector value = hn::Set(tag, input.template at<std::int32_t>(row));
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kVectors; ++i) {
        sums[row][i] = dot(sums[row][i], value, loaded[i]);
      }
    }
    weights += 4 * kColumns;
    input.advance(4);
  }
  HWY_ALIGN std::int32_t whole[kRows][kPanels * kColumns];
#pragma GCC unroll 16
  for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kVectors; ++i) {
      hn::Store(sums[row][i], tag, whole[row] + i * kDotLanes);
    }
  }
  for (std::size_t row = 0; row < kRows; ++row) {
    end_ints<kPanels * kColumns>(step, row, whole[row]);
  }
}
#endif

// ---- words of two bfloat16 numbers

// Two products of bfloat16 numbers and their sum in float32, in one instruction; the conditions are
// those of the products of bytes.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define TEXTVEC_BF16 __attribute__((target(HWY_TARGET_STR ",avx512bf16")))
#define TEXTVEC_BF16_THERE __builtin_cpu_supports("avx512bf16")

template <std::size_t kRows, std::size_t kPanels>
TEXTVEC_BF16 void bf16_dot_tile(const Step& step) {
  const BitsTag bits;
  FloatVector sums[kRows][kPanels];
  begin_floats<kRows>(step, sums);
  Rows<kRows> input(step);
  const std::byte* weights = step.weights;
  for (std::size_t k = 0; k < step.depth; ++k) {
    __m512bh loaded[kPanels];
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kPanels; ++i) {
      const auto* panel = reinterpret_cast<const std::uint32_t*>(weights + i * step.beside);
      loaded[i] = __builtin_bit_cast(__m512bh, hn::LoadU(bits, panel).raw);
    }
#pragma GCC unroll 16
    for (std::size_t row = 0; row < kRows; ++row) {
      const auto word = hn::Set(bits, input.template at<std::uint32_t>(row));
      const auto value = __builtin_bit_cast(__m512bh, word.raw);
#pragma GCC unroll 2
      for (std::size_t i = 0; i < kPanels; ++i) {
        sums[row][i].raw = _mm512_dpbf16_ps(sums[row][i].raw, value, loaded[i]);
      }
    }
    weights += step.weights_depth;
    input.advance(step.input_depth);
  }
  end_floats<kRows>(step, sums);
}

// The numbers at even places and those at odd ones.
TEXTVEC_BF16 HWY_INLINE hn::Vec<BitsTag> words_of(FloatVector even, FloatVector odd) {
  alignas(64) static constexpr std::uint16_t kInterleaved[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto behind = __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(odd.raw, even.raw));
  const auto order = _mm512_load_si512(kInterleaved);
  return hn::Vec<BitsTag>{_mm512_permutexvar_epi16(order, behind)};
}

// The first `count` numbers, zeros behind them.
HWY_INLINE FloatVector load_some(const float* from, std::size_t count) {
  const FloatTag tag;
  return count >= kFloatLanes ? hn::LoadU(tag, from)
                              : hn::MaskedLoad(hn::FirstN(tag, count), tag, from);
}

HWY_INLINE void store_some(hn::Vec<BitsTag> words, std::uint32_t* to, std::size_t count) {
  const BitsTag bits;
  if (count >= kFloatLanes) return hn::StoreU(words, bits, to);
  hn::BlendedStore(words, hn::FirstN(bits, count), bits, to);
}

TEXTVEC_BF16 void bf16_row(const float* values, std::size_t size, std::uint32_t* words) {
  for (std::size_t i = 0; i < size; i += 2 * kFloatLanes) {
    const auto first = load_some(values + i, size - i);
    const auto second = size - i > kFloatLanes
                            ? load_some(values + i + kFloatLanes, size - i - kFloatLanes)
                            : hn::Zero(FloatTag());
    // Neighbours in a row are neighbours already.
    const auto both = __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(second.raw, first.raw));
    store_some(hn::Vec<BitsTag>{both}, words + i / 2, (size - i + 1) / 2);
  }
}

TEXTVEC_BF16 void bf16_rows(const float* upper, const float* lower, std::size_t size,
                            std::uint32_t* words) {
  for (std::size_t i = 0; i < size; i += kFloatLanes) {
    const auto even = load_some(upper + i, size - i);
    const auto odd = lower != nullptr ? load_some(lower + i, size - i) : hn::Zero(FloatTag());
    store_some(words_of(even, odd), words + i, size - i);
  }
}
#endif

// ---- rounding of activations

float largest_magnitude(std::span<const float> values) {
  // As whole numbers magnitudes have the same order, and what is not a number is above all of them.
  const hn::ScalableTag<float> tag;
  const hn::RebindToSigned<hn::ScalableTag<float>> bits;
  const std::size_t lanes = hn::Lanes(tag);
  auto largest = hn::Zero(bits);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto magnitudes = hn::Abs(hn::LoadU(tag, values.data() + i));
    largest = hn::Max(largest, hn::BitCast(bits, magnitudes));
  }
  std::int32_t result = hn::GetLane(hn::MaxOfLanes(bits, largest));
  for (; i < values.size(); ++i) {
    result = std::max(result, std::bit_cast<std::int32_t>(std::abs(values[i])));
  }
  return std::bit_cast<float>(result);
}

void round_fine(std::span<const float> values, float factor, std::int16_t* out) {
  const hn::ScalableTag<float> tag;
  const hn::Rebind<std::int16_t, hn::ScalableTag<float>> narrow;
  const std::size_t lanes = hn::Lanes(tag);
  const auto factors = hn::Set(tag, factor);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto scaled = hn::Mul(hn::LoadU(tag, values.data() + i), factors);
    hn::StoreU(hn::DemoteTo(narrow, hn::NearestInt(scaled)), narrow, out + i);
  }
  for (; i < values.size(); ++i) {
    out[i] = static_cast<std::int16_t>(std::nearbyint(values[i] * factor));
  }
}

#ifdef TEXTVEC_DOT
void round_coarse(std::span<const float> values, float factor, std::uint8_t* out) {
  const hn::ScalableTag<float> tag;
  const hn::Rebind<std::int8_t, hn::ScalableTag<float>> narrow;
  const hn::RebindToUnsigned<decltype(narrow)> raised;
  const std::size_t lanes = hn::Lanes(tag);
  const auto factors = hn::Set(tag, factor);
  const auto raise = hn::Set(raised, kRaisedBy);  // adding 128 is turning the highest bit
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto scaled = hn::Mul(hn::LoadU(tag, values.data() + i), factors);
    const auto rounded = hn::DemoteTo(narrow, hn::NearestInt(scaled));
    hn::StoreU(hn::Xor(hn::BitCast(raised, rounded), raise), raised, out + i);
  }
  for (; i < values.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(
        static_cast<std::int32_t>(std::nearbyint(values[i] * factor)) + kRaisedBy);
  }
}
#endif

// ---- softmax of columns

HWY_INLINE FloatVector largest_below(const float* values, std::size_t depth, std::size_t columns) {
  const FloatTag tag;
  auto largest = hn::LoadU(tag, values);
  for (std::size_t k = 1; k < depth; ++k) {
    largest = hn::Max(largest, hn::LoadU(tag, values + k * columns));
  }
  return largest;
}

void powers(float* values, std::size_t depth, std::size_t columns, float* sums) {
  const FloatTag tag;
  for (std::size_t i = 0; i < columns; i += kFloatLanes) {
    const auto largest = largest_below(values + i, depth, columns);
    auto sum = hn::Zero(tag);
    for (std::size_t k = 0; k < depth; ++k) {
      float* at = values + k * columns + i;
      const auto power = power_of_two(tag, hn::Sub(hn::LoadU(tag, at), largest));
      hn::StoreU(power, tag, at);
      sum = hn::Add(sum, power);
    }
    hn::StoreU(sum, tag, sums + i);
  }
}

#ifdef TEXTVEC_BF16
TEXTVEC_BF16 void bf16_powers(float* values, std::size_t depth, std::size_t columns, float* sums) {
  const FloatTag tag;
  const BitsTag bits;
  for (std::size_t i = 0; i < columns; i += kFloatLanes) {
    const auto largest = largest_below(values + i, depth, columns);
    auto sum = hn::Zero(tag);
    for (std::size_t k = 0; k < depth; k += 2) {
      const float* at = values + k * columns + i;
      const auto even = power_of_two(tag, hn::Sub(hn::LoadU(tag, at), largest));
      const auto odd = k + 1 < depth
                           ? power_of_two(tag, hn::Sub(hn::LoadU(tag, at + columns), largest))
                           : hn::Zero(tag);
      // Over a row above these, or the upper one of them.
      auto* words = reinterpret_cast<std::uint32_t*>(values) + k / 2 * columns + i;
      hn::StoreU(words_of(even, odd), bits, words);
      sum = hn::Add(sum, hn::Add(even, odd));
    }
    hn::StoreU(sum, tag, sums + i);
  }
}
#endif

void rotate(const float* from, const float* cosine, const float* sine, std::size_t size,
            float* to) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t half = size / 2;
  std::size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto x = hn::LoadU(tag, from + i);
    const auto y = hn::LoadU(tag, from + half + i);
    const auto cosines = hn::LoadU(tag, cosine + i);
    const auto sines = hn::LoadU(tag, sine + i);
    hn::StoreU(hn::NegMulAdd(y, sines, hn::Mul(x, cosines)), tag, to + i);
    hn::StoreU(hn::MulAdd(x, sines, hn::Mul(y, cosines)), tag, to + half + i);
  }
  for (; i < half; ++i) {
    const float x = from[i];
    const float y = from[half + i];
    to[i] = x * cosine[i] - y * sine[i];
    to[half + i] = y * cosine[i] + x * sine[i];
  }
}

// Four rows and four columns at a time, where there are vectors.
void transpose(const float* rows, std::size_t size, float* to) {
  for (std::size_t row = 0; row < kColumns; row += 4) {
    const float* from = rows + row * size;
    std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::FixedTag<float, 4> tag;
    for (; i + 4 <= size; i += 4) {
      const auto a = hn::LoadU(tag, from + i);
      const auto b = hn::LoadU(tag, from + size + i);
      const auto c = hn::LoadU(tag, from + 2 * size + i);
      const auto d = hn::LoadU(tag, from + 3 * size + i);
      const auto lower_ab = hn::InterleaveLower(tag, a, b);  // a0 b0 a1 b1
      const auto lower_cd = hn::InterleaveLower(tag, c, d);
      const auto upper_ab = hn::InterleaveUpper(tag, a, b);  // a2 b2 a3 b3
      const auto upper_cd = hn::InterleaveUpper(tag, c, d);
      float* out = to + i * kColumns + row;
      hn::StoreU(hn::ConcatLowerLower(tag, lower_cd, lower_ab), tag, out);
      hn::StoreU(hn::ConcatUpperUpper(tag, lower_cd, lower_ab), tag, out + kColumns);
      hn::StoreU(hn::ConcatLowerLower(tag, upper_cd, upper_ab), tag, out + 2 * kColumns);
      hn::StoreU(hn::ConcatUpperUpper(tag, upper_cd, upper_ab), tag, out + 3 * kColumns);
    }
#endif
    for (; i < size; ++i) {
      for (std::size_t k = 0; k < 4; ++k) to[i * kColumns + row + k] = from[k * size + i];
    }
  }
}

// ---- what best_tiles() gives

template <std::size_t kPanels, std::size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> f32_tiles(std::index_sequence<kIndex...>) {
  return {f32_tile<kIndex + 1, kPanels>...};
}
template <std::size_t kPanels, std::size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> bf16_tiles(std::index_sequence<kIndex...>) {
  return {bf16_tile<kIndex + 1, kPanels>...};
}
template <std::size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> fine_tiles(std::index_sequence<kIndex...>) {
  return {fine_tile<kIndex + 1>...};
}
constexpr auto kF32 = f32_tiles<1>(std::make_index_sequence<kFloatRows>());
constexpr auto kF32Pair = f32_tiles<2>(std::make_index_sequence<kHasPairs ? kFloatRows : 0>());
constexpr auto kBf16 = bf16_tiles<1>(std::make_index_sequence<kFloatRows>());
constexpr auto kBf16Pair = bf16_tiles<2>(std::make_index_sequence<kHasPairs ? kFloatRows : 0>());
constexpr auto kFine = fine_tiles(std::make_index_sequence<kFineRows>());
#ifdef TEXTVEC_DOT
template <std::size_t kPanels, std::size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> coarse_tiles(std::index_sequence<kIndex...>) {
  return {coarse_tile<kIndex + 1, kPanels>...};
}
constexpr auto kCoarse = coarse_tiles<1>(std::make_index_sequence<kCoarseRows>());
constexpr auto kCoarsePair =
    coarse_tiles<2>(std::make_index_sequence<kHasPairs ? kCoarseRows : 0>());
#endif

#ifdef TEXTVEC_BF16
template <std::size_t kPanels, std::size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> bf16_dot_tiles(std::index_sequence<kIndex...>) {
  return {bf16_dot_tile<kIndex + 1, kPanels>...};
}
constexpr auto kBf16Dot = bf16_dot_tiles<1>(std::make_index_sequence<kFloatRows>());
constexpr auto kBf16DotPair = bf16_dot_tiles<2>(std::make_index_sequence<kFloatRows>());
#endif

constexpr Tiles plain_tiles() {
  Tiles tiles;
  tiles.name = HWY_STR(HWY_NAMESPACE);
  tiles.f32 = kF32;
  tiles.f32_pair = kF32Pair;
  tiles.bf16 = kBf16;
  tiles.bf16_pair = kBf16Pair;
  tiles.fine = kFine;
  tiles.fine_columns = kFineColumns;
  tiles.largest_magnitude = largest_magnitude;
  tiles.round_fine = round_fine;
  tiles.powers = powers;
  tiles.rotate = rotate;
  tiles.transpose = transpose;
  return tiles;
}

#ifdef TEXTVEC_DOT
constexpr Tiles tiles_with_dot() {
  Tiles tiles = plain_tiles();
  tiles.name = HWY_STR(HWY_NAMESPACE) "+dot";
  tiles.coarse = kCoarse;
  tiles.coarse_pair = kCoarsePair;
  tiles.round_coarse = round_coarse;
  return tiles;
}
#endif

#ifdef TEXTVEC_BF16
// The processors that have them have the products of bytes too.
constexpr Tiles tiles_with_bf16_dot() {
  Tiles tiles = tiles_with_dot();
  tiles.name = HWY_STR(HWY_NAMESPACE) "+dot+bf16";
  tiles.bf16_dot = kBf16Dot;
  tiles.bf16_dot_pair = kBf16DotPair;
  tiles.bf16_row = bf16_row;
  tiles.bf16_rows = bf16_rows;
  tiles.bf16_powers = bf16_powers;
  return tiles;
}
#endif

const Tiles* tiles() {
  static constexpr Tiles kPlain = plain_tiles();
#ifdef TEXTVEC_BF16
  static constexpr Tiles kWithBf16Dot = tiles_with_bf16_dot();
  if (TEXTVEC_DOT_THERE && TEXTVEC_BF16_THERE) return &kWithBf16Dot;
#endif
#ifdef TEXTVEC_DOT
  static constexpr Tiles kWithDot = tiles_with_dot();
  if (TEXTVEC_DOT_THERE) return &kWithDot;
#endif
  return &kPlain;
}
#undef TEXTVEC_DOT
#undef TEXTVEC_DOT_THERE
#undef TEXTVEC_BF16
#undef TEXTVEC_BF16_THERE

}  // namespace HWY_NAMESPACE
}  // namespace textvec::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace textvec::kernels {

HWY_EXPORT(tiles);

const Tiles& best_tiles() {
  static const Tiles& best = *HWY_DYNAMIC_DISPATCH(tiles)();
  return best;
}

std::vector<const Tiles*> usable_tiles() {
  return of_every_target([] { return HWY_DYNAMIC_DISPATCH(tiles)(); });
}

}  // namespace textvec::kernels
#endif
