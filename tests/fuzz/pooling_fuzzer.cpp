// In: hidden states of any bits, a pooling mode, what part of them is the text. Property: an error
// when the pooled vector is not finite or is zero, else a finite vector of length 1; and what is
// not the text is never looked at.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "fuzz/bytes.h"
#include "fuzz/check.h"
#include "vectors/pooling.h"
#include "vectors/vector.h"

namespace textvec::fuzz {
namespace {

constexpr std::size_t kLengthMax = 8;
constexpr std::size_t kWidthMax = 8;
constexpr std::array<Pooling, 5> kPoolings{Pooling::Cls, Pooling::Mean, Pooling::LastToken,
                                           Pooling::Max, Pooling::MeanSqrtLen};

struct Case {
  explicit Case(Bytes& bytes)
      : pooling(kPoolings[bytes.between(0, kPoolings.size() - 1)]),
        normalize(bytes.between(0, 1) == 1),
        width(bytes.between(1, kWidthMax)),
        dimensions(bytes.between(1, width)),
        length(bytes.between(1, kLengthMax)),
        tokens(bytes.between(1, length)),
        begin(bytes.between(0, tokens - 1)),
        hidden(length * width) {
    for (float& value : hidden) value = bytes.number<float>();
  }

  Pooling pooling;
  bool normalize;
  std::size_t width;
  std::size_t dimensions;  // after the cut
  std::size_t length;
  std::size_t tokens;
  std::size_t begin;
  std::vector<float> hidden;
};

// A prompt and padding that would be seen at once.
std::vector<float> with_only_the_text(const Case& input) {
  std::vector<float> hidden(input.hidden.size(), std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = input.begin * input.width; i < input.tokens * input.width; ++i) {
    hidden[i] = input.hidden[i];
  }
  return hidden;
}

std::vector<float> pool(const Case& input, std::span<const float> hidden) {
  std::vector<float> pooled(input.width);
  vectors::pool(input.pooling, hidden, input.begin, input.tokens, pooled);
  return pooled;
}

bool all_finite(std::span<const float> vector) {
  for (const float value : vector) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

double length_of(std::span<const float> vector) {
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

void check_pooled(const Case& input, const std::vector<float>& pooled) {
  const auto alone = pool(input, with_only_the_text(input));
  for (std::size_t i = 0; i < pooled.size(); ++i) {
    check(pooled[i] == alone[i] || (std::isnan(pooled[i]) && std::isnan(alone[i])),
          "only the text is pooled");
  }
}

void check_finished(const Case& input, const std::vector<float>& pooled) {
  constexpr double kLengthMin = 1e-12;
  constexpr double kSlack = 1e-5;
  std::vector<float> out(input.dimensions);
  const auto finished = vectors::finish_vector(pooled, input.normalize, out);
  const double length = length_of(std::span(pooled).first(input.dimensions));
  if (!finished) {
    check_error(finished.error(), {ErrorCode::NonFinite});
    return check(!all_finite(pooled) || length < kLengthMin * (1 + kSlack),
                 "only what is not finite or is zero is refused");
  }
  check(all_finite(pooled) && length > kLengthMin * (1 - kSlack), "no such vector is let through");
  check(all_finite(out), "a vector is finite");
  if (input.normalize) {
    check(std::abs(length_of(out) - 1) <= kSlack, "a vector has length 1");
  } else {
    check(std::equal(out.begin(), out.end(), pooled.begin()), "a vector stays as it is");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const Case input(bytes);
  const auto pooled = pool(input, input.hidden);
  check_pooled(input, pooled);
  check_finished(input, pooled);
  return 0;
}

}  // namespace textvec::fuzz
