// In: config.json of a decoder. Out: how its rotary position embedding turns the heads' components.
// Formulas: "RoFormer" (arXiv 2104.09864); scaling as in transformers 5.24's modeling_rope_utils:
// "linear", and "yarn" of arXiv 2309.00071.
#pragma once

#include <cstddef>
#include <vector>

#include "model/json.h"
#include "textvec/result.h"

namespace textvec::model {

// At position p, component i of a head's first half and component i of its second half are turned
// by p * inverse_frequencies[i] radians, and then multiplied by `scale`.
struct Rotary {
  std::vector<float> inverse_frequencies{};  // head_size / 2
  float scale = 1;
};

// Reads rope_parameters, or rope_theta with rope_scaling as older releases write it. `head_size` is
// even. Errors: BadModel (key named), Unsupported (a rope_type that textvec does not compute).
Result<Rotary> read_rotary(const JsonReader& config, std::size_t head_size,
                           std::size_t positions_max);

}  // namespace textvec::model
