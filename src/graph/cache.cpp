// In: a key and a writer. Out: a folder that holds the graph, whole or not at all. See cache.h.
#include "graph/cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "model/file_times.h"
#include "model/folder.h"
#include "model/hash.h"
#include "model/json.h"

namespace textvec::graph {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifestName = "manifest.json";
constexpr std::chrono::hours kLeftoverAge{24};

std::optional<std::string> read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return std::nullopt;
  std::ostringstream text;
  text << stream.rdbuf();
  return std::move(text).str();
}

// Changes whenever the file's content can have changed.
std::optional<std::string> stamp(const fs::path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  // Both times: a copy may keep the one of its original, and nobody can set the other.
  const auto modified = model::modified_at(status);
  const auto changed = model::changed_at(status);
  return std::to_string(status.st_dev) + " " + std::to_string(status.st_ino) + " " +
         std::to_string(status.st_size) + " " + std::to_string(modified.tv_sec) + "." +
         std::to_string(modified.tv_nsec) + " " + std::to_string(changed.tv_sec) + "." +
         std::to_string(changed.tv_nsec);
}

std::string sha256_text(std::string_view text) {
  model::Sha256 hash;
  hash.update(text);
  return hash.finish();
}

std::string manifest_text(const WrittenFiles& files) {
  return "{\"model_sha256\":\"" + files.model_sha256 + "\",\"data_sha256\":\"" + files.data_sha256 +
         "\",\"data_bytes\":" + std::to_string(files.data_bytes) + "}\n";
}

std::optional<WrittenFiles> read_manifest(const fs::path& file) {
  const auto json = model::read_json_file(file, 1U << 16);
  if (!json) return std::nullopt;
  const model::JsonReader reader(*json, kManifestName);
  const auto model_sha256 = reader.string("model_sha256");
  const auto data_sha256 = reader.string("data_sha256");
  const auto data_bytes = reader.size("data_bytes", 0, std::size_t{1} << 50);
  if (!model_sha256 || !data_sha256 || !data_bytes) return std::nullopt;
  return WrittenFiles{*model_sha256, *data_sha256, *data_bytes};
}

}  // namespace

Result<std::string> GraphCache::file_sha256(const fs::path& file) const {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  const auto now = error ? std::nullopt : stamp(real);
  if (!now) return Error{ErrorCode::NotFound, "no such file: " + file.string()};
  const fs::path record = folder_ / "stamps" / sha256_text(real.string());
  if (const auto known = read_text(record)) {
    // One line: the stamp, a space, 64 digits.
    if (known->size() == now->size() + 65 && known->starts_with(*now)) {
      return known->substr(now->size() + 1);
    }
  }
  auto sha256 = model::sha256_file(real);
  // Not when the file changed meanwhile: the hash would stand for bytes that nobody read.
  if (sha256 && stamp(real) == now) remember(real, *now, *sha256);
  return sha256;
}

void GraphCache::remember(const fs::path& real, const std::string& stamp,
                          const std::string& sha256) const {
  std::error_code error;
  fs::create_directories(folder_ / "stamps", error);
  // Without the record the file is read once more next time: nothing else is lost.
  error = model::write_text(folder_ / "stamps" / sha256_text(real.string()), stamp + " " + sha256);
}

void GraphCache::remember_written(const fs::path& file, const std::string& sha256) const {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  const auto now = error ? std::nullopt : stamp(real);
  if (now) remember(real, *now, sha256);
}

std::optional<fs::path> GraphCache::find(const std::string& key) const {
  const fs::path folder = entry(key);
  std::error_code error;
  if (!fs::exists(folder, error)) return std::nullopt;
  const auto manifest = read_manifest(folder / kManifestName);
  fs::path model = folder / kModelName;
  const fs::path data = folder / kDataName;
  const bool sizes_match = manifest && fs::file_size(data, error) == manifest->data_bytes && !error;
  if (sizes_match) {
    const auto model_sha256 = file_sha256(model);
    const auto data_sha256 = file_sha256(data);
    if (model_sha256 && data_sha256 && *model_sha256 == manifest->model_sha256 &&
        *data_sha256 == manifest->data_sha256) {
      // The manifest's time is the time of the last use, for keep_within_limit().
      fs::last_write_time(folder / kManifestName, fs::file_time_type::clock::now(), error);
      return model;
    }
  }
  fs::remove_all(folder, error);
  return std::nullopt;
}

Result<fs::path> GraphCache::store(const std::string& key, const Write& write) const {
  std::error_code error;
  fs::create_directories(folder_ / "graphs", error);
  if (error) return model::cannot_write(folder_ / "graphs", error);
  remove_leftovers();
  const fs::path temporary = model::temporary_beside(entry(key));
  const bool created = fs::create_directory(temporary, error);
  if (!created && !error) error = std::make_error_code(std::errc::file_exists);
  if (error) return model::cannot_write(temporary, error);

  const auto written = write(temporary);
  if (written) error = model::write_text(temporary / kManifestName, manifest_text(*written));
  if (!written || error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    if (!written) return written.error();
    return model::cannot_write(temporary / kManifestName, error);
  }
  fs::rename(temporary, entry(key), error);
  if (error) {
    // Another process was faster, which is as good, or the rename failed for a real reason.
    const std::error_code reason = error;
    fs::remove_all(temporary, error);
    if (auto found = find(key)) return *found;
    return model::cannot_write(entry(key), reason);
  }
  remember_written(entry(key) / kModelName, written->model_sha256);
  remember_written(entry(key) / kDataName, written->data_sha256);
  keep_within_limit(key);
  return entry(key) / kModelName;
}

void GraphCache::remove_leftovers() const {
  std::error_code error;
  for (const fs::path& item : model::entries_of(folder_ / "graphs")) {
    if (item.filename().string().find(".tmp-") == std::string::npos) continue;
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(item, error);
    if (!error && age > kLeftoverAge) fs::remove_all(item, error);
  }
}

void GraphCache::keep_within_limit(const std::string& newest_key) const {
  struct Entry {
    fs::file_time_type used{};
    std::uint64_t bytes = 0;
    fs::path path{};
  };
  std::error_code error;
  std::vector<Entry> entries;
  std::uint64_t total = 0;
  for (const fs::path& item : model::entries_of(folder_ / "graphs")) {
    Entry entry;
    entry.path = item;
    entry.used = fs::last_write_time(item / kManifestName, error);
    if (error) continue;
    entry.bytes = fs::file_size(item / kDataName, error);
    if (error) continue;
    total += entry.bytes;
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= kBytesMax) return;
    if (entry.path.filename() == newest_key) continue;
    fs::remove_all(entry.path, error);
    total -= entry.bytes;
  }
}

}  // namespace textvec::graph
