// In: token ids of some texts. Out: one inference: a right-padded matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace textvec::batch {

// One text, ready to run.
struct Text {
  std::vector<std::uint32_t> ids{};
  std::vector<std::uint32_t> type_ids{};  // empty: all 0
  std::size_t pool_begin = 0;             // first token that pooling looks at
};

// rows x length, row-major, padded on the right.
struct Batch {
  std::size_t rows = 0;
  std::size_t length = 0;
  std::vector<std::int64_t> ids{};
  std::vector<std::int64_t> mask{};  // 1: token, 0: padding
  std::vector<std::int64_t> type_ids{};
  std::vector<std::size_t> lengths{};      // per row, without padding
  std::vector<std::size_t> pool_begins{};  // per row
  std::vector<float> embeddings{};         // [rows, length, width], for graphs that begin with them

  // That a run computes: with padding, unless its graph packs.
  std::size_t tokens_computed(bool packs) const;
};

Batch make_batch(std::span<const Text* const> texts, std::int64_t pad_token_id);

struct PlanLimits {
  std::size_t tokens_max = 1024;  // that are computed
  // Whether padding is computed: then a batch has rows x longest row tokens.
  bool pads = true;
  // What a run costs beside its tokens, in tokens: a longer text that would pad the others by more
  // begins a batch of its own.
  std::size_t run_cost = 16;
  // Without computed padding: rows x longest row, in tokens_max. It takes memory all the same.
  std::size_t padded_max = 8;
};

// Splits texts of these lengths into batches, shortest first, or as they come where no padding is
// computed: every index exactly once, each batch within tokens_max unless it is one text alone.
std::vector<std::vector<std::size_t>> plan(std::span<const std::size_t> lengths,
                                           const PlanLimits& limits);

}  // namespace textvec::batch
