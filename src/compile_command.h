// In: a model and a folder. Out: the model's compiled graph in that folder: `textvec compile`.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "graph/onnx_file.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

// Writes model.onnx and model.onnx.data; `target` is "fused" or "static". Returns how many nodes
// each provider of this machine would take.
// Errors: InvalidArgument (target), Unsupported, NotFound, BadModel, Internal.
Result<std::vector<ProviderPlacement>> compile_to_folder(std::string_view model,
                                                         std::string_view target,
                                                         Precision precision,
                                                         const std::filesystem::path& folder,
                                                         const graph::OnnxFile::Progress& progress);

}  // namespace textvec
