// The seam to the inference runtime: an ONNX graph in, hidden states out. ort_session.cpp is the
// real one; tests use fakes that fail, stall or return known numbers.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "batch/batch.h"
#include "graph/onnx_file.h"
#include "runtime/providers.h"
#include "textvec/embeddings.h"
#include "textvec/result.h"

namespace textvec::runtime {

// [rows, length, width], or [rows, width] when the graph pools: then length is 1. Packed, without
// padding: [all tokens, width].
struct HiddenStates {
  std::shared_ptr<const void> owner{};  // keeps `values` alive
  std::span<const float> values{};
  std::size_t rows = 0;
  std::size_t length = 0;
  std::size_t width = 0;
  // Packed: the index of each row's first token, and how many tokens there are; empty: not packed.
  std::vector<std::size_t> begins{};

  // Of a row's tokens, and of its padding if there is any.
  std::span<const float> row(std::size_t index) const noexcept {
    const std::size_t begin = begins.empty() ? index * length : begins[index];
    const std::size_t end = begins.empty() ? begin + length : begins[index + 1];
    return values.subspan(begin * width, (end - begin) * width);
  }
  // Whether there are values for all rows.
  bool is_whole() const noexcept {
    const std::size_t tokens = begins.empty() ? rows * length : begins.back();
    return values.size() == tokens * width && (begins.empty() || begins.size() == rows + 1);
  }
};

struct SessionInfo {
  bool pooled = false;    // the graph gives one vector per text
  bool packs = false;     // padding is not computed, so that texts of any lengths run together
  std::size_t width = 0;  // of the output's last axis; 0: the graph does not state it
  std::string output{};   // the chosen output's name
  bool half = false;      // some weights are 16-bit floats, which overflow above 65,504
  Provider provider = Provider::Cpu;
  std::string provider_note{};  // why it is not the wanted one, or what its trial showed
  std::vector<ProviderPlacement> placement{};
};

class Session {
 public:
  virtual ~Session() = default;
  // Thread-safe. `stop` ends a running inference between nodes.
  // Errors: Cancelled, Internal (what the runtime said).
  virtual Result<HiddenStates> run(const batch::Batch& batch, const std::stop_token& stop) = 0;
  // What is true now: a session may lose its device, once, and go on with the processor.
  virtual const SessionInfo& info() const noexcept = 0;
  // Calls `lost` when that happens, from the thread that runs; set before the first run.
  virtual void when_device_is_lost(std::function<void(const SessionInfo&)> lost);
};

struct SessionOptions {
  unsigned threads = 1;
  ProviderUse use{};
  // A run of more tokens, computed padding included, gives the memory it took back when it ends.
  std::size_t usual_tokens = 1024;
  bool static_graph = false;  // one of graph/static.h: batches have embeddings
  // Where a provider that compiles the graph may keep what it made, for this graph and this version
  // of ONNX Runtime alone; empty: nowhere.
  std::filesystem::path program_folder{};
};

// Errors: NotFound, BadModel (not an embedding graph: inputs or outputs named), Unsupported (an
// input that textvec cannot feed), Provider (the provider refuses, with its words), Internal.
Result<std::unique_ptr<Session>> open_session(graph::OnnxModel model,
                                              const SessionOptions& options);

std::string runtime_version();                 // "ONNX Runtime 1.32.0"
std::vector<std::string> runtime_providers();  // compiled in: "CPUExecutionProvider", ...

}  // namespace textvec::runtime
