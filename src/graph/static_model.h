// In: ModelSpec + Weights. Out: the graphs of the target `static`, one for each bucket, and the one
// file of weights that all of them share.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graph/blocks.h"
#include "graph/compile.h"
#include "graph/onnx_file.h"
#include "model/safetensors.h"
#include "model/spec.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::graph {

class StaticModel {
 public:
  // Puts the weights into the cache below `cache_folder`/graphs, as compile() does; when that
  // cannot be written each bucket's graph holds them in memory, and `log` says so. Precision Auto
  // is F32. Errors: BadModel (tensor named), Unsupported (architecture or precision), Internal.
  static Result<StaticModel> compile(const model::ModelSpec& spec,
                                     std::shared_ptr<const model::Weights> weights,
                                     Precision precision, const std::filesystem::path& cache_folder,
                                     const Log& log, const OnnxFile::Progress& progress = {});

  Result<OnnxModel> graph(Bucket bucket) const;
  // What a program of this bucket holds: the weights and the bucket's own constants.
  Result<std::uint64_t> program_bytes(Bucket bucket) const;

  // Where the rows of the graphs' first input come from.
  const EmbeddingNames& embedding_names() const noexcept { return embedding_names_; }
  const model::Weights& weights() const noexcept { return *weights_; }
  // Stands for the weights, the architecture and the precision; empty without a cache.
  const std::string& key() const noexcept { return key_; }
  bool half() const noexcept { return type_ == TensorType::Half; }

 private:
  StaticModel(const model::ModelSpec& spec, std::shared_ptr<const model::Weights> weights,
              TensorType type);
  Result<OnnxFile> build(Bucket bucket, EmbeddingNames* names = nullptr) const;

  model::ModelSpec spec_;
  std::shared_ptr<const model::Weights> weights_;
  TensorType type_;
  EmbeddingNames embedding_names_{};
  std::string key_{};
  std::filesystem::path data_folder_{};  // empty: the weights are in no file
};

// Writes model.onnx.data and a model_TEXTSxTOKENS.onnx for each bucket into `folder`, which is made
// if need be; older ones there are replaced. Returns the graphs. REQUIRES: buckets.
Result<std::vector<OnnxModel>> compile_static_to(const model::ModelSpec& spec,
                                                 const model::Weights& weights, Precision precision,
                                                 const std::vector<Bucket>& buckets,
                                                 const std::filesystem::path& folder,
                                                 const OnnxFile::Progress& progress = {});

}  // namespace textvec::graph
