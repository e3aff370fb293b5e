// In: token ids. Out: the rows that a static graph begins with. See input_rows.h.
#include "runtime/input_rows.h"

#include <string>

namespace textvec::runtime {

Result<InputRows> InputRows::open(const model::Weights& weights,
                                  const graph::EmbeddingNames& names) {
  const auto table = [&](const std::string& name, std::size_t rows) {
    return weights.get(name, std::vector<std::size_t>{rows, names.hidden_size});
  };
  InputRows rows;
  rows.names_ = names;
  auto tokens = table(names.tokens, names.vocabulary_size);
  if (!tokens) return std::move(tokens).error();
  rows.tokens_ = std::move(*tokens);
  if (names.positions.empty()) return rows;
  auto positions = table(names.positions, names.positions_max);
  if (!positions) return std::move(positions).error();
  rows.positions_ = std::move(*positions);
  rows.type_.resize(names.hidden_size);
  if (names.types.empty()) return rows;
  const auto types = table(names.types, names.type_vocabulary_size);
  if (!types) return types.error();
  types->copy_to(0, rows.type_);
  return rows;
}

Result<void> InputRows::write(std::span<const std::int64_t> ids, std::span<float> out) const {
  std::vector<float> position_row(type_.size());
  // Above 0, positions count the ids other than the padding's, which has the row before the first.
  const std::size_t offset = names_.position_offset;
  std::size_t counted = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    if (ids[i] < 0 || id >= names_.vocabulary_size) {
      return Error{ErrorCode::InvalidArgument, "token " + std::to_string(ids[i]) +
                                                   "; the model has " +
                                                   std::to_string(names_.vocabulary_size)};
    }
    const auto row = out.subspan(i * width(), width());
    tokens_.copy_to(id * width(), row);
    if (type_.empty()) continue;
    const bool is_padding = offset > 0 && id == offset - 1;
    const std::size_t position = is_padding ? offset - 1 : offset + counted++;
    if (position >= names_.positions_max) {
      return Error{ErrorCode::InvalidArgument, "position " + std::to_string(position) +
                                                   "; the model has " +
                                                   std::to_string(names_.positions_max)};
    }
    positions_.copy_to(position * width(), position_row);
    // In the order in which FusedTarget adds them.
    for (std::size_t j = 0; j < row.size(); ++j) row[j] += position_row[j] + type_[j];
  }
  return {};
}

}  // namespace textvec::runtime
