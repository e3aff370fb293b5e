// In: a key and somebody who can write a graph. Out: a folder that holds it, whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "graph/onnx_file.h"
#include "textvec/result.h"

namespace textvec::graph {

// Several processes may use one cache at the same time.
class GraphCache {
 public:
  // Total of all graphs; the least recently used are removed above it.
  static constexpr std::uint64_t kBytesMax = std::uint64_t{64} << 30;

  explicit GraphCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // The graph's .onnx, when it is there and its files have the sizes and SHA-256 that were recorded
  // when they were written. A damaged entry is removed.
  std::optional<std::filesystem::path> find(const std::string& key) const;

  // `write` fills a new folder, which then becomes the entry in one rename.
  using Write = std::function<Result<WrittenFiles>(const std::filesystem::path& folder)>;
  Result<std::filesystem::path> store(const std::string& key, const Write& write) const;

  // SHA-256 of a file, remembered by path, device, inode, size and times, so that gigabytes of
  // weights are read once and not at every start.
  Result<std::string> file_sha256(const std::filesystem::path& file) const;

 private:
  std::filesystem::path entry(const std::string& key) const { return folder_ / "graphs" / key; }
  void remember(const std::filesystem::path& real, const std::string& stamp,
                const std::string& sha256) const;
  void remember_written(const std::filesystem::path& file, const std::string& sha256) const;
  void remove_leftovers() const;
  void keep_within_limit(const std::string& newest_key) const;

  std::filesystem::path folder_;
};

}  // namespace textvec::graph
