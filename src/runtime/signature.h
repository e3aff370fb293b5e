// In: the names, types and shapes of an ONNX graph's inputs and outputs. Out: which input takes
// what and which output is the answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/port.h"
#include "textvec/result.h"

namespace textvec::runtime {

using graph::ElementType;
using graph::Port;

enum class Feed : std::uint8_t {
  Ids,
  Mask,
  TypeIds,
  PositionIds,
  PastKeyValues,
  // Of textvec's own static graphs, graph/static.h:
  Embeddings,
  Bias,
  LastToken,
};

struct BoundInput {
  std::string name{};
  Feed feed = Feed::Ids;
  // Int64 or Int32; PastKeyValues: Float or Float16; of a static graph: Float.
  ElementType type = ElementType::Int64;
  // Of PastKeyValues, which is fed empty: [batch, heads, 0, head_size].
  std::int64_t heads = 0;
  std::int64_t head_size = 0;
};

struct Signature {
  std::vector<BoundInput> inputs{};
  std::string output{};
  ElementType output_type = ElementType::Float;  // Float or Float16
  bool pooled = false;                           // the output is [batch, width]
  std::size_t width = 0;                         // 0: the graph does not state it
  bool is_static = false;                        // takes what only static graphs take
};

// Inputs are recognised by name: input_ids, attention_mask (also input_mask), token_type_ids (also
// segment_ids), position_ids; each [batch, length] of int64 or int32. Decoders also take the keys
// and values of earlier tokens, which an embedding does not have: past_key_values.N.key and .value
// (also past.N.key, past_key_N), [batch, heads, past length, head size]. textvec's static graphs
// take token_embeddings, attention_bias and last_token instead. The output:
// 1. a rank-2 float output whose name says that it is the sentence's vector: the graph pools;
// 2. else a rank-3 float output, by its usual names first, then the first in the graph's order;
// 3. else a rank-2 float output: the graph pools.
// So BERT's rank-2 "pooler_output" (a classifier's input, no sentence vector) loses to the hidden
// states, whatever an exporter calls the two.
// Errors: Unsupported (input that cannot be fed, named), BadModel (no input_ids and no
// token_embeddings, no float output).
Result<Signature> choose_signature(const std::vector<Port>& inputs,
                                   const std::vector<Port>& outputs);

// The output alone, by the same rules.
Result<Port> choose_output(const std::vector<Port>& outputs);

}  // namespace textvec::runtime
