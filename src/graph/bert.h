// In: a ModelSpec of the BERT family. Out: its encoder, as blocks.
#pragma once

#include "graph/blocks.h"
#include "model/safetensors.h"
#include "model/spec.h"

namespace textvec::graph {

// bert, roberta, xlm-roberta, distilbert. `weights` is only asked which names it holds: files of
// whole task models carry a prefix ("bert.", "roberta.") before the encoder's names.
void build_bert(const model::Transformer& transformer, const model::Weights& weights,
                Blocks& blocks);

}  // namespace textvec::graph
