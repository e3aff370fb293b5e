// In: a model's name and a Hugging Face cache. Out: its folder there. See repository.h.
#include "hub/repository.h"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include "hub/names.h"
#include "model/folder.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr std::size_t kCommitBytesMax = 96;

// "models--owner--name"
std::string folder_name(std::string_view name) {
  std::string folder(kPrefix);
  for (const char character : name) folder += character == '/' ? "--" : std::string(1, character);
  return folder;
}

// A commit as other tools may have written it: they end the line or not.
bool is_commit(std::string_view text) {
  return is_revision(text) && text.find('/') == std::string_view::npos;
}

std::optional<std::string> read_reference(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;  // a pipe would block
  std::ifstream stream(file);
  std::string commit(kCommitBytesMax + 1, '\0');
  stream.read(commit.data(), static_cast<std::streamsize>(commit.size()));
  commit.resize(static_cast<std::size_t>(stream.gcount()));
  commit.erase(commit.find_last_not_of(" \r\n") + 1);
  if (!is_commit(commit)) return std::nullopt;
  return commit;
}

// Made under another name first, so that a reader sees the old one or the new one.
template <class Make>
Result<void> replace(const fs::path& path, const Make& make) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return model::cannot_write(path.parent_path(), error);
  const fs::path temporary = model::temporary_beside(path);
  make(temporary, error);
  if (!error) fs::rename(temporary, path, error);
  if (!error) return {};
  const std::error_code reason = error;
  fs::remove(temporary, error);
  return model::cannot_write(path, reason);
}

}  // namespace

Repository::Repository(fs::path cache, std::string_view name)
    : cache_(std::move(cache)), base_(folder_name(name)), folder_(cache_ / base_) {}

fs::path Repository::blob(std::string_view hash) const { return folder_ / "blobs" / hash; }

fs::path Repository::snapshot(std::string_view commit) const {
  return folder_ / "snapshots" / commit;
}

fs::path Repository::locks() const { return cache_ / ".locks" / base_; }

fs::path Repository::lock(std::string_view hash) const {
  return locks() / (std::string(hash) + ".lock");
}

std::optional<std::string> Repository::commit_of(std::string_view revision) const {
  std::error_code error;
  if (auto commit = read_reference(folder_ / "refs" / revision)) {
    if (fs::is_directory(snapshot(*commit), error)) return commit;
    return std::nullopt;
  }
  if (is_hash(revision) && fs::is_directory(snapshot(revision), error)) {
    return std::string(revision);
  }
  return std::nullopt;
}

bool Repository::has_blob(std::string_view hash, std::uint64_t bytes) const {
  std::error_code error;
  const fs::path path = blob(hash);
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == bytes && !error;
}

Result<void> Repository::make_folders(std::string_view commit) const {
  std::error_code error;
  for (const fs::path& needed : {folder_ / "blobs", folder_ / "refs", snapshot(commit), locks()}) {
    fs::create_directories(needed, error);
    if (error) return model::cannot_write(needed, error);
  }
  return {};
}

Result<void> Repository::link(std::string_view commit, std::string_view file,
                              std::string_view hash) const {
  const fs::path path = snapshot(commit) / file;
  // Relative, so that the whole cache may be moved.
  fs::path target;
  for (auto slashes = std::count(file.begin(), file.end(), '/') + 2; slashes > 0; --slashes) {
    target /= "..";
  }
  target /= fs::path("blobs") / hash;
  std::error_code error;
  if (fs::is_symlink(path, error) && fs::read_symlink(path, error) == target) return {};
  return replace(path, [&target](const fs::path& temporary, std::error_code& failed) {
    fs::create_symlink(target, temporary, failed);
  });
}

Result<void> Repository::set_reference(std::string_view revision, std::string_view commit) const {
  const fs::path path = folder_ / "refs" / revision;
  if (is_hash(revision) || read_reference(path) == commit) return {};
  return replace(path, [commit](const fs::path& temporary, std::error_code& failed) {
    std::ofstream stream(temporary, std::ios::binary);
    stream << commit;
    stream.close();
    if (!stream) failed = std::make_error_code(std::errc::io_error);
  });
}

std::vector<std::string> repositories_of(const fs::path& cache) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::path& entry : model::entries_of(cache)) {
    std::string name = entry.filename().string();
    if (!name.starts_with(kPrefix) || !fs::is_directory(entry, error)) continue;
    name.erase(0, kPrefix.size());
    if (const std::size_t joint = name.find("--"); joint != std::string::npos) {
      name.replace(joint, 2, "/");
    }
    if (is_repository(name)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace textvec::hub
