// In: what the runtime gave for a batch. Out: the model's vector of each row, before any cut or
// normalisation: pooled, and through the dense layers; or those of a row's tokens, as they are.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "batch/batch.h"
#include "runtime/session.h"
#include "textvec/options.h"
#include "textvec/result.h"
#include "vectors/dense.h"

namespace textvec {

// Whether the states are of the shape that model_vector() reads; `width` is that of the session's
// output. Errors: Internal (both shapes named).
Result<void> check_states(const runtime::HiddenStates& states, const batch::Batch& batch,
                          const runtime::SessionInfo& session, std::size_t width);

// `pooling` counts unless the graph pools itself. REQUIRES: check_states(). Errors: NonFinite (a
// 16-bit file that overflowed).
Result<std::vector<float>> model_vector(const runtime::HiddenStates& states,
                                        const batch::Batch& batch, std::size_t row,
                                        const runtime::SessionInfo& session, Pooling pooling,
                                        std::span<const vectors::Dense> dense_layers);

// Of all tokens of a row, without padding; valid as long as the states are. REQUIRES:
// check_states(). Errors: Unsupported (the graph pooled), NonFinite (a token's vector is).
Result<std::span<const float>> row_token_vectors(const runtime::HiddenStates& states,
                                                 const batch::Batch& batch, std::size_t row,
                                                 const runtime::SessionInfo& session);

}  // namespace textvec
