// In: rows of hidden states. Out: their norms. See norm.h.
// Compiled once for each instruction set; norm() chooses at run time.
#include "kernels/norm.h"

#include <algorithm>
#include <cmath>

// The same as in tiles.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace textvec::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;

// Each pass goes over whole vectors, then over the numbers that are left.
void norm_row(const NormArguments& arguments, std::size_t row) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t width = arguments.width;
  const std::size_t whole = width - width % lanes;
  const float* input = arguments.input + row * width;
  const float* residual =
      arguments.residual != nullptr ? arguments.residual + row * width : nullptr;
  const float* bias = arguments.bias;
  const float* weight = arguments.weight;
  const float* shift = arguments.shift;
  float* output = arguments.output + row * width;  // what is normalised waits there

  auto sums = hn::Zero(tag);
  auto squares = hn::Zero(tag);
  for (std::size_t i = 0; i < whole; i += lanes) {
    auto value = hn::LoadU(tag, input + i);
    if (residual != nullptr) value = hn::Add(value, hn::LoadU(tag, residual + i));
    if (bias != nullptr) value = hn::Add(value, hn::LoadU(tag, bias + i));
    hn::StoreU(value, tag, output + i);
    sums = hn::Add(sums, value);
    squares = hn::MulAdd(value, value, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, sums));
  float square = hn::GetLane(hn::SumOfLanes(tag, squares));
  for (std::size_t i = whole; i < width; ++i) {
    output[i] =
        input[i] + (residual != nullptr ? residual[i] : 0) + (bias != nullptr ? bias[i] : 0);
    sum += output[i];
    square += output[i] * output[i];
  }

  const auto count = static_cast<float>(width);
  const float mean = shift != nullptr ? sum / count : 0;
  if (shift != nullptr) {
    // From the differences: of two large sums little would be left.
    const auto means = hn::Set(tag, mean);
    squares = hn::Zero(tag);
    for (std::size_t i = 0; i < whole; i += lanes) {
      const auto difference = hn::Sub(hn::LoadU(tag, output + i), means);
      squares = hn::MulAdd(difference, difference, squares);
    }
    square = hn::GetLane(hn::SumOfLanes(tag, squares));
    for (std::size_t i = whole; i < width; ++i) square += (output[i] - mean) * (output[i] - mean);
  }

  const float scale = 1 / std::sqrt(square / count + arguments.epsilon);
  const auto means = hn::Set(tag, mean);
  const auto scales = hn::Set(tag, scale);
  for (std::size_t i = 0; i < whole; i += lanes) {
    const auto unit = hn::Mul(hn::Sub(hn::LoadU(tag, output + i), means), scales);
    const auto weights = hn::LoadU(tag, weight + i);
    hn::StoreU(shift != nullptr ? hn::MulAdd(unit, weights, hn::LoadU(tag, shift + i))
                                : hn::Mul(unit, weights),
               tag, output + i);
  }
  for (std::size_t i = whole; i < width; ++i) {
    output[i] = (output[i] - mean) * scale * weight[i] + (shift != nullptr ? shift[i] : 0);
  }
}

NormRow norm_row_of_this_set() { return norm_row; }

}  // namespace HWY_NAMESPACE
}  // namespace textvec::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace textvec::kernels {

HWY_EXPORT(norm_row_of_this_set);

void norm(const NormArguments& arguments, const Parallel& parallel) {
  static const NormRow best = HWY_DYNAMIC_DISPATCH(norm_row_of_this_set)();
  const auto work = [&](std::size_t row) { best(arguments, row); };
  for_rows(arguments.rows, arguments.width, work, parallel);
}

std::vector<NormRow> usable_norm_rows() {
  return of_every_target([] { return HWY_DYNAMIC_DISPATCH(norm_row_of_this_set)(); });
}

}  // namespace textvec::kernels
#endif
