// In: the caches. Out: which models they hold, whether their files are right, and fewer of them.
// See store.h.
#include "hub/store.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/package.h"
#include "hub/part_file.h"
#include "hub/pull.h"
#include "hub/repository.h"
#include "model/folder.h"
#include "model/hash.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

std::uint64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  return error ? 0 : bytes;
}

// Without following links, so that nothing counts twice.
std::uint64_t disk_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (const std::string& path : model::files_below(folder)) {
    if (!fs::is_symlink(folder / path, error)) bytes += size_of(folder / path);
  }
  return bytes;
}

void describe_files(StoredModel& model) {
  bool has_safetensors = false;
  bool has_onnx = false;
  for (const std::string& path : model::files_below(model.folder)) {
    model.bytes += size_of(fs::path(model.folder) / path);
    // Those of a module are small parts of any model.
    has_safetensors =
        has_safetensors || (path.ends_with(".safetensors") && path.find('/') == std::string::npos);
    has_onnx = has_onnx || path.ends_with(".onnx");
  }
  if (has_safetensors) model.weights = "safetensors";
  if (has_onnx) model.weights += has_safetensors ? ", onnx" : "onnx";
}

std::uint64_t unfinished_bytes(const Repository& repository) {
  std::uint64_t bytes = 0;
  for (const fs::path& blob : model::entries_of(repository.folder() / "blobs")) {
    if (!is_hash(blob.filename().string())) bytes += size_of(blob);
  }
  return bytes;
}

// Each snapshot once, under the name that leads to it.
void add_repository(const fs::path& cache, const std::string& name,
                    std::vector<StoredModel>& models) {
  const Repository repository(cache, name);
  std::map<std::string, std::string> revisions;  // commit -> revision
  for (const std::string& revision : model::files_below(repository.folder() / "refs")) {
    if (!is_revision(revision)) continue;
    const auto commit = repository.commit_of(revision);
    if (commit && (revision == kRevisionUsual || !revisions.contains(*commit))) {
      revisions[*commit] = revision;
    }
  }
  std::uint64_t unfinished = unfinished_bytes(repository);
  for (const fs::path& snapshot : model::entries_of(repository.folder() / "snapshots")) {
    StoredModel model;
    model.commit = snapshot.filename().string();
    const auto revision = revisions.find(model.commit);
    if (revision != revisions.end()) model.revision = revision->second;
    model.name = name;
    if (model.revision != kRevisionUsual) {
      model.name += "@" + (model.revision.empty() ? model.commit : model.revision);
    }
    model.folder = snapshot.string();
    model.bytes_unfinished = std::exchange(unfinished, 0);
    describe_files(model);
    models.push_back(std::move(model));
  }
}

// A folder of models ("owner/") holds folders only.
bool holds_files(const fs::path& folder) {
  std::error_code error;
  for (const fs::path& entry : model::entries_of(folder)) {
    if (fs::is_regular_file(entry, error)) return true;
  }
  return false;
}

void add_folder(const fs::path& cache, const std::string& name, std::vector<StoredModel>& models) {
  StoredModel model;
  model.name = name;
  model.folder = (cache / "models" / name).string();
  if (const auto record = read_record(record_path(cache, name))) {
    model.name = ModelName{true, name, {}}.text();
    model.commit = record->version;
  }
  describe_files(model);
  models.push_back(std::move(model));
}

void add_folders(const fs::path& cache, std::vector<StoredModel>& models) {
  std::error_code error;
  for (const fs::path& first : model::entries_of(cache / "models")) {
    const std::string name = first.filename().string();
    if (!fs::is_directory(first, error) || !is_repository(name)) continue;
    if (holds_files(first)) {
      add_folder(cache, name, models);
      continue;
    }
    for (const fs::path& second : model::entries_of(first)) {
      const std::string whole = name + "/" + second.filename().string();
      if (fs::is_directory(second, error) && is_repository(whole)) {
        add_folder(cache, whole, models);
      }
    }
  }
}

// A file and what its bytes should be.
struct Expected {
  fs::path path{};
  std::string name{};
  std::string hash{};  // empty: unknown
};

class Verification {
 public:
  explicit Verification(const VerifyOptions& options) : options_(options) {}

  Result<std::vector<FileCheck>> run(const std::vector<Expected>& files) {
    for (const Expected& file : files) bytes_total_ += size_of(file.path);
    std::vector<FileCheck> checks;
    for (const Expected& file : files) {
      auto check = look_at(file);
      if (!check) return std::move(check).error();
      checks.push_back(std::move(*check));
    }
    return checks;
  }

 private:
  Result<FileCheck> look_at(const Expected& file) {
    FileCheck check;
    check.path = file.name;
    check.bytes = size_of(file.path);
    std::error_code error;
    if (!fs::is_regular_file(file.path, error)) {
      check.state = FileCheck::State::Missing;
      return check;
    }
    if (file.hash.empty()) return check;
    // Two names of the same bytes are read once.
    const std::string real = fs::canonical(file.path, error).string();
    if (const auto known = known_.find(real); known != known_.end()) {
      check.state = known->second;
      return check;
    }
    const auto hash = hash_of(file.path, file.hash, check.bytes);
    if (!hash) return hash.error();
    check.state = *hash == file.hash ? FileCheck::State::Right : FileCheck::State::Wrong;
    known_[real] = check.state;
    if (check.state == FileCheck::State::Wrong && options_.remove_wrong) {
      fs::remove(real, error);
      if (error) {
        return Error{ErrorCode::Internal, "cannot remove " + real + ": " + error.message()};
      }
    }
    return check;
  }

  Result<std::string> hash_of(const fs::path& file, std::string_view wanted, std::uint64_t bytes) {
    model::Hash hash = new_hash(wanted, bytes);
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return Error{ErrorCode::Internal, "cannot read " + file.string()};
    std::vector<char> block(kBlockBytes);
    while (stream) {
      if (options_.stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped"};
      stream.read(block.data(), static_cast<std::streamsize>(block.size()));
      const auto got = static_cast<std::size_t>(stream.gcount());
      hash.update(std::string_view(block.data(), got));
      bytes_done_ += got;
      if (options_.progress) options_.progress(bytes_done_, bytes_total_);
    }
    if (!stream.eof()) return Error{ErrorCode::Internal, "cannot read " + file.string()};
    return hash.finish();
  }

  const VerifyOptions& options_;
  std::map<std::string, FileCheck::State> known_{};
  std::uint64_t bytes_total_ = 0;
  std::uint64_t bytes_done_ = 0;
};

// In the Hugging Face cache a file's hash is the name that its link leads to.
std::vector<Expected> expected_of(const Repository& repository) {
  std::vector<Expected> files;
  std::error_code error;
  for (const fs::path& snapshot : model::entries_of(repository.folder() / "snapshots")) {
    for (const std::string& name : model::files_below(snapshot)) {
      Expected file{snapshot / name, snapshot.filename().string() + "/" + name, {}};
      const std::string target = fs::read_symlink(file.path, error).filename().string();
      if (!error && is_hash(target)) file.hash = target;
      files.push_back(std::move(file));
    }
  }
  return files;
}

std::vector<Expected> expected_of(const fs::path& cache, const std::string& name) {
  std::vector<Expected> files;
  const fs::path folder = cache / "models" / name;
  const auto record = read_record(record_path(cache, name));
  std::set<std::string> listed;
  if (record) {
    for (const auto& [path, file] : record->files) {
      files.push_back({folder / path, path, file.sha256});
      listed.insert(path);
    }
  }
  for (const std::string& path : model::files_below(folder)) {
    if (!listed.contains(path)) files.push_back({folder / path, path, {}});
  }
  return files;
}

Error not_stored(const ModelName& name) {
  return {ErrorCode::NotFound,
          "no model \"" + name.text() + "\" in the caches; `textvec models` lists what is there"};
}

// First out of everybody's sight, then gone.
Result<std::uint64_t> remove_folder(const fs::path& folder) {
  std::error_code error;
  const std::uint64_t bytes = disk_bytes(folder);
  std::random_device random;
  fs::path doomed = folder.parent_path() / (".removed-" + std::to_string(random()));
  fs::rename(folder, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  if (!error) return bytes;
  return Error{ErrorCode::Internal, "cannot remove " + folder.string() + ": " + error.message()};
}

Result<std::uint64_t> remove_repository(const Repository& repository) {
  std::vector<FileLock> locks;
  for (const fs::path& file : model::entries_of(repository.locks())) {
    auto lock = FileLock::try_take(file);
    if (!lock) return std::move(lock).error();
    locks.push_back(std::move(*lock));
  }
  auto removed = remove_folder(repository.folder());
  std::error_code ignored;
  if (removed) fs::remove_all(repository.locks(), ignored);
  return removed;
}

}  // namespace

Result<std::vector<StoredModel>> stored_models() {
  std::vector<StoredModel> models;
  const auto own = cache_folder();
  if (own) add_folders(*own, models);
  const auto theirs = hugging_face_cache();
  if (!own && !theirs) return own.error();
  if (theirs) {
    for (const std::string& name : repositories_of(*theirs)) {
      add_repository(*theirs, name, models);
    }
  }
  // Ours before those of the same name in the other cache.
  std::vector<std::pair<std::string, std::size_t>> order;
  order.reserve(models.size());
  for (std::size_t i = 0; i < models.size(); ++i) order.emplace_back(models[i].name, i);
  std::sort(order.begin(), order.end());
  std::vector<StoredModel> sorted;
  sorted.reserve(models.size());
  for (const auto& [name, index] : order) sorted.push_back(std::move(models[index]));
  return sorted;
}

Result<std::vector<FileCheck>> verify_files(const ModelName& name, const VerifyOptions& options) {
  std::vector<Expected> files;
  if (const auto cache = cache_folder(); cache && holds_files(*cache / "models" / name.name)) {
    files = expected_of(*cache, name.name);
  }
  if (const auto cache = hugging_face_cache(); cache && !name.is_package) {
    auto more = expected_of(Repository(*cache, name.name));
    std::move(more.begin(), more.end(), std::back_inserter(files));
  }
  if (files.empty()) return not_stored(name);
  return Verification(options).run(files);
}

Result<std::uint64_t> remove_model(const ModelName& name) {
  std::uint64_t bytes = 0;
  bool found = false;
  std::error_code error;
  if (const auto cache = cache_folder(); cache && holds_files(*cache / "models" / name.name)) {
    const auto removed = remove_folder(*cache / "models" / name.name);
    if (!removed) return removed;
    fs::remove(record_path(*cache, name.name), error);
    bytes += *removed;
    found = true;
  }
  if (const auto cache = hugging_face_cache(); cache && !name.is_package) {
    const Repository repository(*cache, name.name);
    if (fs::is_directory(repository.folder(), error)) {
      const auto removed = remove_repository(repository);
      if (!removed) return removed;
      bytes += *removed;
      found = true;
    }
  }
  if (!found) return not_stored(name);
  return bytes;
}

}  // namespace textvec::hub
