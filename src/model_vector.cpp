// In: what the runtime gave for a batch. Out: the model's vector of each row. See model_vector.h.
#include "model_vector.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "vectors/pooling.h"

namespace textvec {
namespace {

bool are_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

Error half_overflow() {
  return {ErrorCode::NonFinite,
          "the model's 16-bit file overflows for this text, and its vector is not finite; use "
          "the fp32 file"};
}

}  // namespace

Result<void> check_states(const runtime::HiddenStates& states, const batch::Batch& batch,
                          const runtime::SessionInfo& session, std::size_t width) {
  const std::size_t length = session.pooled ? 1 : batch.length;
  if (states.rows == batch.rows && states.length == length && states.width == width &&
      states.is_whole()) {
    return {};
  }
  return Error{ErrorCode::Internal,
               "the runtime gave [" + std::to_string(states.rows) + ", " +
                   std::to_string(states.length) + ", " + std::to_string(states.width) + "], " +
                   std::to_string(states.values.size()) + " numbers, for a batch of " +
                   std::to_string(batch.rows) + " x " + std::to_string(batch.length) +
                   " and width " + std::to_string(width)};
}

Result<std::vector<float>> model_vector(const runtime::HiddenStates& states,
                                        const batch::Batch& batch, std::size_t row,
                                        const runtime::SessionInfo& session, Pooling pooling,
                                        std::span<const vectors::Dense> dense_layers) {
  const std::span<const float> hidden = states.row(row);
  std::vector<float> vector(states.width);
  if (session.pooled) {
    std::copy(hidden.begin(), hidden.end(), vector.begin());
  } else {
    vectors::pool(pooling, hidden, batch.pool_begins[row], batch.lengths[row], vector);
  }
  // Any other vector that is not finite is found where it is finished; this one has a remedy.
  if (session.half && !are_finite(vector)) return half_overflow();
  for (const vectors::Dense& dense : dense_layers) vector = dense.apply(vector);
  return vector;
}

Result<std::span<const float>> row_token_vectors(const runtime::HiddenStates& states,
                                                 const batch::Batch& batch, std::size_t row,
                                                 const runtime::SessionInfo& session) {
  if (session.pooled) {
    return Error{ErrorCode::Unsupported,
                 "the model's graph gives one vector a text, and none of its tokens"};
  }
  const auto tokens = states.row(row).first(batch.lengths[row] * states.width);
  if (are_finite(tokens)) return tokens;
  if (session.half) return half_overflow();
  return Error{ErrorCode::NonFinite, "the model gave a token a value that is not a finite number"};
}

}  // namespace textvec
