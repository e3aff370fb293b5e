// What comes out: vectors, a description of the loaded model, its health.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

// A part of a text that ran by itself: TooLong::Chunk.
struct Chunk {
  // In the text as it was given, without the prompt; whole characters.
  std::uint64_t begin_byte = 0;
  std::uint64_t end_byte = 0;
  std::uint32_t tokens = 0;  // of the text: no special tokens, no prompt

  bool operator==(const Chunk&) const = default;
};

// A token of a text, and where it stands: Engine::tokens().
struct Token {
  std::uint32_t id = 0;
  std::string text{};    // of the text, where it stands; of an added token its name
  bool special = false;  // one of the special ones: added, typed, or what nobody knows ([UNK])
  bool added = false;    // put there by the template
  // In the text with its prompt; whole characters. Added tokens stand nowhere: 0 and 0.
  std::uint64_t begin_byte = 0;
  std::uint64_t end_byte = 0;

  bool operator==(const Token&) const = default;
};

// Where a call's time went. Of a call that ran in several parts the sums.
struct Durations {
  std::chrono::microseconds tokenize{};   // on the calling thread
  std::chrono::microseconds queue{};      // until its first text ran
  std::chrono::microseconds inference{};  // from then to the last vector
};

// One vector per text, in the order given; row-major, one allocation.
struct Embeddings {
  std::vector<float> values{};  // [rows, dimension]
  std::size_t dimension = 0;
  std::vector<std::uint32_t> tokens{};    // per text, special tokens included, after truncation,
                                          // before chunking
  std::vector<std::uint8_t> truncated{};  // per text: 1 when tokens were cut off
  // With TooLong::Chunk: the parts of each text, in their order; one when it fits. Together they
  // hold the whole text: each begins at or before the end of the one before it. Without: empty.
  std::vector<std::vector<Chunk>> chunks{};
  // With BadText::Report: one error per text that has no vector, ascending by Error::text.
  // The values of such a row are zero.
  std::vector<Error> failures{};
  Durations durations{};
  // Per text: until it was tokenised, then until its first batch ran, then until its vector. Each
  // counts from the beginning of the call, of a call that ran in several parts from that of its
  // own.
  std::vector<Durations> text_durations{};

  std::size_t rows() const noexcept { return tokens.size(); }
  std::span<const float> row(std::size_t index) const noexcept {
    return {values.data() + index * dimension, dimension};
  }
};

// The vectors of all tokens of each text: Engine::token_vectors(). They are the model's last hidden
// states, before pooling, dense layers and normalising.
struct TokenVectors {
  std::vector<float> values{};  // a vector a token, text after text; row-major, one allocation
  std::size_t dimension = 0;    // of the hidden states, which a dense layer may change for texts
  std::vector<std::uint32_t> tokens{};  // per text: as of Embeddings
  std::vector<std::uint8_t> truncated{};
  // With BadText::Report, as of Embeddings: the values of such a text are zero, or it has none.
  std::vector<Error> failures{};
  Durations durations{};
  std::vector<Durations> text_durations{};

  std::size_t texts() const noexcept { return tokens.size(); }
  // [tokens, dimension] of a text. Adds up the tokens of all texts before it.
  std::span<const float> text(std::size_t index) const noexcept {
    std::size_t before = 0;
    for (std::size_t i = 0; i < index; ++i) before += tokens[i];
    return {values.data() + before * dimension, tokens[index] * dimension};
  }
};

// Where the graph that runs came from.
enum class GraphPath : std::uint8_t {
  Fused,   // compiled by textvec from the weights, for processors and flexible accelerators
  Static,  // compiled by textvec with fixed shapes
  AsIs,    // the ONNX file that came with the model
};

struct ProviderPlacement {
  std::string provider{};      // ONNX Runtime's name: "CPUExecutionProvider"
  std::size_t nodes = 0;       // after ONNX Runtime's own optimisation
  std::size_t partitions = 0;  // subgraphs handed over in one piece
};

// What one shape of a static graph takes.
struct BucketInfo {
  Bucket bucket{};
  // Of the weights and the bucket's own constants: the memory and the disk of a program that a
  // provider compiles of it.
  std::uint64_t program_bytes = 0;
  std::uint64_t memory_bytes = 0;  // by which the process grew when it was opened; 0: not open
  std::uint64_t disk_bytes = 0;    // of the program in the cache; 0: there is none
};

struct ModelInfo {
  std::string name{};
  std::string folder{};
  std::string architecture{};   // config.json's model_type, or "onnx"
  std::size_t dimension = 0;    // native, before any cut
  std::size_t hidden_size = 0;  // of a token's vector, before pooling and dense layers
  std::size_t tokens_max = 0;   // special tokens included
  std::size_t vocabulary_size = 0;
  Pooling pooling = Pooling::Mean;  // never FromModel
  bool pooled_by_graph = false;     // the graph pools itself; an as-is one in a way of its own
  std::map<std::string, std::string> prompts{};
  std::string default_prompt{};  // a key of prompts, or empty
  std::string similarity{};      // "cosine" unless the model names another
  GraphPath path = GraphPath::Fused;
  std::string graph_file{};              // the ONNX file that runs; empty: built in memory
  Precision precision = Precision::F32;  // never Auto; of an as-is file: F32, whatever it holds
  Provider provider_wanted = Provider::Auto;
  Provider provider = Provider::Cpu;           // never Auto
  std::string provider_note{};                 // why the wanted provider is not used, or that it
                                               // is slower or untried; else empty
  double provider_ms = 0;                      // of the trial's texts on the provider that was
  double cpu_ms = 0;                           // tried last, and on the processor; 0: no trial
  std::vector<ProviderPlacement> placement{};  // of the first bucket, when path is Static
  std::vector<BucketInfo> buckets{};           // as they were after loading, when path is Static
  unsigned threads = 0;
  unsigned workers = 0;
  std::size_t batch_tokens_max = 0;
  std::string tuned{};    // when `textvec tune` measured the three: "2026-11-27"; or empty
  std::string runtime{};  // "ONNX Runtime 1.32.0"
  std::vector<std::string> notes{};  // what was assumed or corrected while loading
};

struct Health {
  std::chrono::microseconds latency{};  // of one short text through the whole pipeline
  std::size_t texts_queued = 0;         // before that text
};

// Names as in the command line, the C API and model files.
TEXTVEC_EXPORT std::string_view to_string(Provider provider) noexcept;    // "cpu"
TEXTVEC_EXPORT std::string_view to_string(Precision precision) noexcept;  // "f32"
TEXTVEC_EXPORT std::string_view to_string(Pooling pooling) noexcept;      // "last-token"
TEXTVEC_EXPORT std::string_view to_string(Target target) noexcept;        // "static"
TEXTVEC_EXPORT std::string_view to_string(GraphPath path) noexcept;       // "as-is"
TEXTVEC_EXPORT std::string to_string(Bucket bucket);                      // "8x128"

}  // namespace textvec
