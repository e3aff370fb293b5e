// In: the hidden states of one text. Out: one vector. See pooling.h.
#include "vectors/pooling.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace textvec::vectors {
namespace {

void copy_row(std::span<const float> hidden, std::size_t row, std::span<float> out) {
  const auto values = hidden.subspan(row * out.size(), out.size());
  std::copy(values.begin(), values.end(), out.begin());
}

void sum_divided(std::span<const float> hidden, std::size_t begin, std::size_t end, double divisor,
                 std::span<float> out) {
  std::vector<double> sums(out.size(), 0.0);
  for (std::size_t row = begin; row < end; ++row) {
    const float* values = hidden.data() + row * out.size();
    for (std::size_t column = 0; column < out.size(); ++column) {
      sums[column] += static_cast<double>(values[column]);
    }
  }
  for (std::size_t column = 0; column < out.size(); ++column) {
    out[column] = static_cast<float>(sums[column] / divisor);
  }
}

void maximum(std::span<const float> hidden, std::size_t begin, std::size_t end,
             std::span<float> out) {
  copy_row(hidden, begin, out);
  for (std::size_t row = begin + 1; row < end; ++row) {
    const float* values = hidden.data() + row * out.size();
    for (std::size_t column = 0; column < out.size(); ++column) {
      // A NaN wins and stays, so that it is found later instead of being skipped.
      if (values[column] > out[column] || std::isnan(values[column])) out[column] = values[column];
    }
  }
}

}  // namespace

void pool(Pooling pooling, std::span<const float> hidden, std::size_t begin, std::size_t tokens,
          std::span<float> out) {
  const auto count = static_cast<double>(tokens - begin);
  switch (pooling) {
    case Pooling::Cls:
      return copy_row(hidden, begin, out);
    case Pooling::LastToken:
      return copy_row(hidden, tokens - 1, out);
    case Pooling::Max:
      return maximum(hidden, begin, tokens, out);
    case Pooling::MeanSqrtLen:
      return sum_divided(hidden, begin, tokens, std::sqrt(count), out);
    case Pooling::Mean:
    case Pooling::FromModel:
      return sum_divided(hidden, begin, tokens, count, out);
  }
}

}  // namespace textvec::vectors
