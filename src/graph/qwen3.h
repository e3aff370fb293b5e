// In: a ModelSpec of the Qwen3 family. Out: its decoder, as blocks.
#pragma once

#include "graph/blocks.h"
#include "model/safetensors.h"
#include "model/spec.h"

namespace textvec::graph {

// With Pooling::LastToken the last layer is computed for the last tokens only, and the graph gives
// one vector a text; else it gives hidden states. `weights` is only asked which names it holds:
// files of the language model carry a prefix ("model.") before the decoder's names.
void build_qwen3(const model::Transformer& transformer, Pooling pooling,
                 const model::Weights& weights, Blocks& blocks);

}  // namespace textvec::graph
