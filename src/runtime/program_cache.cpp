// In: what stands for a graph. Out: the folder of its program. See program_cache.h.
#include "runtime/program_cache.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "model/folder.h"
#include "textvec/embeddings.h"

namespace textvec::runtime {
namespace {

namespace fs = std::filesystem;

struct Program {
  fs::path folder{};
  fs::file_time_type used{};
  std::uint64_t bytes = 0;
};

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const std::string& file : model::files_below(folder)) {
    std::error_code error;
    const auto size = fs::file_size(folder / file, error);
    if (!error) bytes += size;
  }
  return bytes;
}

std::vector<Program> programs_in(const fs::path& folder) {
  std::vector<Program> programs;
  for (const fs::path& entry : model::entries_of(folder)) {
    std::error_code ignored;
    programs.push_back({entry, fs::last_write_time(entry, ignored), bytes_below(entry)});
  }
  return programs;
}

}  // namespace

ProgramCache::ProgramCache(const fs::path& cache_folder, const std::string& key,
                           const std::string& version)
    : key_(key), version_("-ort" + version + "-") {
  if (!cache_folder.empty() && !key.empty()) programs_ = cache_folder / "programs";
}

fs::path ProgramCache::folder(Bucket bucket) const {
  if (programs_.empty()) return {};
  return programs_ / (key_ + version_ + to_string(bucket));
}

std::uint64_t ProgramCache::bytes(Bucket bucket) const {
  return programs_.empty() ? 0 : bytes_below(folder(bucket));
}

void ProgramCache::used(Bucket bucket, std::uint64_t bytes_max) const {
  std::error_code error;
  if (programs_.empty() || !fs::is_directory(folder(bucket), error)) return;
  fs::last_write_time(folder(bucket), fs::file_time_type::clock::now(), error);
  std::vector<Program> programs = programs_in(programs_);
  std::erase_if(programs, [&](const Program& program) {
    const std::string name = program.folder.filename().string();
    const bool stale = name.starts_with(key_ + "-ort") && !name.starts_with(key_ + version_);
    if (stale) fs::remove_all(program.folder, error);
    return stale;
  });
  std::sort(programs.begin(), programs.end(),
            [](const Program& a, const Program& b) { return a.used < b.used; });
  std::uint64_t total = 0;
  for (const Program& program : programs) total += program.bytes;
  for (const Program& program : programs) {
    if (total <= bytes_max) return;
    if (program.folder == folder(bucket)) continue;
    fs::remove_all(program.folder, error);
    total -= program.bytes;
  }
}

}  // namespace textvec::runtime
