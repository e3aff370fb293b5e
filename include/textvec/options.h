// What a caller may choose. Every field has a default, so a caller names only what differs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace textvec {

enum class Provider : std::uint8_t { Auto, Cpu, CoreMl, WebGpu, Cuda, OpenVino, TensorRt, Mlx };
enum class Precision : std::uint8_t { Auto, F32, F16, Int8 };
// How the hidden states of one text become one vector (sentence-transformers' pooling modes).
enum class Pooling : std::uint8_t { FromModel, Cls, Mean, LastToken, Max, MeanSqrtLen };
// Which of the model's prompts goes before a text. Unspecified: the model's default prompt, which
// most models do not have. A role for which the model has no prompt adds nothing.
enum class Role : std::uint8_t { Unspecified, Document, Query };
// What happens to a text of more tokens than the model takes.
enum class TooLong : std::uint8_t {
  Truncate,  // cut off at truncation_side
  Refuse,    // InputTooLong
  // Split into windows of chunk_tokens, neighbours of which share chunk_overlap tokens; each window
  // begins with the prompt and has the special tokens of a text. With windows k of n_k tokens of
  // the text (Chunk::tokens) and vectors v_k of native dimension, the text's vector is
  //   sum_k(n_k * v_k / |v_k|) / sum_k(n_k)      (normalize = false: v_k as it is)
  // which is then cut to `dimensions` and normalised like any other. Tokens that two windows share
  // count in both. A text that fits has the same vector as without chunking.
  Chunk,
};
enum class TruncationSide : std::uint8_t { Right, Left };
// What one bad text (invalid UTF-8, too long, a non-finite vector) does to its call.
enum class BadText : std::uint8_t {
  FailCall,  // the call's result is that text's error
  Report,    // the others get their vectors; the error stands in Embeddings::failures
};

// The graph that textvec writes from a model's weights.
enum class Target : std::uint8_t {
  Auto,    // Static where the provider wants it (CoreMl, Mlx), else Fused
  Fused,   // any shape, ONNX Runtime's fused operators: for processors
  Static,  // a few fixed shapes, plain operators: for accelerators that compile a program
};

// A shape of a static graph.
struct Bucket {
  std::size_t texts = 0;   // 1..64
  std::size_t tokens = 0;  // of each text, padding included; 1..2048

  bool operator==(const Bucket&) const = default;
};

struct LoadOptions {
  // What is computed.
  Pooling pooling = Pooling::FromModel;
  Precision precision = Precision::Auto;  // Auto: f32
  Target target = Target::Auto;
  // With Target::Static: the shapes, 16 at most, each prepared at its first use. Empty: textvec's
  // choice, docs/coreml.md. Longer texts run on the processor's fused graph.
  std::vector<Bucket> buckets{};
  bool check_weights = false;  // look for NaN and infinity in all weights first (BadModel)

  // Where it is computed. Auto: the best of this platform that is present and whose trial showed
  // the processor's vectors in less time; else Cpu. A provider that cannot be used falls back to
  // Cpu, and ModelInfo::provider_note says why.
  Provider provider = Provider::Auto;
  // Fail with ErrorCode::Provider instead of falling back while loading. A provider that is right
  // and slower than the processor is then used.
  bool require_provider = false;
  // Of the provider that is named, such as {"MLComputeUnits", "CPUAndGPU"}; README.md lists them.
  std::map<std::string, std::string> provider_options{};
  // The plugin library of the provider that is named: the file, or a folder that holds it; an
  // absolute path. Empty: $TEXTVEC_PROVIDER_LIBRARIES, such files and folders with ':' between.
  std::string provider_library{};
  // The first use of a provider with a model is a trial in a process of its own, because some end
  // the process. That process is the program `textvec`, named here by an absolute path; empty:
  // $TEXTVEC_PROGRAM. Where there is none a provider is used only when it is required, untried.
  std::string trial_program{};
  std::chrono::seconds trial_limit{120};  // 1..3600; a trial that takes longer has failed

  // How fast, and with how much memory.
  // 0: what `textvec tune` measured for this model on this machine, else the usual value. What was
  // tuned counts for threads and workers when both are 0, and on the processor alone.
  unsigned threads = 0;  // in all, 1..1024; usually the machine's physical cores
  // Batches that run at a time when there is work for them, 1..1024, each with threads / workers;
  // little work and a long text have all threads. Usually 1. More than one opens the graph twice:
  // what textvec compiled is mapped and shared, another ONNX file takes its memory again. A device
  // and static graphs have one.
  unsigned workers = 0;
  // In one inference, padding included where it is computed, 1..1,048,576; usually 1,024.
  std::size_t batch_tokens_max = 0;
  std::size_t queue_texts_max = 4096;     // waiting in the engine; above it: Overloaded
  std::size_t text_bytes_max = 1U << 20;  // of one text with its prompt; above it: InvalidArgument

  // Compiled graphs go below this folder; empty: $TEXTVEC_CACHE, else the user's cache folder.
  std::string cache_folder{};
  // Receives one line per event of loading. May be called from any thread; empty: silence.
  std::function<void(std::string_view)> log{};
  // Receives (bytes done, bytes in all) while a model is compiled, some times a second: billions of
  // weights take a while the first time. From the loading thread; empty: silence.
  std::function<void(std::uint64_t, std::uint64_t)> progress{};
  // Receives the texts and the tokens, padding included where it is computed, of each batch before
  // it runs. From the engine's threads, several at a time with several workers; must not throw.
  // Empty: nobody asks.
  std::function<void(std::size_t, std::size_t)> batch_runs{};
};

struct EmbedOptions {
  Role role = Role::Unspecified;
  std::optional<std::string> prompt{};       // a prompt of the model, by name; not with a role
  std::optional<std::string> instruction{};  // the task of an instruction model's query prompt
  TooLong too_long = TooLong::Truncate;
  TruncationSide truncation_side = TruncationSide::Right;
  // With TooLong::Chunk only. Tokens of a window, special tokens and prompt included; at least one
  // more than those, at most (and without a value) ModelInfo::tokens_max.
  std::optional<std::size_t> chunk_tokens{};
  // Without a value an eighth of what a window has room for beside special tokens and prompt; 0 to
  // one less than that.
  std::optional<std::size_t> chunk_overlap{};
  std::optional<std::size_t> dimensions{};  // cut to this many, 1..native, and normalise again
  bool normalize = true;                    // to Euclidean length 1
  BadText bad_text = BadText::FailCall;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop{};
};

}  // namespace textvec
