// In: the files of a repository and what is wanted. Out: those that running the model needs. See
// variant.h.
#include "hub/variant.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "model/spec.h"

namespace textvec::hub {
namespace {

constexpr std::size_t kFilesMax = 2000;
constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 41;  // two TiB, of all files

using Files = std::vector<RemoteFile>;

// special_tokens_map.json is not for us: sentence-transformers, beside which vectors are checked,
// reads it of the same folder.
constexpr std::array<std::string_view, 6> kSmallFiles{
    "config.json",  "tokenizer.json",          "tokenizer_config.json",
    "modules.json", "special_tokens_map.json", "config_sentence_transformers.json"};

struct OnnxNames {
  Variant variant;
  std::vector<std::string_view> stems;  // best first
};

// What optimum, transformers.js and sentence-transformers call their exports.
const std::vector<OnnxNames>& onnx_names() {
  static const std::vector<OnnxNames> kNames{
      {Variant::Fp32, {"model"}},
      {Variant::Fp16, {"model_fp16"}},
#if defined(__aarch64__)
      {Variant::Q8, {"model_quantized", "model_int8", "model_qint8_arm64", "model_uint8"}},
#else
      {Variant::Q8,
       {"model_quantized", "model_int8", "model_uint8", "model_quint8_avx2",
        "model_qint8_avx512_vnni", "model_qint8_avx512"}},
#endif
      {Variant::Q4, {"model_q4", "model_q4f16", "model_bnb4"}},
  };
  return kNames;
}

const RemoteFile* find_onnx(const Files& files, Variant variant) {
  for (const OnnxNames& names : onnx_names()) {
    if (names.variant != variant) continue;
    for (const std::string_view stem : names.stems) {
      for (const char* folder : {"onnx/", ""}) {
        if (const auto* file = find_file(files, folder + std::string(stem) + ".onnx")) return file;
      }
    }
  }
  return nullptr;
}

// "1_Pooling/" of sentence-transformers: a number, an underscore, a name.
bool is_module(std::string_view path) {
  const std::size_t digits = path.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string_view::npos && path[digits] == '_' &&
         path.find('/') != std::string_view::npos;
}

bool is_small(std::string_view path) {
  if (std::find(kSmallFiles.begin(), kSmallFiles.end(), path) != kSmallFiles.end()) return true;
  if (path.starts_with("sentence_") && path.ends_with("_config.json")) {
    return path.find('/') == std::string_view::npos;
  }
  return is_module(path) && (path.ends_with(".json") || path.ends_with(".safetensors"));
}

bool is_shard(std::string_view path) {
  return path.starts_with("model-") && path.ends_with(".safetensors") &&
         path.find('/') == std::string_view::npos;
}

bool has_safetensors(const Files& files) {
  if (find_file(files, "model.safetensors") != nullptr) return true;
  if (find_file(files, "model.safetensors.index.json") != nullptr) return true;
  return std::any_of(files.begin(), files.end(), [](const RemoteFile& file) {
    return file.path.starts_with("0_") && file.path.ends_with("/model.safetensors");
  });
}

// The file and its external data: "model.onnx_data", "model.onnx_data_1", "model.onnx.data". Only a
// number may follow, lest "model.onnx_data.py" come too.
bool is_of_onnx(std::string_view path, const std::string& onnx_file) {
  if (!path.starts_with(onnx_file)) return false;
  path.remove_prefix(onnx_file.size());
  if (path.empty()) return true;
  if (!path.starts_with("_data") && !path.starts_with(".data")) return false;
  return path.find_first_not_of("0123456789_-.", std::string_view("_data").size()) ==
         std::string_view::npos;
}

std::uint64_t onnx_bytes(const Files& files, const std::string& onnx_file) {
  std::uint64_t bytes = 0;
  for (const RemoteFile& file : files) {
    if (is_of_onnx(file.path, onnx_file)) bytes += file.bytes;
  }
  return bytes;
}

bool is_compiled(const std::string& architecture) {
  const auto& known = model::known_architectures();
  return std::find(known.begin(), known.end(), architecture) != known.end();
}

std::string what_there_is(const Files& files) {
  std::string text = has_safetensors(files) ? "safetensors" : "";
  for (const OnnxNames& names : onnx_names()) {
    if (find_onnx(files, names.variant) == nullptr) continue;
    text += (text.empty() ? "" : ", ") + std::string(to_string(names.variant));
  }
  if (!text.empty()) return "it has " + text;
  const bool has_pickle = std::any_of(files.begin(), files.end(), [](const RemoteFile& file) {
    return file.path.ends_with(".bin") || file.path.ends_with(".pt");
  });
  return has_pickle ? "it has pickled weights only, which textvec never loads"
                    : "it has no weights that textvec knows";
}

Error no_variant(const Files& files, Variant wanted) {
  return {ErrorCode::Unsupported, "the model has no variant " + std::string(to_string(wanted)) +
                                      "; " + what_there_is(files)};
}

// Half of the memory: the runtime packs the weights once more while it loads them.
bool fits(std::uint64_t bytes, std::uint64_t memory_bytes) {
  return memory_bytes == 0 || bytes <= memory_bytes / 2;
}

Result<Choice> choose_variant(const Files& files, const std::string& architecture,
                              const Wanted& wanted) {
  Choice choice;
  if (wanted.variant != Variant::Auto) {
    choice.variant = wanted.variant;
  } else if (has_safetensors(files) && is_compiled(architecture)) {
    choice.reason = "textvec compiles " + architecture + " from its weights";
    return choice;
  } else {
    // Of a processor: 16-bit floats are widened there, and win nothing.
    std::optional<Variant> found;
    for (const Variant variant : {Variant::Fp32, Variant::Q8, Variant::Q4, Variant::Fp16}) {
      const RemoteFile* file = find_onnx(files, variant);
      if (file == nullptr || (found && variant == Variant::Fp16)) continue;
      found = variant;
      if (fits(onnx_bytes(files, file->path), wanted.memory_bytes)) break;
    }
    if (!found) return no_variant(files, Variant::Auto);
    choice.variant = *found;
    choice.reason =
        "of its ONNX files the one of the best precision that half of this machine's "
        "memory holds";
  }
  if (choice.variant == Variant::Safetensors) {
    if (!has_safetensors(files)) return no_variant(files, choice.variant);
    return choice;
  }
  const RemoteFile* file = find_onnx(files, choice.variant);
  if (file == nullptr) return no_variant(files, choice.variant);
  choice.onnx_file = file->path;
  return choice;
}

}  // namespace

Result<Choice> choose_files(const Files& files, const std::string& architecture,
                            const Wanted& wanted) {
  auto choice = choose_variant(files, architecture, wanted);
  if (!choice) return choice;
  if (find_file(files, "tokenizer.json") == nullptr &&
      find_file(files, "0_Transformer/tokenizer.json") == nullptr) {
    return Error{ErrorCode::Unsupported,
                 "the model has no tokenizer.json; textvec reads no other tokenizer's files"};
  }
  const bool sharded = find_file(files, "model.safetensors") == nullptr;
  std::uint64_t bytes = 0;
  for (const RemoteFile& file : files) {
    bool is_wanted = is_small(file.path);
    if (choice->variant != Variant::Safetensors) {
      is_wanted = is_wanted || is_of_onnx(file.path, choice->onnx_file);
    } else if (sharded) {
      is_wanted = is_wanted || is_shard(file.path) || file.path == "model.safetensors.index.json";
    } else {
      is_wanted = is_wanted || file.path == "model.safetensors";
    }
    if (!is_wanted) continue;
    choice->files.push_back(file);
    bytes += file.bytes;
  }
  if (choice->files.size() > kFilesMax || bytes > kBytesMax) {
    return Error{ErrorCode::BadModel, "the model has " + std::to_string(choice->files.size()) +
                                          " files of " + std::to_string(bytes) +
                                          " bytes; the limits are " + std::to_string(kFilesMax) +
                                          " and " + std::to_string(kBytesMax)};
  }
  std::sort(choice->files.begin(), choice->files.end(),
            [](const RemoteFile& a, const RemoteFile& b) {
              return std::pair(a.bytes, std::string_view(a.path)) <
                     std::pair(b.bytes, std::string_view(b.path));
            });
  return choice;
}

}  // namespace textvec::hub
