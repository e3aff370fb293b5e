// In: a budget and the lengths of some texts. Property: the plan holds every text once, shortest
// first or as they come, in batches within the budget or of one text; a batch holds its texts'
// tokens and padding.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "fuzz/bytes.h"
#include "fuzz/check.h"

namespace textvec::fuzz {
namespace {

using batch::Batch;
using batch::Text;

constexpr std::size_t kTokensMax = std::size_t{1} << 30;  // a text of 1 GiB, a token a byte
constexpr std::size_t kRowsMax = 12;                      // of a batch that is really made
constexpr std::size_t kLengthMax = 24;

// Mostly short; 255 announces a number of any size.
std::vector<std::size_t> read_lengths(Bytes& bytes) {
  std::vector<std::size_t> lengths;
  while (bytes.left() != 0) {
    std::size_t length = bytes.number<std::uint8_t>();
    if (length == 255) length = bytes.number<std::uint32_t>() % (kTokensMax + 1);
    lengths.push_back(length);
  }
  return lengths;
}

void check_plan(const std::vector<std::size_t>& lengths, std::size_t budget) {
  const batch::PlanLimits limits{budget};
  const auto batches = batch::plan(lengths, limits);
  std::vector<std::size_t> order;
  const std::vector<std::size_t>* before = nullptr;
  for (const auto& indices : batches) {
    check(!indices.empty(), "a batch holds something");
    for (const std::size_t index : indices) check(index < lengths.size(), "an index is of a text");
    const std::size_t shortest = lengths[indices.front()];
    const std::size_t longest = lengths[indices.back()];
    check(indices.size() == 1 || indices.size() * longest <= budget, "the budget is kept");
    const bool had_to_end = before == nullptr || (before->size() + 1) * shortest > budget ||
                            (shortest - lengths[before->back()]) * before->size() > limits.run_cost;
    check(had_to_end, "no batch ends early");
    order.insert(order.end(), indices.begin(), indices.end());
    before = &indices;
  }
  check(std::is_sorted(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) {
                         return lengths[a] != lengths[b] ? lengths[a] < lengths[b] : a < b;
                       }),
        "shorter texts come first, equal ones as they came");
  std::sort(order.begin(), order.end());
  check(order.size() == lengths.size() &&
            std::adjacent_find(order.begin(), order.end()) == order.end(),
        "every text is in one batch");
}

void check_packed_plan(const std::vector<std::size_t>& lengths, std::size_t budget) {
  const batch::PlanLimits limits{budget, false};
  std::size_t next = 0;
  std::size_t tokens = 0;
  std::size_t longest = 0;
  std::size_t rows_before = 0;
  for (const auto& indices : batch::plan(lengths, limits)) {
    check(!indices.empty() && indices.front() == next, "texts come as they are");
    const auto fits = [&](std::size_t rows, std::size_t length) {
      return tokens + length <= budget &&
             rows * std::max(longest, length) <= limits.padded_max * budget;
    };
    check(rows_before == 0 || !fits(rows_before + 1, lengths[next]), "no batch ends early");
    tokens = longest = 0;
    for (std::size_t row = 0; row < indices.size(); ++row, ++next) {
      check(indices[row] == next, "texts come as they are");
      check(row == 0 || fits(row + 1, lengths[next]), "the budget is kept");
      tokens += lengths[next];
      longest = std::max(longest, lengths[next]);
    }
    rows_before = indices.size();
  }
  check(next == lengths.size(), "every text is in one batch");
}

// Ids that differ everywhere, so that none can stand in the wrong place unseen. Every other text
// says its types.
std::vector<Text> make_texts(const std::vector<std::size_t>& lengths) {
  std::vector<Text> texts(std::min(lengths.size(), kRowsMax));
  for (std::size_t row = 0; row < texts.size(); ++row) {
    const std::size_t length = std::min(lengths[row], kLengthMax);
    texts[row].pool_begin = length / 2;
    for (std::size_t column = 0; column < length; ++column) {
      texts[row].ids.push_back(static_cast<std::uint32_t>(1 + row * kLengthMax + column));
      if (row % 2 != 0) texts[row].type_ids.push_back(static_cast<std::uint32_t>(column % 3));
    }
  }
  return texts;
}

void check_cell(const Batch& batch, const Text& text, std::size_t row, std::size_t column) {
  constexpr std::int64_t kPadding = -7;
  const std::size_t cell = row * batch.length + column;
  const bool token = column < text.ids.size();
  const bool typed = token && !text.type_ids.empty();
  check(batch.ids[cell] == (token ? text.ids[column] : kPadding), "ids stand left of padding");
  check(batch.mask[cell] == (token ? 1 : 0), "the mask marks tokens");
  check(batch.type_ids[cell] == (typed ? text.type_ids[column] : 0), "types stand by their ids");
}

void check_batch(const std::vector<Text>& texts) {
  std::vector<const Text*> pointers;
  std::size_t longest = 0;
  for (const Text& text : texts) {
    pointers.push_back(&text);
    longest = std::max(longest, text.ids.size());
  }
  const Batch batch = batch::make_batch(pointers, -7);
  const std::size_t cells = texts.size() * longest;
  check(batch.rows == texts.size() && batch.length == longest, "the longest text sets the length");
  check(batch.ids.size() == cells && batch.mask.size() == cells && batch.type_ids.size() == cells,
        "a matrix has rows x length cells");
  check(batch.lengths.size() == texts.size() && batch.pool_begins.size() == texts.size(),
        "every row has its numbers");
  for (std::size_t row = 0; row < texts.size(); ++row) {
    check(batch.lengths[row] == texts[row].ids.size(), "a row's length is its text's");
    check(batch.pool_begins[row] == texts[row].pool_begin, "a row's pool_begin is its text's");
    for (std::size_t column = 0; column < longest; ++column) {
      check_cell(batch, texts[row], row, column);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const std::size_t budget = bytes.number<std::uint16_t>();
  const auto lengths = read_lengths(bytes);
  check_plan(lengths, budget);
  check_packed_plan(lengths, budget);
  check_batch(make_texts(lengths));
  return 0;
}

}  // namespace textvec::fuzz
