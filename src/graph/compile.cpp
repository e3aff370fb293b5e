// In: ModelSpec + Weights. Out: an ONNX file of our own making. See compile.h.
#include "graph/compile.h"

#include <sstream>
#include <system_error>

#include "graph/bert.h"
#include "graph/cache.h"
#include "graph/fused.h"
#include "graph/qwen3.h"
#include "model/hash.h"
#include "textvec/embeddings.h"
#include "textvec/version.h"

namespace textvec::graph {
namespace {

// Raised by hand when the nodes or the layout that a target writes change between two versions.
constexpr int kFormat = 12;

Result<void> check_request(const model::ModelSpec& spec, Target target, Precision precision) {
  if (auto known = check_architecture(spec); !known) return known;
  if (target == Target::Static) {
    return Error{ErrorCode::Unsupported, "target static has a graph for each bucket"};
  }
  if (target == Target::Standard && precision == Precision::Int8) {
    return Error{ErrorCode::Unsupported, "precision int8 is computed by the processor alone"};
  }
  if (precision == Precision::F16) {
    return Error{ErrorCode::Unsupported, "precision f16 is not in this version; use f32 or int8"};
  }
  return {};
}

Precision chosen(Precision precision) {
  return precision == Precision::Auto ? Precision::F32 : precision;
}

// `exact`: for what is not rounded.
FusedTarget::Linears linears_of(Precision precision, FusedTarget::Linears exact) {
  return precision == Precision::Int8 ? FusedTarget::Linears::Int8 : exact;
}

Result<OnnxFile> build(const model::ModelSpec& spec, const model::Weights& weights,
                       FusedTarget::Linears linears) {
  FusedTarget target(weights, linears);
  build_architecture(spec, weights, target);
  if (const auto status = target.status(); !status) return status.error();
  return std::move(target).take_file();
}

// Everything of the configuration that shapes the graph.
std::string describe(const model::ModelSpec& spec) {
  const model::Transformer& transformer = spec.transformer;
  std::ostringstream text;
  text << transformer.type << ' ' << transformer.vocabulary_size << ' ' << transformer.hidden_size
       << ' ' << transformer.layers << ' ' << transformer.heads << ' '
       << transformer.intermediate_size << ' ' << transformer.positions_max << ' '
       << transformer.position_offset << ' ' << transformer.type_vocabulary_size << ' '
       << std::hexfloat << transformer.norm_epsilon << ' ' << transformer.activation;
  if (transformer.type == "qwen3") {
    text << ' ' << transformer.key_value_heads << ' ' << transformer.head_size << ' '
         << transformer.attention_bias << ' ' << transformer.rotary.scale;
    for (const float frequency : transformer.rotary.inverse_frequencies) text << ' ' << frequency;
    text << (spec.pooling == Pooling::LastToken ? " last token" : " hidden states");
  }
  return std::move(text).str();
}

// Of fused graphs, in the cache's key.
std::string form_of(Target target, Precision used) {
  return (target == Target::Standard ? "standard " : "fused ") + std::string(to_string(used));
}

}  // namespace

Result<void> check_architecture(const model::ModelSpec& spec) {
  if (spec.known_architecture) return {};
  return Error{ErrorCode::Unsupported,
               "architecture \"" + spec.transformer.type + "\" is not one that textvec compiles"};
}

Result<std::optional<std::filesystem::path>> store_graph(const GraphCache& cache,
                                                         const std::string& key,
                                                         const OnnxFile& file,
                                                         const model::Weights& weights,
                                                         const Log& log, std::string_view instead,
                                                         const OnnxFile::Progress& progress) {
  auto stored = cache.store(key, [&](const std::filesystem::path& folder) -> Result<WrittenFiles> {
    auto written = file.write(folder, progress);
    // The key stands for what the paths name now, which must be what was read.
    if (const auto unchanged = weights.check_unchanged(); !unchanged) return unchanged.error();
    return written;
  });
  if (stored) return std::optional(std::move(*stored));
  // The weights', and not the cache's fault.
  if (stored.error().code == ErrorCode::BadModel) return stored.error();
  if (log) log(stored.error().message + "; " + std::string(instead));
  return std::optional<std::filesystem::path>();
}

void build_architecture(const model::ModelSpec& spec, const model::Weights& weights,
                        Blocks& blocks) {
  if (spec.transformer.type == "qwen3") {
    build_qwen3(spec.transformer, spec.pooling, weights, blocks);
  } else {
    build_bert(spec.transformer, weights, blocks);
  }
}

Result<std::string> graph_key(const model::ModelSpec& spec, const model::Weights& weights,
                              const GraphCache& cache, std::string_view form) {
  model::Sha256 hash;
  hash.update("textvec " TEXTVEC_VERSION " format " + std::to_string(kFormat) + " " +
              std::string(form) + "\n");
  hash.update(describe(spec));
  for (const auto& file : weights.files()) {
    const auto sha256 = cache.file_sha256(file);
    if (!sha256) return sha256.error();
    hash.update("\n" + *sha256);
  }
  return hash.finish();
}

bool is_compiled(const model::ModelSpec& spec, const model::Weights& weights, Target target,
                 Precision precision, const std::filesystem::path& cache_folder) {
  if (cache_folder.empty() || !check_request(spec, target, precision)) return false;
  const GraphCache cache(cache_folder);
  const auto key = graph_key(spec, weights, cache, form_of(target, chosen(precision)));
  return key && cache.find(*key);
}

Result<OnnxModel> compile(const model::ModelSpec& spec, const model::Weights& weights,
                          Target target, Precision precision,
                          const std::filesystem::path& cache_folder, const Log& log,
                          const OnnxFile::Progress& progress) {
  if (const auto possible = check_request(spec, target, precision); !possible) {
    return possible.error();
  }
  const Precision used = chosen(precision);
  const bool standard = target == Target::Standard;
  const auto linears =
      linears_of(used, standard ? FusedTarget::Linears::Standard : FusedTarget::Linears::Exact);
  if (cache_folder.empty()) {
    const auto file = build(spec, weights, linears);
    if (!file) return file.error();
    return file->build_in_memory(progress);
  }
  const GraphCache cache(cache_folder);
  const auto key = graph_key(spec, weights, cache, form_of(target, used));
  if (!key) return key.error();
  if (auto found = cache.find(*key)) {
    OnnxModel model;
    model.file = std::move(*found);
    return model;
  }
  const auto file = build(spec, weights, linears);
  if (!file) return file.error();
  if (log) {
    log("compiling " + spec.name + " for target " +
        (standard ? "fused of standard operators" : "fused") + ", " + std::string(to_string(used)));
  }
  auto stored =
      store_graph(cache, *key, *file, weights, log, "the graph is built in memory", progress);
  if (!stored) return std::move(stored).error();
  if (*stored) {
    OnnxModel model;
    model.file = std::move(**stored);
    return model;
  }
  return file->build_in_memory(progress);
}

Result<OnnxModel> compile_to(const model::ModelSpec& spec, const model::Weights& weights,
                             Target target, Precision precision,
                             const std::filesystem::path& folder,
                             const OnnxFile::Progress& progress) {
  if (const auto possible = check_request(spec, target, precision); !possible) {
    return possible.error();
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return Error{ErrorCode::Internal, "cannot make " + folder.string() + ": " + error.message()};
  }
  const auto file = build(spec, weights, linears_of(precision, FusedTarget::Linears::Standard));
  if (!file) return file.error();
  // Removed, not overwritten: somebody may have the old files mapped.
  std::filesystem::remove(folder / kModelName, error);
  std::filesystem::remove(folder / kDataName, error);
  const auto written = file->write(folder, progress);
  if (!written) {
    std::filesystem::remove(folder / kModelName, error);
    std::filesystem::remove(folder / kDataName, error);
    return written.error();
  }
  OnnxModel model;
  model.file = folder / kModelName;
  return model;
}

}  // namespace textvec::graph
