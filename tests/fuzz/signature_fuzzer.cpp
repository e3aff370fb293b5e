// In: the inputs and outputs of a graph that a stranger exported. Property: an error, or a
// signature that feeds every input and whose output is one of the graph's, of the rank, type and
// width said, and in the order of preference that signature.h gives.
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/bytes.h"
#include "fuzz/check.h"
#include "runtime/signature.h"

namespace textvec::fuzz {
namespace {

using runtime::ElementType;
using runtime::Feed;
using runtime::Port;
using runtime::Signature;

constexpr std::array<std::string_view, 19> kNames{
    "input_ids",     "attention_mask",     "input_mask",         "token_type_ids",
    "segment_ids",   "position_ids",       "sentence_embedding", "sentence_embeddings",
    "text_embeds",   "dense_vecs",         "last_hidden_state",  "token_embeddings",
    "hidden_states", "last_hidden_states", "pooler_output",      "past_key_values.0.key",
    "past.27.value", "past_key_1",         "present.0.key"};
constexpr std::array<std::int64_t, 6> kSizes{-1,
                                             0,
                                             1,
                                             384,
                                             std::numeric_limits<std::int64_t>::max(),
                                             std::numeric_limits<std::int64_t>::min()};
constexpr std::size_t kPortsMax = 6;
constexpr std::size_t kRankMax = 4;

Port read_port(Bytes& bytes) {
  Port port;
  const std::size_t name = bytes.between(0, kNames.size());
  port.name = name < kNames.size() ? std::string(kNames[name]) : bytes.text(bytes.between(0, 40));
  port.type = static_cast<ElementType>(bytes.between(0, 4));
  const std::size_t rank = bytes.between(0, kRankMax);
  while (port.shape.size() < rank) {
    const std::size_t size = bytes.between(0, kSizes.size());
    port.shape.push_back(size < kSizes.size() ? kSizes[size] : bytes.number<std::int64_t>());
  }
  return port;
}

std::vector<Port> read_ports(Bytes& bytes) {
  std::vector<Port> ports(bytes.between(0, kPortsMax));
  for (Port& port : ports) port = read_port(bytes);
  return ports;
}

bool is_float(const Port& port) {
  return port.type == ElementType::Float || port.type == ElementType::Float16;
}

bool is_pooled_name(std::string_view name) {
  return name == "sentence_embedding" || name == "sentence_embeddings" || name == "text_embeds" ||
         name == "dense_vecs";
}

// A cache can be made empty from what is known of it.
void check_past(const Port& port, const runtime::BoundInput& input) {
  check(is_float(port) && port.shape.size() == 4, "a cache is a float tensor of rank 4");
  check(input.heads > 0 && input.heads == port.shape[1], "the heads are the graph's");
  check(input.head_size > 0 && input.head_size == port.shape[3], "their size is the graph's");
  check(port.shape[2] <= 0, "its length may be 0");
}

void check_inputs(const std::vector<Port>& ports, const Signature& signature) {
  check(signature.inputs.size() == ports.size(), "every input is fed");
  bool has_ids = false;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto& input = signature.inputs[i];
    check(input.name == ports[i].name && input.type == ports[i].type, "inputs keep their order");
    if (input.feed == Feed::PastKeyValues) {
      check_past(ports[i], input);
      continue;
    }
    check(ports[i].shape.size() == 2, "only matrices are fed");
    has_ids = has_ids || input.feed == Feed::Ids || input.feed == Feed::Embeddings;
    if (input.feed >= Feed::Embeddings) {
      check(input.type == ElementType::Float, "static graphs take floats");
      check(signature.is_static, "what is of a static graph is said");
      continue;
    }
    check(input.type == ElementType::Int64 || input.type == ElementType::Int32,
          "only integers are fed");
  }
  check(has_ids, "the ids or their rows are fed");
}

void check_output(const std::vector<Port>& ports, const Signature& signature) {
  const std::size_t rank = signature.pooled ? 2 : 3;
  const auto is_it = [&](const Port& port) {
    return port.name == signature.output && port.type == signature.output_type &&
           port.shape.size() == rank &&
           (port.shape.back() > 0 ? signature.width == static_cast<std::size_t>(port.shape.back())
                                  : signature.width == 0);
  };
  check(std::any_of(ports.begin(), ports.end(), is_it), "the output is one of the graph's");
  const auto has = [&](auto condition) {
    return std::any_of(ports.begin(), ports.end(),
                       [&](const Port& port) { return is_float(port) && condition(port); });
  };
  check(
      signature.output_type == ElementType::Float || signature.output_type == ElementType::Float16,
      "the output holds floats");
  const bool names_pooled =
      has([](const Port& port) { return port.shape.size() == 2 && is_pooled_name(port.name); });
  const bool has_hidden = has([](const Port& port) { return port.shape.size() == 3; });
  check(signature.pooled == (names_pooled || !has_hidden),
        "hidden states win unless an output is named as the sentence's vector");
  check(!names_pooled || is_pooled_name(signature.output), "the named output wins");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const auto inputs = read_ports(bytes);
  const auto outputs = read_ports(bytes);
  const auto signature = runtime::choose_signature(inputs, outputs);
  if (signature) {
    check_inputs(inputs, *signature);
    check_output(outputs, *signature);
  } else {
    check_error(signature.error(), {ErrorCode::BadModel, ErrorCode::Unsupported});
  }
  return 0;
}

}  // namespace textvec::fuzz
