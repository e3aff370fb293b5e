// In: what --model says. Out: the model's folder (or .onnx file) on this machine. See locate.h.
#include "hub/locate.h"

#include <system_error>
#include <utility>

#include "hub/names.h"
#include "hub/repository.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kModelBytesMax = 4096;  // a path's limit on Linux

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

// Ours holds one version of a model, which is what a name without a revision asks for.
bool may_be_ours(const ModelName& name) { return name.is_package || name.revision.empty(); }

Result<Location> locate_name(std::string_view model, const ModelName& name) {
  std::string searched;
  std::error_code error;
  if (const auto cache = cache_folder(); cache && may_be_ours(name)) {
    fs::path folder = *cache / "models" / name.name;
    if (fs::is_directory(folder, error)) return Location{std::string(model), std::move(folder)};
    searched += folder.string();
  }
  if (const auto cache = hugging_face_cache(); cache && !name.is_package) {
    const Repository repository(*cache, name.name);
    const std::string_view revision = name.revision.empty() ? kRevisionUsual : name.revision;
    if (const auto commit = repository.commit_of(revision)) {
      return Location{std::string(model), repository.snapshot(*commit)};
    }
    searched += (searched.empty() ? "" : " or ") + repository.folder().string();
  }
  if (searched.empty()) searched = "any cache, because neither TEXTVEC_CACHE nor HOME is set";
  return Error{ErrorCode::NotFound,
               "no model \"" + std::string(model) + "\": it is no path, and not in " + searched +
                   "; `textvec pull " + std::string(model) + "` downloads what the hub has"};
}

}  // namespace

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
  const auto name = parse_model_name(model);
  if (!name) {
    return Error{ErrorCode::InvalidArgument,
                 "\"" + std::string(model) +
                     "\" is neither a path that exists nor a model's name: one or two parts of "
                     "[A-Za-z0-9._-], at most 96 bytes each, none beginning with a dot, perhaps "
                     "with @REVISION; or pypi:NAME"};
  }
  return locate_name(model, *name);
}

}  // namespace textvec::hub
