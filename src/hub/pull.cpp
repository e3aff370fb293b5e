// In: a model's name. Out: its files in the Hugging Face cache. See pull.h.
#include "hub/pull.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <limits>
#include <set>
#include <system_error>
#include <utility>

#include "hub/download.h"
#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/part_file.h"
#include "hub/protocol.h"
#include "hub/repository.h"
#include "hub/variant.h"
#include "model/folder.h"
#include "model/json.h"
#include "model/spec.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;
// Not ".incomplete": versions of huggingface_hub go on with such a file from its end.
constexpr const char* kPartEnding = ".textvec-part";

fs::path part_of(const Repository& repository, const std::string& hash) {
  fs::path part = repository.blob(hash);
  part += kPartEnding;
  return part;
}

// What --model must say for the files of `choice`: the name, unless it would mean other weights
// that lie in the same snapshot.
std::string model_to_load(const std::string& name, const fs::path& snapshot,
                          const std::string& onnx_file) {
  if (onnx_file.empty()) return name;
  std::error_code error;
  bool is_alone = !fs::exists(snapshot / "model.safetensors", error) &&
                  !fs::exists(snapshot / "model.safetensors.index.json", error);
  for (const char* folder : {"", "onnx"}) {
    for (const fs::path& entry : model::entries_of(snapshot / folder)) {
      if (entry.extension() == ".onnx" && entry != snapshot / onnx_file) is_alone = false;
    }
  }
  return is_alone ? name : (snapshot / onnx_file).string();
}

class HubPull {
 public:
  HubPull(const ModelName& name, const PullOptions& options, fs::path cache,
          const Endpoint& endpoint, std::string token)
      : options_(options),
        revision_(name.revision.empty() ? kRevisionUsual : name.revision),
        repository_(std::move(cache), name.name),
        client_(endpoint, std::move(token), options.stop, options.log),
        hub_(client_, endpoint.url, name.name) {
    plan_.name = name.name;
    plan_.source = endpoint.url;
    plan_.revision = revision_;
  }

  Result<PullPlan> run(std::uint64_t memory_bytes) {
    if (auto planned = plan(memory_bytes); !planned) return std::move(planned).error();
    if (options_.planned) options_.planned(plan_);
    if (options_.dry_run) return plan_;
    if (auto room = check_space(plan_); !room) return std::move(room).error();
    if (auto done = download_all(); !done) return std::move(done).error();
    plan_.model = model_to_load(name_for_load(), plan_.folder, choice_.onnx_file);
    return plan_;
  }

 private:
  std::string name_for_load() const {
    return revision_ == kRevisionUsual ? plan_.name : plan_.name + "@" + revision_;
  }

  Result<void> plan(std::uint64_t memory_bytes) {
    auto listed = hub_.list(revision_);
    if (!listed) return std::move(listed).error();
    plan_.commit = listed->commit;
    plan_.folder = repository_.snapshot(plan_.commit).string();
    std::string architecture;
    if (options_.variant == Variant::Auto && find_file(listed->files, "config.json") != nullptr) {
      auto found = read_architecture();
      if (!found) return std::move(found).error();
      architecture = std::move(*found);
    }
    auto choice = choose_files(listed->files, architecture, {options_.variant, memory_bytes});
    if (!choice) {
      return Error{choice.error().code, plan_.name + ": " + choice.error().message};
    }
    choice_ = std::move(*choice);
    for (RemoteFile& file : choice_.files) {
      if (!file.hash.empty()) continue;
      if (auto completed = hub_.complete(plan_.commit, file); !completed) return completed;
    }
    plan_.variant = choice_.variant;
    plan_.reason = choice_.reason;
    plan_.model = model_to_load(name_for_load(), plan_.folder, choice_.onnx_file);
    plan_.bytes_free = bytes_free(repository_.folder());
    std::set<std::string> counted;
    for (const RemoteFile& file : choice_.files) {
      const bool is_here = repository_.has_blob(file.hash, file.bytes);
      plan_.files.push_back({file.path, file.bytes, is_here});
      if (!counted.insert(file.hash).second) continue;  // the same bytes under two names
      plan_.bytes_total += file.bytes;
      if (is_here) continue;
      plan_.bytes_missing +=
          file.bytes - PartFile::bytes_in(part_of(repository_, file.hash), file.bytes);
    }
    return {};
  }

  // What textvec could do with the weights, which is asked before they are downloaded.
  Result<std::string> read_architecture() {
    const auto text = hub_.read(plan_.commit, "config.json", kConfigBytesMax);
    if (!text) return text.error();
    const auto json = model::parse_json(*text, "config.json");
    if (!json) return json.error();
    return model::JsonReader(*json, "config.json").string_or("model_type", "");
  }

  Result<void> download_all() {
    if (auto made = repository_.make_folders(plan_.commit); !made) return made;
    std::set<std::string> done;
    for (const RemoteFile& file : choice_.files) {
      if (done.insert(file.hash).second) {
        if (auto taken = take(file); !taken) return taken;
      }
      if (auto linked = repository_.link(plan_.commit, file.path, file.hash); !linked) {
        return linked;
      }
    }
    // Last, so that the name never leads to half a model that is new.
    return repository_.set_reference(revision_, plan_.commit);
  }

  Result<void> take(const RemoteFile& file) {
    if (!repository_.has_blob(file.hash, file.bytes)) {
      const auto lock = FileLock::take(repository_.lock(file.hash), options_.stop, [&] {
        if (options_.log) options_.log("waiting for another process, which downloads " + file.path);
      });
      if (!lock) return lock.error();
      // That other process may have brought it meanwhile.
      if (!repository_.has_blob(file.hash, file.bytes)) {
        if (auto taken = download(file); !taken) return taken;
      }
    }
    bytes_here_ += file.bytes;
    if (options_.progress) options_.progress(bytes_here_, plan_.bytes_total);
    return {};
  }

  Result<void> download(const RemoteFile& file) {
    Download download;
    download.url = hub_.url_of(plan_.commit, file.path);
    download.name = file.path;
    download.part = part_of(repository_, file.hash);
    download.place = repository_.blob(file.hash);
    download.bytes = file.bytes;
    download.hash = file.hash;
    if (options_.progress) {
      download.progress = [this](std::uint64_t bytes) {
        options_.progress(bytes_here_ + bytes, plan_.bytes_total);
      };
    }
    return client_.download(download);
  }

  const PullOptions& options_;
  const std::string revision_;
  const Repository repository_;
  HttpClient client_;
  Hub hub_;
  Choice choice_{};
  PullPlan plan_{};
  std::uint64_t bytes_here_ = 0;
};

// Without the network: what an earlier pull left, when all of it is there.
Result<PullPlan> pull_offline(const ModelName& name, const PullOptions& options,
                              const fs::path& cache) {
  PullPlan plan;
  plan.name = name.name;
  plan.source = "this machine, because HF_HUB_OFFLINE is set";
  plan.revision = name.revision.empty() ? kRevisionUsual : name.revision;
  const Repository repository(cache, name.name);
  const auto commit = repository.commit_of(plan.revision);
  if (!commit) {
    return Error{ErrorCode::NotFound, "HF_HUB_OFFLINE is set, and " + repository.folder().string() +
                                          " has no " + plan.revision + " of " + name.name};
  }
  plan.commit = *commit;
  plan.folder = repository.snapshot(*commit).string();
  plan.bytes_free = bytes_free(plan.folder);
  std::error_code error;
  for (const std::string& path : model::files_below(plan.folder)) {
    const auto bytes = fs::file_size(fs::path(plan.folder) / path, error);
    if (error) {
      return Error{ErrorCode::NotFound, "HF_HUB_OFFLINE is set, and " + plan.folder + " lacks " +
                                            path + ", which another process has not finished"};
    }
    plan.files.push_back({path, bytes, true});
    plan.bytes_total += bytes;
    if (path.ends_with(".safetensors")) plan.variant = Variant::Safetensors;
  }
  plan.model = name.revision.empty() ? name.name : name.name + "@" + name.revision;
  if (options.planned) options.planned(plan);
  return plan;
}

// In whole mebibytes, or in gibibytes with two digits behind the point.
std::string size_words(std::uint64_t bytes) {
  constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;
  if (bytes < 1024 * kMebibyte) return std::to_string((bytes + kMebibyte - 1) / kMebibyte) + " MiB";
  const std::uint64_t hundredths = bytes / (1024 * kMebibyte / 100);
  std::string digits = std::to_string(hundredths % 100);
  if (digits.size() < 2) digits.insert(0, "0");
  return std::to_string(hundredths / 100) + "." + digits + " GiB";
}

}  // namespace

Result<PullPlan> pull_from_hub(const ModelName& name, const PullOptions& options,
                               std::uint64_t memory_bytes) {
  auto cache = hugging_face_cache();
  if (!cache) return std::move(cache).error();
  if (is_offline()) return pull_offline(name, options, *cache);
  auto secret = token();
  if (!secret) return std::move(secret).error();
  return HubPull(name, options, std::move(*cache), endpoint(), std::move(*secret))
      .run(memory_bytes);
}

std::uint64_t bytes_free(const fs::path& folder) {
  std::error_code error;
  fs::path nearest = fs::absolute(folder, error);
  while (!fs::exists(nearest, error) && nearest.has_relative_path()) {
    nearest = nearest.parent_path();
  }
  struct statvfs status{};
  if (::statvfs(nearest.c_str(), &status) != 0) return std::numeric_limits<std::uint64_t>::max();
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

Result<void> check_space(const PullPlan& plan) {
  if (plan.bytes_missing <= plan.bytes_free) return {};
  return Error{ErrorCode::Internal, plan.name + " needs " + size_words(plan.bytes_missing) +
                                        " more, and the disk of " + plan.folder + " has " +
                                        size_words(plan.bytes_free) + " free"};
}

}  // namespace textvec::hub
