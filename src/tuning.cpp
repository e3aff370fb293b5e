// In: a model on this machine. Out: the settings it runs fastest with. See tuning.h.
#include "tuning.h"

#include <algorithm>
#include <sstream>
#include <system_error>
#include <utility>

#include "graph/cache.h"
#include "hub/locate.h"
#include "model/folder.h"
#include "model/hash.h"
#include "model/json.h"
#include "model/safetensors.h"
#include "runtime/machine.h"
#include "runtime/session.h"
#include "textvec/embeddings.h"
#include "textvec/version.h"

namespace textvec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatchTokensUsual = 1024;
constexpr std::size_t kFileBytesMax = 1U << 16;

fs::path tunings(const fs::path& cache_folder) { return cache_folder / "tuning"; }

fs::path file_of(const fs::path& cache_folder, std::string_view key) {
  return tunings(cache_folder) / (std::string(key) + ".json");
}

// Everything that makes other settings the fastest.
std::string describe(const runtime::Machine& machine) {
  std::ostringstream text;
  text << machine.processor << '\n'
       << machine.cores_physical << ' ' << machine.cores_logical << '\n';
  for (const std::string& set : machine.instruction_sets) text << set << ' ';
  return std::move(text).str();
}

std::optional<Tuning> look_up(const ModelFiles& files, const LoadOptions& options) {
  const auto cache_folder =
      options.cache_folder.empty() ? hub::cache_folder() : Result<fs::path>(options.cache_folder);
  std::error_code error;
  // Most machines were never tuned: they need not hash anything to know it.
  if (!cache_folder || !fs::exists(tunings(*cache_folder), error)) return std::nullopt;
  const auto key = tuning_key(files, options.precision, *cache_folder);
  if (!key) return std::nullopt;
  return find_tuning(*cache_folder, *key);
}

}  // namespace

Result<std::string> tuning_key(const ModelFiles& files, Precision precision,
                               const fs::path& cache_folder) {
  model::Sha256 hash;
  hash.update("textvec " TEXTVEC_VERSION "\n" + runtime::runtime_version() + "\n" +
              describe(runtime::describe_machine()) + "\n" +
              std::string(to_string(precision == Precision::Auto ? Precision::F32 : precision)));
  std::vector<fs::path> model_files{files.onnx_file};
  if (files.onnx_file.empty()) {
    const auto weights = model::Weights::open(files.folder);
    if (!weights) return weights.error();
    model_files = weights->files();
  }
  const graph::GraphCache cache(cache_folder);
  for (const fs::path& file : model_files) {
    const auto sha256 = cache.file_sha256(file);
    if (!sha256) return sha256.error();
    hash.update("\n" + *sha256);
  }
  return hash.finish();
}

std::optional<Tuning> find_tuning(const fs::path& cache_folder, std::string_view key) {
  const auto json = model::read_json_file(file_of(cache_folder, key), kFileBytesMax);
  if (!json) return std::nullopt;
  const model::JsonReader reader(*json, "the tuning");
  const auto threads = reader.size("threads", 1, kThreadsMax);
  const auto workers = reader.size("workers", 1, kThreadsMax);
  const auto batch_tokens = reader.size("batch_tokens_max", 1, kBatchTokensMax);
  const auto rate = reader.number("texts_per_second");
  const auto date = reader.string("date");
  if (!threads || !workers || !batch_tokens || !rate || !date) return std::nullopt;
  return Tuning{static_cast<unsigned>(*threads), static_cast<unsigned>(*workers), *batch_tokens,
                *rate, *date};
}

Result<fs::path> store_tuning(const fs::path& cache_folder, std::string_view key,
                              std::string_view model, const Tuning& tuning) {
  std::string text = "{\"textvec\":\"" TEXTVEC_VERSION "\",\"runtime\":\"" +
                     runtime::runtime_version() + "\",\"processor\":";
  model::append_json_string(text, runtime::describe_machine().processor);
  text += ",\"model\":";
  model::append_json_string(text, model);
  text += ",\"threads\":" + std::to_string(tuning.threads) +
          ",\"workers\":" + std::to_string(tuning.workers) +
          ",\"batch_tokens_max\":" + std::to_string(tuning.batch_tokens_max) +
          ",\"texts_per_second\":";
  model::append_json_number(text, static_cast<float>(tuning.texts_per_second));
  text += ",\"date\":";
  model::append_json_string(text, tuning.date);
  text += "}\n";
  const fs::path file = file_of(cache_folder, key);
  std::error_code error;
  fs::create_directories(tunings(cache_folder), error);
  if (!error) error = model::write_text(file, text);
  if (error) return model::cannot_write(file, error);
  return file;
}

LoadOptions settled(const ModelFiles& files, LoadOptions options, std::string& tuned) {
  std::optional<Tuning> tuning;
  // Who gives threads or workers gets the usual rest: the two were measured together.
  if (options.target != Target::Static && options.threads == 0 && options.workers == 0) {
    tuning = look_up(files, options);
  }
  if (tuning) {
    options.threads = tuning->threads;
    options.workers = tuning->workers;
    tuned = tuning->date;
  }
  if (tuning && options.batch_tokens_max == 0) options.batch_tokens_max = tuning->batch_tokens_max;
  return untuned(std::move(options));
}

LoadOptions untuned(LoadOptions options) {
  if (options.batch_tokens_max == 0) options.batch_tokens_max = kBatchTokensUsual;
  if (options.threads == 0) options.threads = runtime::describe_machine().cores_physical;
  if (options.workers == 0) options.workers = 1;
  return options;
}

}  // namespace textvec
