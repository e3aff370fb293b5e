// In: any bytes, as a model's name, and as the commit that refs/main of a download names. Property:
// an error that says something, a path that exists as it was given, or a folder inside a cache.
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "fuzz/check.h"
#include "fuzz/scratch.h"
#include "hub/locate.h"

namespace textvec::fuzz {
namespace {

namespace fs = std::filesystem;

// The caches of textvec and of Hugging Face, one model in each, and a folder beside them that no
// name may lead to.
struct Caches {
  Caches() {
    fs::create_directories(models / "owner/name");
    fs::create_directories(models / "name");
    fs::create_directories(repository / "snapshots/01234567");
    fs::create_directories(repository / "outside");
    for (const char* name : {"HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      ::setenv(name, (scratch() / "empty").c_str(), 1);
    }
    ::setenv("TEXTVEC_CACHE", models.parent_path().c_str(), 1);
    ::setenv("HF_HUB_CACHE", repository.parent_path().c_str(), 1);
  }

  fs::path models = scratch() / "cache/models";
  fs::path repository = scratch() / "hub/models--hub--name";
};

void check_location(const hub::Location& location, std::string_view name, const Caches& caches) {
  check(fs::exists(location.path), "a place that was found is there");
  check(!location.name.empty(), "a place has a name");
  check(name.find('\0') == std::string_view::npos, "no path ends before its name does");
  if (location.path.native() == name) return;
  check(location.name == name, "a model in a cache keeps its name");
  const fs::path relative = location.path.lexically_relative(caches.models);
  // The owner's folder, too, is one in the cache.
  check(relative == "name" || relative == "owner" || relative == "owner/name",
        "a name stays inside the cache");
}

void check_name(std::string_view name, const Caches& caches) {
  const auto location = hub::locate(name);
  if (location) return check_location(*location, name, caches);
  check_error(location.error(), {ErrorCode::InvalidArgument, ErrorCode::NotFound});
}

void check_commit(std::string_view commit, const Caches& caches) {
  testing::write_file(caches.repository / "refs/main", commit);
  const auto location = hub::locate("hub/name");
  if (!location) return check_error(location.error(), {ErrorCode::NotFound});
  check(location->path == caches.repository / "snapshots/01234567",
        "a commit stays inside the snapshots");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Caches kCaches;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_commit(text, kCaches);
  check_name(text, kCaches);
  return 0;
}

}  // namespace textvec::fuzz
