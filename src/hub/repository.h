// In: a model's name and a Hugging Face cache. Out: its folder there, in the layout that
// huggingface_hub writes and reads:
//   models--owner--name/blobs/HASH                     the bytes of a file, named by their hash
//   models--owner--name/snapshots/COMMIT/FILE          a link to ../../blobs/HASH
//   models--owner--name/refs/REVISION                  the commit
//   .locks/models--owner--name/HASH.lock               held while HASH is downloaded
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/result.h"

namespace textvec::hub {

class Repository {
 public:
  // `name`: is_repository().
  Repository(std::filesystem::path cache, std::string_view name);

  const std::filesystem::path& folder() const noexcept { return folder_; }
  std::filesystem::path blob(std::string_view hash) const;
  std::filesystem::path snapshot(std::string_view commit) const;
  std::filesystem::path locks() const;
  std::filesystem::path lock(std::string_view hash) const;

  // What refs/REVISION holds, or the revision itself, when there is a snapshot of it.
  std::optional<std::string> commit_of(std::string_view revision) const;

  // Whether the bytes of a file are there, as many as there should be. They are not read.
  bool has_blob(std::string_view hash, std::uint64_t bytes) const;

  // Internal: the folder cannot be written.
  Result<void> make_folders(std::string_view commit) const;
  // Puts FILE into the snapshot, a link to the blob. Errors: Internal.
  Result<void> link(std::string_view commit, std::string_view file, std::string_view hash) const;
  // Errors: Internal.
  Result<void> set_reference(std::string_view revision, std::string_view commit) const;

 private:
  std::filesystem::path cache_;
  std::string base_;
  std::filesystem::path folder_;
};

// The names of all models in a Hugging Face cache, sorted.
std::vector<std::string> repositories_of(const std::filesystem::path& cache);

}  // namespace textvec::hub
