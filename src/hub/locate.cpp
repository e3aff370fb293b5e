// In: what --model says. Out: the model's folder (or .onnx file) on this machine. See locate.h.
#include "hub/locate.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kModelBytesMax = 4096;  // a path's limit on Linux
constexpr std::size_t kPartBytesMax = 96;     // of a name; the hub's own limit

// An empty variable is no different from one that is not set.
std::optional<fs::path> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

bool is_part(std::string_view part) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !part.empty() && part.size() <= kPartBytesMax && part.front() != '.' &&
         part.find_first_not_of(kAllowed) == std::string_view::npos;
}

bool is_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) return is_part(name);
  return is_part(name.substr(0, slash)) && is_part(name.substr(slash + 1));
}

// What can only be meant as a path, and must not be mistaken for a malformed name.
bool is_path_like(std::string_view model) {
  for (const std::string_view start : {"/", "./", "../", "~/"}) {
    if (model.starts_with(start)) return true;
  }
  return model == "." || model == "..";
}

// "model" of "./model/", and the folder's real name of ".".
std::string own_name(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::absolute(path, error).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return whole.has_filename() ? whole.filename().string() : path.string();
}

// The folder of downloads that huggingface_hub keeps, by its own rules.
std::optional<fs::path> hugging_face_hub() {
  if (auto hub = variable("HF_HUB_CACHE")) return hub;
  if (const auto home = variable("HF_HOME")) return *home / "hub";
  if (const auto caches = variable("XDG_CACHE_HOME")) return *caches / "huggingface/hub";
  if (const auto home = variable("HOME")) return *home / ".cache/huggingface/hub";
  return std::nullopt;
}

// "models--owner--name" below the hub.
fs::path hugging_face_folder(const fs::path& hub, std::string_view name) {
  std::string folder = "models--";
  for (const char character : name) folder += character == '/' ? "--" : std::string(1, character);
  return hub / folder;
}

// snapshots/COMMIT, COMMIT being what refs/main holds.
std::optional<fs::path> find_snapshot(const fs::path& repository) {
  std::error_code error;
  if (!fs::is_regular_file(repository / "refs/main", error)) return std::nullopt;
  std::ifstream stream(repository / "refs/main");
  std::string commit(kPartBytesMax + 1, '\0');
  stream.read(commit.data(), static_cast<std::streamsize>(commit.size()));
  commit.resize(static_cast<std::size_t>(stream.gcount()));
  commit.erase(commit.find_last_not_of(" \r\n") + 1);
  if (!is_part(commit)) return std::nullopt;
  fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::is_directory(snapshot, error)) return std::nullopt;
  return snapshot;
}

Result<Location> locate_name(std::string_view model) {
  std::string searched;
  std::error_code error;
  if (const auto cache = cache_folder()) {
    fs::path folder = *cache / "models" / model;
    if (fs::is_directory(folder, error)) return Location{std::string(model), std::move(folder)};
    searched += folder.string();
  }
  if (const auto hub = hugging_face_hub()) {
    const fs::path repository = hugging_face_folder(*hub, model);
    if (auto snapshot = find_snapshot(repository)) {
      return Location{std::string(model), std::move(*snapshot)};
    }
    searched += (searched.empty() ? "" : " or ") + repository.string();
  }
  if (searched.empty()) searched = "any cache, because neither TEXTVEC_CACHE nor HOME is set";
  return Error{ErrorCode::NotFound,
               "no model \"" + std::string(model) + "\": it is no path, and not in " + searched};
}

}  // namespace

Result<fs::path> cache_folder() {
  if (auto cache = variable("TEXTVEC_CACHE")) return std::move(*cache);
  if (const auto caches = variable("XDG_CACHE_HOME")) return *caches / "textvec";
  if (const auto home = variable("HOME")) return *home / ".cache/textvec";
  return Error{ErrorCode::InvalidArgument,
               "no cache folder: none of TEXTVEC_CACHE, XDG_CACHE_HOME and HOME is set"};
}

Result<Location> locate(std::string_view model) {
  if (model.empty()) return Error{ErrorCode::InvalidArgument, "the model's name is empty"};
  if (model.size() > kModelBytesMax || model.find('\0') != std::string_view::npos) {
    return Error{ErrorCode::InvalidArgument,
                 "the model's name has " + std::to_string(model.size()) + " bytes; it takes 1 to " +
                     std::to_string(kModelBytesMax) + " without a zero byte"};
  }
  const fs::path path{model};
  std::error_code error;
  if (fs::exists(path, error)) return Location{own_name(path), path};
  if (is_path_like(model)) {
    return Error{ErrorCode::NotFound, "no such file or folder: " + path.string()};
  }
  if (!is_name(model)) {
    return Error{ErrorCode::InvalidArgument,
                 "\"" + std::string(model) +
                     "\" is neither a path that exists nor a model's name: one or two parts of "
                     "[A-Za-z0-9._-], at most " +
                     std::to_string(kPartBytesMax) + " bytes each, none beginning with a dot"};
  }
  return locate_name(model);
}

}  // namespace textvec::hub
