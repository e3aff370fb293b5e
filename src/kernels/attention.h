// In: queries, keys and values of texts. Out: what each token attends to, in both directions or to
// those before it, on the instructions that this processor has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/parallel.h"
#include "kernels/tiles.h"

namespace textvec::kernels {

// softmax(q k^T / sqrt(head_size)) v for each head (arXiv 1706.03762), over the tokens of a text.
// Texts stand one behind the other, without padding. Heads share keys and values in groups of
// heads / key_value_heads (arXiv 2305.13245).
struct AttentionArguments {
  const float* queries = nullptr;  // [all tokens - before, heads * head_size]
  const float* keys = nullptr;     // [all tokens, key_value_heads * head_size]
  const float* values = nullptr;   // the same
  // [3, heads * head_size], added to queries, keys and values; nullptr: none, as it must be where
  // heads share or are turned
  const float* bias = nullptr;
  // [longest text or more, head_size / 2]: queries and keys are turned by their position's angles,
  // half a head against the other half (arXiv 2104.09864, as Hugging Face lays heads out); nullptr:
  // not
  const float* cosine = nullptr;
  const float* sine = nullptr;
  bool causal = false;  // a token attends to itself and to those before it
  // Queries, keys, values and what a softmax gives are rounded to bfloat16, where the processor has
  // an instruction for those: two products for one.
  bool coarse = false;
  std::span<const std::size_t> tokens{};  // of each text, one at least
  // Of the only text: so many tokens have no queries here, those of the pieces before this one.
  std::size_t before = 0;
  std::size_t heads = 0;
  std::size_t key_value_heads = 0;  // `heads` is a multiple
  std::size_t head_size = 0;
  float* output = nullptr;       // as the queries
  std::size_t threads = 1;       // that `parallel` has
  const Tiles* tiles = nullptr;  // nullptr: the best; see tiles.h
};

// A text's result is the same in any company, bit for bit. Thread-safe. `scratch` has
// attention_scratch_bytes(), aligned to 64.
void attention(const AttentionArguments& arguments, std::span<std::byte> scratch,
               const Parallel& parallel);
std::size_t attention_scratch_bytes(const AttentionArguments& arguments) noexcept;

}  // namespace textvec::kernels
