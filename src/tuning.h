// In: a model on this machine. Out: how many threads, workers and tokens a batch it runs fastest
// with: what `textvec tune` measured and kept in the cache, or a safe guess.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "load.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

struct Tuning {
  unsigned threads = 0;
  unsigned workers = 0;
  std::size_t batch_tokens_max = 0;
  double texts_per_second = 0;  // measured with these settings
  std::string date{};           // "2026-11-27"
};

// What a measurement holds for: this machine, this ONNX Runtime, this textvec, the model's files
// and the precision. A SHA-256. Errors: NotFound, BadModel.
Result<std::string> tuning_key(const ModelFiles& files, Precision precision,
                               const std::filesystem::path& cache_folder);

// None: never tuned here, or the file is damaged or asks for what loading refuses.
std::optional<Tuning> find_tuning(const std::filesystem::path& cache_folder, std::string_view key);

// In one rename. `model` is for people who read the file. Errors: Internal.
Result<std::filesystem::path> store_tuning(const std::filesystem::path& cache_folder,
                                           std::string_view key, std::string_view model,
                                           const Tuning& tuning);

// Gives the options that are 0 a value for the processor; `tuned` becomes the date of the
// measurement that is used, or empty. Never fails: without a cache or a measurement there are the
// usual values.
LoadOptions settled(const ModelFiles& files, LoadOptions options, std::string& tuned);

// Gives them the usual values.
LoadOptions untuned(LoadOptions options);

}  // namespace textvec
