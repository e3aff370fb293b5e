// In: ModelSpec + Weights. Out: an ONNX file of our own making, in the cache, in a folder, or in
// memory.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "graph/blocks.h"
#include "graph/cache.h"
#include "graph/onnx_file.h"
#include "model/safetensors.h"
#include "model/spec.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::graph {

enum class Target : unsigned char {
  Fused,     // for the processor, with textvec's own operator
  Standard,  // the same with ONNX Runtime's operators alone: for its other providers
  Static,    // static_model.h writes it
};

using Log = std::function<void(std::string_view)>;

// The graph from the cache below `cache_folder`/graphs, made there first if need be. The key is a
// hash of the weights, the transformer's description, target, precision and textvec's version; what
// is found is checked (sizes and SHA-256) before it is used, and made anew when it is damaged.
// When the cache cannot be written the graph is built in memory, and `log` says so; when
// `cache_folder` is empty, without a word. Errors: BadModel (tensor named), Unsupported
// (architecture, target or precision), Internal.
Result<OnnxModel> compile(const model::ModelSpec& spec, const model::Weights& weights,
                          Target target, Precision precision,
                          const std::filesystem::path& cache_folder, const Log& log,
                          const OnnxFile::Progress& progress = {});

// Whether compile() would find it there.
bool is_compiled(const model::ModelSpec& spec, const model::Weights& weights, Target target,
                 Precision precision, const std::filesystem::path& cache_folder);

// The same into `folder`, which is made if need be; an older model there is replaced.
Result<OnnxModel> compile_to(const model::ModelSpec& spec, const model::Weights& weights,
                             Target target, Precision precision,
                             const std::filesystem::path& folder,
                             const OnnxFile::Progress& progress = {});

// The model's architecture in the blocks of whatever target.
void build_architecture(const model::ModelSpec& spec, const model::Weights& weights,
                        Blocks& blocks);

// Errors: Unsupported.
Result<void> check_architecture(const model::ModelSpec& spec);

// Puts the graph into the cache under `key` and gives its .onnx. Nothing when the cache cannot be
// written, and `log` then says `instead`. Errors: BadModel, which is the weights'.
Result<std::optional<std::filesystem::path>> store_graph(const GraphCache& cache,
                                                         const std::string& key,
                                                         const OnnxFile& file,
                                                         const model::Weights& weights,
                                                         const Log& log, std::string_view instead,
                                                         const OnnxFile::Progress& progress);

// The cache's key of a graph of this model; `form` names target and precision. Errors: as
// GraphCache::file_sha256().
Result<std::string> graph_key(const model::ModelSpec& spec, const model::Weights& weights,
                              const GraphCache& cache, std::string_view form);

}  // namespace textvec::graph
