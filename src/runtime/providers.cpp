// In: the provider that the caller wants. Out: what it is, and a session on it. See providers.h.
#include "runtime/providers.h"

#include <onnxruntime_cxx_api.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "textvec/embeddings.h"

namespace textvec::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kValueBytesMax = 4096;

// What an option takes: words ("0|1"), a range of whole numbers ("0..255"), "PATH" (absolute), or
// "TEXT".
struct Option {
  std::string_view name;
  std::string_view takes;
};

// How a provider that is built in is put into a session.
enum class Reach : unsigned char { ByName, Cuda, TensorRt, PluginOnly };

struct Known {
  Provider provider;
  const char* runtime_name;
  Reach reach;
  const char* short_name;  // for Reach::ByName
  const char* library;     // of its plugin, without "lib" and ".so"; empty: there is none
  const char* package;     // the Python package that ships it: a folder beside others
  bool static_graphs;
  std::vector<Option> options;
};

// Names and values are those of ONNX Runtime's and the plugins' own sources, documents and
// libraries. Left out is what a fused graph of any shape cannot use, such as captured graphs.
const std::vector<Known>& table() {
  static const auto& known =
      *new std::vector<Known>{{Provider::CoreMl,
                               "CoreMLExecutionProvider",
                               Reach::ByName,
                               "CoreML",
                               "",
                               "",
                               true,
                               {{"ModelFormat", "MLProgram|NeuralNetwork"},
                                {"MLComputeUnits", "ALL|CPUAndNeuralEngine|CPUAndGPU|CPUOnly"},
                                {"RequireStaticInputShapes", "0|1"},
                                {"EnableOnSubgraphs", "0|1"},
                                {"SpecializationStrategy", "Default|FastPrediction"},
                                {"ProfileComputePlan", "0|1"},
                                {"AllowLowPrecisionAccumulationOnGPU", "0|1"},
                                {"ModelCacheDirectory", "PATH"}}},
                              {Provider::WebGpu,
                               "WebGpuExecutionProvider",
                               Reach::ByName,
                               "WebGPU",
                               "onnxruntime_providers_webgpu",
                               "onnxruntime_ep_webgpu",
                               false,
                               {{"deviceId", "0..255"},
                                {"preferredLayout", "NCHW|NHWC"},
                                {"powerPreference", "high-performance|low-power"},
                                {"validationMode", "disabled|wgpuOnly|basic|full"}}},
                              {Provider::Cuda,
                               "CUDAExecutionProvider",
                               Reach::Cuda,
                               "",
                               "",
                               "",
                               false,
                               {{"device_id", "0..255"},
                                {"gpu_mem_limit", "1048576..1099511627776"},
                                {"arena_extend_strategy", "kNextPowerOfTwo|kSameAsRequested"},
                                {"use_tf32", "0|1"}}},
                              {Provider::OpenVino,
                               "OpenVINOExecutionProvider",
                               Reach::PluginOnly,
                               "",
                               "onnxruntime_providers_openvino_plugin",
                               "onnxruntime_ep_openvino",
                               false,
                               {{"device_type", "CPU|GPU|NPU"},
                                {"num_of_threads", "1..1024"},
                                {"num_streams", "1..64"},
                                {"precision", "FP32|FP16|ACCURACY"},
                                {"cache_dir", "PATH"},
                                {"load_config", "PATH"}}},
                              {Provider::TensorRt,
                               "TensorrtExecutionProvider",
                               Reach::TensorRt,
                               "",
                               "",
                               "",
                               false,
                               {{"device_id", "0..255"},
                                {"trt_max_workspace_size", "1048576..1099511627776"},
                                {"trt_fp16_enable", "0|1"},
                                {"trt_engine_cache_enable", "0|1"},
                                {"trt_engine_cache_path", "PATH"},
                                {"trt_timing_cache_enable", "0|1"},
                                {"trt_timing_cache_path", "PATH"},
                                {"trt_builder_optimization_level", "0..5"},
                                {"trt_profile_min_shapes", "TEXT"},
                                {"trt_profile_opt_shapes", "TEXT"},
                                {"trt_profile_max_shapes", "TEXT"}}},
                              {Provider::Mlx,
                               "MLXExecutionProvider",
                               Reach::PluginOnly,
                               "",
                               "onnxruntime_mlx_ep",
                               "onnxruntime_ep_mlx",
                               true,
                               {}}};
  return known;
}

// REQUIRES: not cpu, not auto.
const Known& known(Provider provider) {
  const auto found = std::find_if(table().begin(), table().end(),
                                  [&](const Known& entry) { return entry.provider == provider; });
  return *found;
}

bool is_one_of(std::string_view words, std::string_view value) {
  for (;;) {
    const std::size_t bar = words.find('|');
    if (words.substr(0, bar) == value) return true;
    if (bar == std::string_view::npos) return false;
    words.remove_prefix(bar + 1);
  }
}

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size();
}

bool takes_value(std::string_view takes, std::string_view value) {
  if (value.empty() || value.size() > kValueBytesMax) return false;
  if (takes == "TEXT") return true;
  if (takes == "PATH") return value.front() == '/';
  const std::size_t dots = takes.find("..");
  if (dots == std::string_view::npos) return is_one_of(takes, value);
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::uint64_t number = 0;
  read_number(takes.substr(0, dots), min);
  read_number(takes.substr(dots + 2), max);
  return read_number(value, number) && number >= min && number <= max;
}

std::string in_words(std::string_view takes) {
  if (takes == "TEXT") return "text of at most 4096 bytes";
  if (takes == "PATH") return "an absolute path";
  const std::size_t dots = takes.find("..");
  if (dots == std::string_view::npos) return std::string(takes);
  return std::string(takes.substr(0, dots)) + " to " + std::string(takes.substr(dots + 2));
}

Error not_here(Provider provider, const std::string& why) {
  return {ErrorCode::Provider,
          "provider " + std::string(to_string(provider)) + " is not on this machine: " + why};
}

// Why nobody should load this library, or nothing. Whoever may write it may run code as us.
std::optional<std::string> why_unsafe(const fs::path& library) {
  for (const fs::path& path : {library, library.parent_path()}) {
    struct stat about{};
    if (::stat(path.c_str(), &about) != 0) return "cannot be read";
    if (about.st_uid != 0 && about.st_uid != ::geteuid()) {
      return "it or its folder belongs to another user";
    }
    if ((about.st_mode & S_IWOTH) != 0) return "everybody may write it or its folder";
  }
  return std::nullopt;
}

std::vector<std::string> library_names(const Known& entry) {
  const std::string stem = entry.library;
  // Built by cargo or by CMake, on Linux or on macOS.
  return {"lib" + stem + ".so", "lib" + stem + ".dylib", stem + ".so", stem + ".dylib"};
}

// The file itself; in a folder, or in the package's own folder there, by its name.
std::optional<fs::path> library_at(const Known& entry, const fs::path& place) {
  std::error_code error;
  if (fs::is_regular_file(place, error)) {
    const std::string name = place.filename().string();
    return name.find(entry.library) == std::string::npos ? std::nullopt : std::optional(place);
  }
  for (const fs::path& folder : {place, place / entry.package}) {
    for (const std::string& name : library_names(entry)) {
      if (fs::is_regular_file(folder / name, error)) return folder / name;
    }
  }
  return std::nullopt;
}

std::vector<std::string> split_places(const char* list) {
  std::vector<std::string> places;
  std::string_view rest = list == nullptr ? "" : list;
  while (!rest.empty()) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    if (colon > 0) places.emplace_back(rest.substr(0, colon));
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return places;
}

Result<fs::path> find_library(const Known& entry, const std::string& given) {
  const char* variable = std::getenv("TEXTVEC_PROVIDER_LIBRARIES");
  const std::vector<std::string> places =
      given.empty() ? split_places(variable) : std::vector<std::string>{given};
  for (const std::string& place : places) {
    if (!fs::path(place).is_absolute()) {
      return not_here(entry.provider, place + " is not an absolute path");
    }
    const auto found = library_at(entry, place);
    if (!found) continue;
    std::error_code error;
    const fs::path real = fs::canonical(*found, error);  // its folder holds what it loads itself
    if (error) return not_here(entry.provider, found->string() + ": " + error.message());
    for (const fs::path& path : {*found, real}) {
      const auto unsafe = why_unsafe(path);
      if (!unsafe) continue;
      return not_here(entry.provider, path.string() + " is not safe to load: " + *unsafe);
    }
    return *found;
  }
  const std::string name = "lib" + std::string(entry.library);
  if (!given.empty()) return not_here(entry.provider, "no " + name + " at " + given);
  return not_here(entry.provider, "ONNX Runtime has it not built in, and no " + name +
                                      " is at what TEXTVEC_PROVIDER_LIBRARIES names");
}

bool is_built_in(const Known& entry) {
  if (entry.reach == Reach::PluginOnly) return false;
  const std::vector<std::string> built_in = Ort::GetAvailableProviders();
  return std::find(built_in.begin(), built_in.end(), entry.runtime_name) != built_in.end();
}

// Once in a process for each library, and never undone: sessions may live to the process's end.
void register_library(Ort::Env& environment, const Known& entry, const std::string& library) {
  static std::mutex mutex;
  static auto& registered = *new std::map<std::string, std::string>();
  const std::lock_guard lock(mutex);
  const auto [place, is_new] = registered.try_emplace(entry.runtime_name, library);
  if (!is_new) {
    if (place->second == library) return;
    throw Ort::Exception("this process has loaded " + place->second + " already", ORT_FAIL);
  }
  try {
    environment.RegisterExecutionProviderLibrary(entry.runtime_name, library);
  } catch (const Ort::Exception&) {
    registered.erase(place);
    throw;
  }
}

const char* device_word(OrtHardwareDeviceType type) {
  switch (type) {
    case OrtHardwareDeviceType_GPU:
      return "GPU";
    case OrtHardwareDeviceType_CPU:
      return "CPU";
    default:
      return "NPU";
  }
}

// One device of the provider: the type that is asked for, else the first in this order. An NPU
// wants fixed shapes, which the fused graph has not.
Ort::ConstEpDevice choose_device(Ort::Env& environment, const Known& entry,
                                 const std::string& wanted) {
  std::vector<Ort::ConstEpDevice> devices = environment.GetEpDevices();
  std::erase_if(devices, [&](const Ort::ConstEpDevice& device) {
    return device.EpName() != std::string_view(entry.runtime_name);
  });
  if (devices.empty()) {
    throw Ort::Exception("its library finds no device of its kind on this machine", ORT_FAIL);
  }
  for (const char* type : {"GPU", "CPU", "NPU"}) {
    if (!wanted.empty() && wanted != type) continue;
    for (const auto& device : devices) {
      if (std::string_view(device_word(device.Device().Type())) == type) return device;
    }
  }
  throw Ort::Exception("its library finds no device of type " + wanted, ORT_FAIL);
}

void append_plugin(Ort::SessionOptions& session, Ort::Env& environment, const Known& entry,
                   const ProviderUse& use) {
  register_library(environment, entry, use.library);
  // The device is chosen by what ONNX Runtime lists, and no option of the plugin's any more.
  std::unordered_map<std::string, std::string> options(use.options.begin(), use.options.end());
  std::string wanted;
  if (const auto type = options.find("device_type"); type != options.end()) {
    wanted = type->second;
    options.erase(type);
  }
  if (entry.provider == Provider::OpenVino) {
    // Its default is bfloat16 on processors that have it, whose vectors are a thousandth off.
    options.try_emplace("load_config", R"({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}})");
  }
  const Ort::ConstEpDevice device = choose_device(environment, entry, wanted);
  session.AppendExecutionProvider_V2(environment, {device}, options);
}

std::unordered_map<std::string, std::string> core_ml_options(const ProviderUse& use,
                                                             const std::string& program_folder) {
  std::unordered_map<std::string, std::string> options(use.options.begin(), use.options.end());
  // Its defaults are the format that 16 bits cannot have, and shapes that end the process.
  options.try_emplace("ModelFormat", "MLProgram");
  options.try_emplace("RequireStaticInputShapes", "1");
  std::error_code error;
  if (!program_folder.empty()) fs::create_directories(program_folder, error);
  if (!program_folder.empty() && !error) options.try_emplace("ModelCacheDirectory", program_folder);
  return options;
}

}  // namespace

std::vector<Provider> device_providers() {
  std::vector<Provider> providers;
  for (const Known& entry : table()) providers.push_back(entry.provider);
  return providers;
}

bool takes_static_graphs(Provider provider) {
  return std::any_of(table().begin(), table().end(), [&](const Known& entry) {
    return entry.provider == provider && entry.static_graphs;
  });
}

std::string runtime_name(Provider provider) {
  return provider == Provider::Cpu ? "CPUExecutionProvider" : known(provider).runtime_name;
}

Result<void> check_provider_options(Provider provider, const ProviderOptions& options) {
  if (options.empty()) return {};
  const std::string name(to_string(provider));
  if (provider == Provider::Auto || provider == Provider::Cpu) {
    return Error{ErrorCode::InvalidArgument, "provider option \"" + options.begin()->first +
                                                 "\": provider " + name + " takes none"};
  }
  for (const auto& [key, value] : options) {
    std::string names;
    const Option* found = nullptr;
    for (const Option& option : known(provider).options) {
      names += (names.empty() ? "" : ", ") + std::string(option.name);
      if (option.name == key) found = &option;
    }
    if (found == nullptr) {
      return Error{ErrorCode::InvalidArgument, "provider option \"" + key.substr(0, 200) +
                                                   "\": provider " + name + " takes " +
                                                   (names.empty() ? "none" : names)};
    }
    if (!takes_value(found->takes, value)) {
      return Error{ErrorCode::InvalidArgument, "provider option " + key + " is \"" +
                                                   value.substr(0, 200) + "\"; it takes " +
                                                   in_words(found->takes)};
    }
  }
  return {};
}

Result<ProviderUse> find_provider(Provider provider, const ProviderOptions& options,
                                  const std::string& library) {
  ProviderUse use{provider, options, {}};
  if (provider == Provider::Cpu) return use;
  const Known& entry = known(provider);
  if (library.empty() && is_built_in(entry)) return use;
  if (*entry.library == '\0') {
    return not_here(provider, "this ONNX Runtime has it not built in");
  }
  auto found = find_library(entry, library);
  if (!found) return std::move(found).error();
  use.library = found->string();
  return use;
}

void append_provider(Ort::SessionOptions& session, Ort::Env& environment, const ProviderUse& use,
                     const std::string& program_folder) {
  if (use.provider == Provider::Cpu) return;
  const Known& entry = known(use.provider);
  if (!use.library.empty()) return append_plugin(session, environment, entry, use);
  const std::unordered_map<std::string, std::string> options(use.options.begin(),
                                                             use.options.end());
  if (entry.reach == Reach::Cuda) {
    Ort::CUDAProviderOptions cuda;
    cuda.Update(options);
    session.AppendExecutionProvider_CUDA_V2(*cuda);
  } else if (entry.reach == Reach::TensorRt) {
    Ort::TensorRTProviderOptions tensor_rt;
    tensor_rt.Update(options);
    session.AppendExecutionProvider_TensorRT_V2(*tensor_rt);
  } else if (use.provider == Provider::CoreMl) {
    session.AppendExecutionProvider(entry.short_name, core_ml_options(use, program_folder));
  } else {
    session.AppendExecutionProvider(entry.short_name, options);
  }
}

}  // namespace textvec::runtime
