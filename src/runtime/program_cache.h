// In: what stands for a graph. Out: the folder where a provider that compiles graphs may keep its
// program, for this graph and this ONNX Runtime alone: CoreML's own names know neither.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "textvec/options.h"

namespace textvec::runtime {

class ProgramCache {
 public:
  // Of all programs; the least recently used are removed above it.
  static constexpr std::uint64_t kBytesMax = std::uint64_t{64} << 30;

  // `key` stands for the model, `version` for ONNX Runtime. Without a folder or a key nothing is
  // kept.
  ProgramCache(const std::filesystem::path& cache_folder, const std::string& key,
               const std::string& version);

  // Not made: the provider does that. Empty: nothing is kept.
  std::filesystem::path folder(Bucket bucket) const;
  // 0 when there is none.
  std::uint64_t bytes(Bucket bucket) const;
  // Call it when the program of `bucket` was made or loaded: removes what other versions of ONNX
  // Runtime left of this model, and programs above the limit.
  void used(Bucket bucket, std::uint64_t bytes_max = kBytesMax) const;

 private:
  std::filesystem::path programs_{};
  std::string key_{};
  std::string version_{};
};

}  // namespace textvec::runtime
