// What a caller may choose. Every field has a default, so a caller names only what differs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace textvec {

enum class Provider : std::uint8_t { Auto, Cpu, CoreMl, WebGpu, Cuda, OpenVino };
enum class Precision : std::uint8_t { Auto, F32, F16, Int8 };
// How the hidden states of one text become one vector (sentence-transformers' pooling modes).
enum class Pooling : std::uint8_t { FromModel, Cls, Mean, LastToken, Max, MeanSqrtLen };
// Which of the model's prompts goes before a text. Unspecified: the model's default prompt, which
// most models do not have. A role for which the model has no prompt adds nothing.
enum class Role : std::uint8_t { Unspecified, Document, Query };
enum class TooLong : std::uint8_t { Truncate, Refuse };
enum class TruncationSide : std::uint8_t { Right, Left };
// What one bad text (invalid UTF-8, too long, a non-finite vector) does to its call.
enum class BadText : std::uint8_t {
  FailCall,  // the call's result is that text's error
  Report,    // the others get their vectors; the error stands in Embeddings::failures
};

struct LoadOptions {
  // What is computed.
  Pooling pooling = Pooling::FromModel;
  Precision precision = Precision::Auto;  // Auto: f32
  Provider provider = Provider::Auto;     // falls back to Cpu; ModelInfo::provider_note says why
  bool require_provider = false;          // fail with ErrorCode::Provider instead of falling back
  bool check_weights = false;  // look for NaN and infinity in all weights first (BadModel)

  // How fast, and with how much memory.
  unsigned threads = 0;                   // of one inference; 0: the machine's physical cores
  std::size_t batch_tokens_max = 1024;    // padding included, in one inference; 1..1,048,576
  std::size_t queue_texts_max = 4096;     // waiting in the engine; above it: Overloaded
  std::size_t text_bytes_max = 1U << 20;  // of one text with its prompt; above it: InvalidArgument

  // Compiled graphs go below this folder; empty: $TEXTVEC_CACHE, else the user's cache folder.
  std::string cache_folder{};
  // Receives one line per event of loading. May be called from any thread; empty: silence.
  std::function<void(std::string_view)> log{};
};

struct EmbedOptions {
  Role role = Role::Unspecified;
  std::optional<std::string> prompt{};       // a prompt of the model, by name; not with a role
  std::optional<std::string> instruction{};  // the task of an instruction model's query prompt
  TooLong too_long = TooLong::Truncate;
  TruncationSide truncation_side = TruncationSide::Right;
  std::optional<std::size_t> dimensions{};  // cut to this many, 1..native, and normalise again
  bool normalize = true;                    // to Euclidean length 1
  BadText bad_text = BadText::FailCall;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop{};
};

}  // namespace textvec
