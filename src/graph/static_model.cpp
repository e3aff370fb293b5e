// In: ModelSpec + Weights. Out: the static graphs of a model. See static_model.h.
#include "graph/static_model.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "graph/cache.h"
#include "graph/static.h"
#include "textvec/embeddings.h"

namespace textvec::graph {
namespace {

namespace fs = std::filesystem;

// The data is the same whatever the bucket; a small one is quickly made.
constexpr Bucket kAnyBucket{1, 16};

Result<TensorType> type_of(const model::ModelSpec& spec, Precision precision) {
  if (const auto known = check_architecture(spec); !known) return known.error();
  if (precision == Precision::Auto || precision == Precision::F32) return TensorType::Float;
  if (precision == Precision::F16) return TensorType::Half;
  return Error{ErrorCode::Unsupported, "precision " + std::string(textvec::to_string(precision)) +
                                           ": target static takes f32 and f16"};
}

Result<OnnxFile> build_bucket(const model::ModelSpec& spec, const model::Weights& weights,
                              TensorType type, Bucket bucket, EmbeddingNames* names = nullptr) {
  StaticTarget target(weights, bucket, type);
  build_architecture(spec, weights, target);
  if (const auto status = target.status(); !status) return status.error();
  if (names != nullptr) *names = target.embedding_names();
  return std::move(target).take_file();
}

fs::path model_file(const fs::path& folder, Bucket bucket) {
  return folder / ("model_" + to_string(bucket) + ".onnx");
}

}  // namespace

StaticModel::StaticModel(const model::ModelSpec& spec,
                         std::shared_ptr<const model::Weights> weights, TensorType type)
    : spec_(spec), weights_(std::move(weights)), type_(type) {}

Result<OnnxFile> StaticModel::build(Bucket bucket, EmbeddingNames* names) const {
  return build_bucket(spec_, *weights_, type_, bucket, names);
}

Result<StaticModel> StaticModel::compile(const model::ModelSpec& spec,
                                         std::shared_ptr<const model::Weights> weights,
                                         Precision precision, const fs::path& cache_folder,
                                         const Log& log, const OnnxFile::Progress& progress) {
  const auto type = type_of(spec, precision);
  if (!type) return type.error();
  StaticModel model(spec, std::move(weights), *type);
  const auto file = model.build(kAnyBucket, &model.embedding_names_);
  if (!file) return file.error();
  if (cache_folder.empty()) return model;

  const std::string form = model.half() ? "static f16" : "static f32";
  const GraphCache cache(cache_folder);
  auto key = graph_key(spec, *model.weights_, cache, form);
  if (!key) return key.error();
  model.key_ = std::move(*key);
  if (const auto found = cache.find(model.key_)) {
    model.data_folder_ = found->parent_path();
    return model;
  }
  if (log) log("compiling " + spec.name + " for target static, " + (model.half() ? "f16" : "f32"));
  const auto stored = store_graph(cache, model.key_, *file, *model.weights_, log,
                                  "the graphs are built in memory", progress);
  if (!stored) return stored.error();
  if (*stored) model.data_folder_ = (*stored)->parent_path();
  return model;
}

Result<OnnxModel> StaticModel::graph(Bucket bucket) const {
  const auto file = build(bucket);
  if (!file) return file.error();
  auto model = data_folder_.empty() ? file->build_in_memory({}) : OnnxModel{};
  if (!model) return model;
  if (!data_folder_.empty()) {
    model->model = file->model_bytes();
    model->data_folder = data_folder_;
  }
  model->half = half();
  return model;
}

Result<std::uint64_t> StaticModel::program_bytes(Bucket bucket) const {
  const auto file = build(bucket);
  if (!file) return file.error();
  return file->data_bytes() + file->model_bytes().size();
}

Result<std::vector<OnnxModel>> compile_static_to(const model::ModelSpec& spec,
                                                 const model::Weights& weights, Precision precision,
                                                 const std::vector<Bucket>& buckets,
                                                 const fs::path& folder,
                                                 const OnnxFile::Progress& progress) {
  const auto type = type_of(spec, precision);
  if (!type) return type.error();
  std::vector<OnnxFile> files;
  for (const Bucket bucket : buckets) {
    auto file = build_bucket(spec, weights, *type, bucket);
    if (!file) return std::move(file).error();
    files.push_back(std::move(*file));
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return Error{ErrorCode::Internal, "cannot make " + folder.string() + ": " + error.message()};
  }
  // Removed, not overwritten: somebody may have the old files mapped.
  const auto remove_all = [&] {
    fs::remove(folder / kDataName, error);
    for (const Bucket bucket : buckets) fs::remove(model_file(folder, bucket), error);
  };
  remove_all();
  std::vector<OnnxModel> models;
  auto written = files.front().write_data(folder / kDataName, progress);
  for (std::size_t i = 0; i < files.size() && written; ++i) {
    written = files[i].write_model(model_file(folder, buckets[i]));
    models.emplace_back().file = model_file(folder, buckets[i]);
    models.back().half = *type == TensorType::Half;
  }
  if (written) return models;
  remove_all();
  return written.error();
}

}  // namespace textvec::graph
