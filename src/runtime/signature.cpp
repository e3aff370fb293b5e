// In: a graph's inputs and outputs. Out: which input takes what, which output is the answer. See
// signature.h.
#include "runtime/signature.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace textvec::runtime {
namespace {

constexpr std::array<std::string_view, 4> kPooledNames{"sentence_embedding", "sentence_embeddings",
                                                       "text_embeds", "dense_vecs"};
constexpr std::array<std::string_view, 4> kHiddenNames{"last_hidden_state", "token_embeddings",
                                                       "hidden_states", "last_hidden_states"};

std::optional<Feed> feed_of(std::string_view name) {
  if (name == "input_ids") return Feed::Ids;
  if (name == "attention_mask" || name == "input_mask") return Feed::Mask;
  if (name == "token_type_ids" || name == "segment_ids") return Feed::TypeIds;
  if (name == "position_ids") return Feed::PositionIds;
  return std::nullopt;
}

bool is_float(const Port& port) {
  return port.type == ElementType::Float || port.type == ElementType::Float16;
}

Result<BoundInput> bind(const Port& port) {
  const auto feed = feed_of(port.name);
  if (!feed) {
    return Error{ErrorCode::Unsupported,
                 "the graph wants an input \"" + port.name +
                     "\"; textvec feeds input_ids, attention_mask, token_type_ids, position_ids"};
  }
  const bool integer = port.type == ElementType::Int64 || port.type == ElementType::Int32;
  if (!integer || port.shape.size() != 2) {
    return Error{ErrorCode::BadModel, "input \"" + port.name + "\" has rank " +
                                          std::to_string(port.shape.size()) +
                                          (integer ? "" : " and no integer type") +
                                          "; textvec feeds [batch, length] of int64 or int32"};
  }
  return BoundInput{port.name, *feed, port.type};
}

template <std::size_t n>
const Port* find_named(const std::vector<Port>& ports, const std::array<std::string_view, n>& names,
                       std::size_t rank) {
  for (const std::string_view name : names) {
    const auto found = std::find_if(ports.begin(), ports.end(), [&](const Port& port) {
      return port.name == name && port.shape.size() == rank && is_float(port);
    });
    if (found != ports.end()) return &*found;
  }
  return nullptr;
}

const Port* find_rank(const std::vector<Port>& ports, std::size_t rank) {
  const auto found = std::find_if(ports.begin(), ports.end(), [&](const Port& port) {
    return port.shape.size() == rank && is_float(port);
  });
  return found == ports.end() ? nullptr : &*found;
}

}  // namespace

Result<Signature> choose_signature(const std::vector<Port>& inputs,
                                   const std::vector<Port>& outputs) {
  Signature signature;
  bool has_ids = false;
  for (const Port& port : inputs) {
    auto input = bind(port);
    if (!input) return input.error();
    has_ids = has_ids || input->feed == Feed::Ids;
    signature.inputs.push_back(std::move(*input));
  }
  if (!has_ids) return Error{ErrorCode::BadModel, "the graph has no input \"input_ids\""};

  const Port* output = find_named(outputs, kPooledNames, 2);
  if (output == nullptr) output = find_named(outputs, kHiddenNames, 3);
  if (output == nullptr) output = find_rank(outputs, 3);
  if (output == nullptr) output = find_rank(outputs, 2);
  if (output == nullptr) {
    return Error{ErrorCode::BadModel, "none of the graph's " + std::to_string(outputs.size()) +
                                          " outputs is a float tensor of rank 2 or 3"};
  }
  signature.output = output->name;
  signature.output_type = output->type;
  signature.pooled = output->shape.size() == 2;
  const std::int64_t width = output->shape.back();
  signature.width = width > 0 ? static_cast<std::size_t>(width) : 0;
  return signature;
}

}  // namespace textvec::runtime
