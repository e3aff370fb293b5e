// In: a model and a folder. Out: the model's compiled graph in that folder: `textvec compile`.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "graph/onnx_file.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

struct CompiledGraph {
  std::string name{};                          // of its file
  std::vector<ProviderPlacement> placement{};  // nodes that each provider of this machine takes
};

// Writes model.onnx and model.onnx.data; of target "static" a model_TEXTSxTOKENS.onnx for each
// bucket, where none means textvec's choice.
// Errors: InvalidArgument (target, buckets), Unsupported, NotFound, BadModel, Internal.
Result<std::vector<CompiledGraph>> compile_to_folder(std::string_view model,
                                                     std::string_view target, Precision precision,
                                                     std::vector<Bucket> buckets,
                                                     const std::filesystem::path& folder,
                                                     const graph::OnnxFile::Progress& progress);

}  // namespace textvec
