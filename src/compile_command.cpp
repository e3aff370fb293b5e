// In: a model and a folder. Out: its compiled graph in that folder. See compile_command.h.
#include "compile_command.h"

#include <string>
#include <utility>

#include "batch/buckets.h"
#include "graph/compile.h"
#include "graph/static_model.h"
#include "load.h"
#include "model/safetensors.h"
#include "runtime/session.h"

namespace textvec {
namespace {

Result<std::vector<graph::OnnxModel>> write_graphs(const ModelFiles& files, std::string_view target,
                                                   Precision precision, std::vector<Bucket> buckets,
                                                   const std::filesystem::path& folder,
                                                   const graph::OnnxFile::Progress& progress) {
  const auto weights = model::Weights::open(files.folder);
  if (!weights) return weights.error();
  if (target == "static") {
    const std::size_t tokens_max = tokens_max_of(files.spec);
    if (buckets.empty()) buckets = batch::default_buckets(tokens_max);
    if (const auto valid = batch::check_buckets(buckets, tokens_max); !valid) return valid.error();
    return graph::compile_static_to(files.spec, *weights, precision, buckets, folder, progress);
  }
  auto graph =
      graph::compile_to(files.spec, *weights, graph::Target::Fused, precision, folder, progress);
  if (!graph) return std::move(graph).error();
  std::vector<graph::OnnxModel> graphs;
  graphs.push_back(std::move(*graph));
  return graphs;
}

}  // namespace

Result<std::vector<CompiledGraph>> compile_to_folder(std::string_view model,
                                                     std::string_view target, Precision precision,
                                                     std::vector<Bucket> buckets,
                                                     const std::filesystem::path& folder,
                                                     const graph::OnnxFile::Progress& progress) {
  if (target != "fused" && target != "static") {
    return Error{ErrorCode::InvalidArgument,
                 "target \"" + std::string(target) + "\"; it takes fused or static"};
  }
  const auto files = find_model(model);
  if (!files) return files.error();
  if (!files->onnx_file.empty()) {
    return Error{ErrorCode::Unsupported,
                 files->name +
                     " is an ONNX file, which runs as it is; only safetensors weights "
                     "are compiled"};
  }
  auto graphs = write_graphs(*files, target, precision, std::move(buckets), folder, progress);
  if (!graphs) return std::move(graphs).error();
  std::vector<CompiledGraph> compiled;
  for (graph::OnnxModel& graph : *graphs) {
    std::string name = graph.file.filename().string();
    runtime::SessionOptions options;
    options.static_graph = target == "static";
    const auto session = runtime::open_session(std::move(graph), options);
    if (!session) return session.error();
    compiled.push_back({std::move(name), (*session)->info().placement});
  }
  return compiled;
}

}  // namespace textvec
