// In: the names, types and shapes of an ONNX graph's inputs and outputs. Out: which input takes
// what and which output is the answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "textvec/result.h"

namespace textvec::runtime {

enum class ElementType : std::uint8_t { Float, Float16, Int64, Int32, Other };

struct Port {
  std::string name{};
  ElementType type = ElementType::Other;
  std::vector<std::int64_t> shape{};  // -1: varies
};

enum class Feed : std::uint8_t { Ids, Mask, TypeIds, PositionIds };

struct BoundInput {
  std::string name{};
  Feed feed = Feed::Ids;
  ElementType type = ElementType::Int64;  // Int64 or Int32
};

struct Signature {
  std::vector<BoundInput> inputs{};
  std::string output{};
  ElementType output_type = ElementType::Float;  // Float or Float16
  bool pooled = false;                           // the output is [batch, width]
  std::size_t width = 0;                         // 0: the graph does not state it
};

// Inputs are recognised by name: input_ids, attention_mask (also input_mask), token_type_ids (also
// segment_ids), position_ids; each [batch, length] of int64 or int32. The output:
// 1. a rank-2 float output whose name says that it is the sentence's vector: the graph pools;
// 2. else a rank-3 float output, by its usual names first, then the first in the graph's order;
// 3. else a rank-2 float output: the graph pools.
// So BERT's rank-2 "pooler_output" (a classifier's input, no sentence vector) loses to the hidden
// states, whatever an exporter calls the two.
// Errors: Unsupported (input that cannot be fed, named), BadModel (no input_ids, no float output).
Result<Signature> choose_signature(const std::vector<Port>& inputs,
                                   const std::vector<Port>& outputs);

}  // namespace textvec::runtime
