// In: token ids of some texts. Out: right-padded matrices, and the plan of which texts share one.
#include "batch/batch.h"

#include <algorithm>
#include <numeric>

namespace textvec::batch {

std::size_t Batch::tokens_computed(bool packs) const {
  if (!packs) return rows * length;
  return std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
}

Batch make_batch(std::span<const Text* const> texts, std::int64_t pad_token_id) {
  Batch batch;
  batch.rows = texts.size();
  for (const Text* text : texts) batch.length = std::max(batch.length, text->ids.size());
  const std::size_t cells = batch.rows * batch.length;
  batch.ids.assign(cells, pad_token_id);
  batch.mask.assign(cells, 0);
  batch.type_ids.assign(cells, 0);
  batch.lengths.reserve(batch.rows);
  batch.pool_begins.reserve(batch.rows);
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const Text& text = *texts[row];
    const auto begin = static_cast<std::ptrdiff_t>(row * batch.length);
    std::copy(text.ids.begin(), text.ids.end(), batch.ids.begin() + begin);
    std::copy(text.type_ids.begin(), text.type_ids.end(), batch.type_ids.begin() + begin);
    std::fill_n(batch.mask.begin() + begin, text.ids.size(), 1);
    batch.lengths.push_back(text.ids.size());
    batch.pool_begins.push_back(text.pool_begin);
  }
  return batch;
}

namespace {

using Batches = std::vector<std::vector<std::size_t>>;

Batches plan_packed(std::span<const std::size_t> lengths, const PlanLimits& limits) {
  Batches batches;
  std::size_t tokens = 0;
  std::size_t longest = 0;
  for (std::size_t index = 0; index < lengths.size(); ++index) {
    tokens += lengths[index];
    longest = std::max(longest, lengths[index]);
    const bool fits =
        !batches.empty() && tokens <= limits.tokens_max &&
        (batches.back().size() + 1) * longest <= limits.padded_max * limits.tokens_max;
    if (!fits) {
      batches.emplace_back();
      tokens = longest = lengths[index];
    }
    batches.back().push_back(index);
  }
  return batches;
}

Batches plan_padded(std::span<const std::size_t> lengths, const PlanLimits& limits) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Equal lengths keep the order in which they came.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lengths[a] != lengths[b] ? lengths[a] < lengths[b] : a < b;
  });

  Batches batches;
  for (const std::size_t index : order) {
    // Ascending lengths: the newcomer is the longest row, so it alone sets the padded size.
    const auto takes = [&](const std::vector<std::size_t>& batch) {
      const std::size_t padding = (lengths[index] - lengths[batch.back()]) * batch.size();
      return padding <= limits.run_cost && lengths[index] * (batch.size() + 1) <= limits.tokens_max;
    };
    if (batches.empty() || !takes(batches.back())) batches.emplace_back();
    batches.back().push_back(index);
  }
  return batches;
}

}  // namespace

std::vector<std::vector<std::size_t>> plan(std::span<const std::size_t> lengths,
                                           const PlanLimits& limits) {
  return limits.pads ? plan_padded(lengths, limits) : plan_packed(lengths, limits);
}

}  // namespace textvec::batch
