// In: the hidden states of one text. Out: one vector.
#pragma once

#include <cstddef>
#include <span>

#include "textvec/options.h"

namespace textvec::vectors {

// `hidden` is [length, width], the first `tokens` rows of which are the text; rows before `begin`
// (a prompt that the model does not pool) are left out; Cls then takes row `begin`. The formulas
// are those of sentence-transformers' Pooling module. REQUIRES: begin < tokens <= length,
// out.size() == width, pooling != FromModel. Sums are kept in double: the order of the tokens then
// does not show in a float.
void pool(Pooling pooling, std::span<const float> hidden, std::size_t begin, std::size_t tokens,
          std::span<float> out);

}  // namespace textvec::vectors
