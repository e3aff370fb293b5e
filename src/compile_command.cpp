// In: a model and a folder. Out: its compiled graph in that folder. See compile_command.h.
#include "compile_command.h"

#include <string>

#include "graph/compile.h"
#include "load.h"
#include "model/safetensors.h"
#include "runtime/session.h"

namespace textvec {

Result<std::vector<ProviderPlacement>> compile_to_folder(
    std::string_view model, std::string_view target, Precision precision,
    const std::filesystem::path& folder, const graph::OnnxFile::Progress& progress) {
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
  const auto weights = model::Weights::open(files->folder);
  if (!weights) return weights.error();
  auto graph = graph::compile_to(files->spec, *weights,
                                 target == "fused" ? graph::Target::Fused : graph::Target::Static,
                                 precision, folder, progress);
  if (!graph) return graph.error();
  const auto session = runtime::open_session(std::move(*graph), {});
  if (!session) return session.error();
  return (*session)->info().placement;
}

}  // namespace textvec
