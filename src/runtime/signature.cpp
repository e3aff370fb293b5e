// In: a graph's inputs and outputs. Out: which input takes what, which output is the answer. See
// signature.h.
#include "runtime/signature.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "graph/static.h"

namespace textvec::runtime {
namespace {

constexpr std::array<std::string_view, 4> kPooledNames{"sentence_embedding", "sentence_embeddings",
                                                       "text_embeds", "dense_vecs"};
constexpr std::array<std::string_view, 4> kHiddenNames{"last_hidden_state", "token_embeddings",
                                                       "hidden_states", "last_hidden_states"};

// With the layer's number as #.
constexpr std::array<std::string_view, 6> kPastNames{
    "past_key_values.#.key", "past_key_values.#.value", "past.#.key", "past.#.value", "past_key_#",
    "past_value_#"};

bool is_past(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789";
  const std::size_t begin = name.find_first_of(kDigits);
  if (begin == std::string_view::npos) return false;
  const std::size_t end = std::min(name.find_first_not_of(kDigits, begin), name.size());
  const std::string pattern =
      std::string(name.substr(0, begin)) + "#" + std::string(name.substr(end));
  return std::find(kPastNames.begin(), kPastNames.end(), pattern) != kPastNames.end();
}

std::optional<Feed> feed_of(std::string_view name) {
  if (name == "input_ids") return Feed::Ids;
  if (name == "attention_mask" || name == "input_mask") return Feed::Mask;
  if (name == "token_type_ids" || name == "segment_ids") return Feed::TypeIds;
  if (name == "position_ids") return Feed::PositionIds;
  if (is_past(name)) return Feed::PastKeyValues;
  if (name == graph::kEmbeddingsInput) return Feed::Embeddings;
  if (name == graph::kBiasInput) return Feed::Bias;
  if (name == graph::kLastTokenInput) return Feed::LastToken;
  return std::nullopt;
}

bool is_float(const Port& port) {
  return port.type == ElementType::Float || port.type == ElementType::Float16;
}

std::string describe(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) {
    text += (text.empty() ? "[" : ", ") + (size < 0 ? std::string("?") : std::to_string(size));
  }
  return text.empty() ? "[]" : text + "]";
}

Result<BoundInput> bind_past(const Port& port) {
  const auto unsupported = [&](const std::string& wanted) {
    return Error{ErrorCode::Unsupported, "input \"" + port.name + "\" is " + describe(port.shape) +
                                             "; textvec feeds empty caches, " + wanted};
  };
  if (port.shape.size() != 4 || port.shape[1] <= 0 || port.shape[3] <= 0) {
    return unsupported("[batch, heads, past length, head size] with heads and head size stated");
  }
  if (port.shape[2] > 0) return unsupported("and this one has a fixed length");
  if (!is_float(port)) return unsupported("of float or float16, and this one has another type");
  return BoundInput{port.name, Feed::PastKeyValues, port.type, port.shape[1], port.shape[3]};
}

Result<BoundInput> bind_float(const Port& port, Feed feed) {
  if (port.type == ElementType::Float && port.shape.size() == 2) {
    return BoundInput{port.name, feed, port.type, 0, 0};
  }
  return Error{ErrorCode::BadModel, "input \"" + port.name + "\" is " + describe(port.shape) +
                                        "; textvec feeds floats of rank 2"};
}

Result<BoundInput> bind(const Port& port) {
  const auto feed = feed_of(port.name);
  if (!feed) {
    return Error{ErrorCode::Unsupported,
                 "the graph wants an input \"" + port.name +
                     "\"; textvec feeds input_ids, attention_mask, token_type_ids, position_ids, "
                     "past_key_values.N.key and .value"};
  }
  if (*feed == Feed::PastKeyValues) return bind_past(port);
  if (*feed >= Feed::Embeddings) return bind_float(port, *feed);
  const bool integer = port.type == ElementType::Int64 || port.type == ElementType::Int32;
  if (!integer || port.shape.size() != 2) {
    return Error{ErrorCode::BadModel, "input \"" + port.name + "\" has rank " +
                                          std::to_string(port.shape.size()) +
                                          (integer ? "" : " and no integer type") +
                                          "; textvec feeds [batch, length] of int64 or int32"};
  }
  return BoundInput{port.name, *feed, port.type, 0, 0};
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
    has_ids = has_ids || input->feed == Feed::Ids || input->feed == Feed::Embeddings;
    signature.is_static = signature.is_static || input->feed >= Feed::Embeddings;
    signature.inputs.push_back(std::move(*input));
  }
  if (!has_ids) return Error{ErrorCode::BadModel, "the graph has no input \"input_ids\""};

  const auto output = choose_output(outputs);
  if (!output) return output.error();
  signature.output = output->name;
  signature.output_type = output->type;
  signature.pooled = output->shape.size() == 2;
  const std::int64_t width = output->shape.back();
  signature.width = width > 0 ? static_cast<std::size_t>(width) : 0;
  return signature;
}

Result<Port> choose_output(const std::vector<Port>& outputs) {
  const Port* output = find_named(outputs, kPooledNames, 2);
  if (output == nullptr) output = find_named(outputs, kHiddenNames, 3);
  if (output == nullptr) output = find_rank(outputs, 3);
  if (output == nullptr) output = find_rank(outputs, 2);
  if (output == nullptr) {
    return Error{ErrorCode::BadModel, "none of the graph's " + std::to_string(outputs.size()) +
                                          " outputs is a float tensor of rank 2 or 3"};
  }
  return *output;
}

}  // namespace textvec::runtime
