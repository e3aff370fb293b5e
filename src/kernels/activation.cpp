// In: rows of a layer's outputs. Out: their activations. See activation.h.
// Compiled once for each instruction set; activation() chooses at run time.
#include "kernels/activation.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numbers>

// The same as in tiles.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "kernels/power_of_two-inl.h"
#include "kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace textvec::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

// x times the normal distribution's share below x. The share beyond a = |x|, erfc(a / sqrt(2)) / 2,
// is 1 / (2 p(a)^4) with a polynomial p, after the form of Abramowitz and Stegun's 7.1.28 (there
// a 16th power, which makes more of rounding). p is our own: of degree 11 with p(0) = 1, and such
// that the largest error of a / (2 p(a)^4) on [0, 5.8] is least (1.2e-8); by least squares at 1500
// Chebyshev points, reweighted with the errors until those are level (Lawson's method), against
// erfc in 40 digits. Beyond, p grows to infinity, and the share is 0 where float32 has nothing else
// near.
HWY_INLINE Vector gelu(Tag tag, Vector x) {
  constexpr float kCoefficients[] = {1.1168943966e-06F,  -1.4914011444e-05F, 9.8019067082e-05F,
                                     -3.4796635667e-04F, 8.7284331676e-04F,  -9.7626185743e-04F,
                                     2.6216346234e-03F,  4.6803602017e-03F,  2.6552239433e-02F,
                                     9.9420487881e-02F,  1.9947484136e-01F,  1.0F};
  const auto distance = hn::Abs(x);
  auto p = hn::Set(tag, kCoefficients[0]);
#pragma GCC unroll 16
  for (std::size_t i = 1; i < std::size(kCoefficients); ++i) {
    p = hn::MulAdd(p, distance, hn::Set(tag, kCoefficients[i]));
  }
  const auto square = hn::Mul(p, p);
  const auto beyond = hn::Div(hn::Set(tag, 0.5F), hn::Mul(square, square));
  const auto below = hn::Sub(hn::Set(tag, 1.0F), beyond);
  return hn::Mul(x, hn::IfThenElse(hn::Lt(x, hn::Zero(tag)), beyond, below));
}

// x / (1 + 2^-z), without a power that could overflow.
HWY_INLINE Vector times_sigmoid(Tag tag, Vector x, Vector z) {
  const auto small = power_of_two(tag, hn::Neg(hn::Abs(z)));
  const auto one = hn::Set(tag, 1.0F);
  const auto upper = hn::IfThenElse(hn::Lt(z, hn::Zero(tag)), small, one);
  return hn::Mul(x, hn::Div(upper, hn::Add(one, small)));
}

HWY_INLINE Vector silu(Tag tag, Vector x) {
  return times_sigmoid(tag, x, hn::Mul(x, hn::Set(tag, static_cast<float>(std::numbers::log2e))));
}

// 1 + tanh(y) is 2 / (1 + exp(-2 y)).
HWY_INLINE Vector tanh_gelu(Tag tag, Vector x) {
  constexpr double kLinear = 1.5957691216057307 * std::numbers::log2e;  // 2 sqrt(2 / pi)
  const auto linear = hn::Set(tag, static_cast<float>(kLinear));
  const auto cubic = hn::Set(tag, static_cast<float>(kLinear * 0.044715));
  return times_sigmoid(tag, x, hn::Mul(x, hn::MulAdd(hn::Mul(x, x), cubic, linear)));
}

template <Activation kFunction>
HWY_INLINE Vector activated(Tag tag, Vector x) {
  if constexpr (kFunction == Activation::Gelu) return gelu(tag, x);
  if constexpr (kFunction == Activation::TanhGelu) return tanh_gelu(tag, x);
  if constexpr (kFunction == Activation::Silu) return silu(tag, x);
  // Not the larger of both, which need not be NaN where x is.
  return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(tag)), x);
}

// The same loop for whole vectors and, from copies, for the numbers that are left.
template <Activation kFunction>
void activate(const float* input, const float* bias, const float* factor, float* output,
              std::size_t count) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  for (std::size_t i = 0; i < count; i += lanes) {
    auto value = hn::LoadU(tag, input + i);
    if (bias != nullptr) value = hn::Add(value, hn::LoadU(tag, bias + i));
    value = activated<kFunction>(tag, value);
    if (factor != nullptr) value = hn::Mul(value, hn::LoadU(tag, factor + i));
    hn::StoreU(value, tag, output + i);
  }
}

template <Activation kFunction>
void activate_row(const ActivationArguments& arguments, std::size_t row) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t begin = row * arguments.width;
  const std::size_t rest = arguments.width % lanes;
  const std::size_t whole = arguments.width - rest;
  const float* input = arguments.input + begin;
  const float* bias = arguments.bias;
  const float* factor = arguments.factor != nullptr ? arguments.factor + begin : nullptr;
  float* output = arguments.output + begin;
  activate<kFunction>(input, bias, factor, output, whole);
  if (rest == 0) return;
  constexpr std::size_t kLanes = hn::MaxLanes(Tag());
  float inputs[kLanes] = {}, biases[kLanes] = {}, factors[kLanes] = {};
  const std::size_t bytes = rest * sizeof(float);
  std::memcpy(inputs, input + whole, bytes);
  if (bias != nullptr) std::memcpy(biases, bias + whole, bytes);
  if (factor != nullptr) std::memcpy(factors, factor + whole, bytes);
  activate<kFunction>(inputs, bias != nullptr ? biases : nullptr,
                      factor != nullptr ? factors : nullptr, inputs, lanes);
  std::memcpy(output + whole, inputs, bytes);
}

void activation_row(const ActivationArguments& arguments, std::size_t row) {
  switch (arguments.function) {
    case Activation::Gelu:
      return activate_row<Activation::Gelu>(arguments, row);
    case Activation::TanhGelu:
      return activate_row<Activation::TanhGelu>(arguments, row);
    case Activation::Silu:
      return activate_row<Activation::Silu>(arguments, row);
    case Activation::Relu:
      return activate_row<Activation::Relu>(arguments, row);
  }
}

ActivationRow activation_row_of_this_set() { return activation_row; }

}  // namespace HWY_NAMESPACE
}  // namespace textvec::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace textvec::kernels {

std::string_view to_string(Activation function) noexcept {
  switch (function) {
    case Activation::Gelu:
      return "gelu";
    case Activation::TanhGelu:
      return "gelu_tanh";
    case Activation::Silu:
      return "silu";
    case Activation::Relu:
      return "relu";
  }
  return {};
}

std::optional<Activation> activation_function(std::string_view name) noexcept {
  for (const auto function :
       {Activation::Gelu, Activation::TanhGelu, Activation::Silu, Activation::Relu}) {
    if (name == to_string(function)) return function;
  }
  return std::nullopt;
}

HWY_EXPORT(activation_row_of_this_set);

void activation(const ActivationArguments& arguments, const Parallel& parallel) {
  static const ActivationRow best = HWY_DYNAMIC_DISPATCH(activation_row_of_this_set)();
  const auto work = [&](std::size_t row) { best(arguments, row); };
  for_rows(arguments.rows, arguments.width, work, parallel);
}

std::vector<ActivationRow> usable_activation_rows() {
  return of_every_target([] { return HWY_DYNAMIC_DISPATCH(activation_row_of_this_set)(); });
}

}  // namespace textvec::kernels
#endif
