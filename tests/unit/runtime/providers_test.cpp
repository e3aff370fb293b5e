// The table of providers: options and what they take, libraries and where they may lie.
#include "runtime/providers.h"

#include <gtest/gtest.h>

#include <set>

#include "support/temporary_folder.h"
#include "textvec/embeddings.h"

namespace textvec::runtime {
namespace {

namespace fs = std::filesystem;

using testing::TemporaryFolder;
using testing::write_file;

constexpr const char* kLibrary = "libonnxruntime_providers_openvino_plugin.so";

TEST(Providers, EachIsKnownByItsOwnName) {
  std::set<std::string> names;
  for (const Provider provider : device_providers()) names.insert(runtime_name(provider));
  EXPECT_EQ(names, (std::set<std::string>{"CoreMLExecutionProvider", "WebGpuExecutionProvider",
                                          "CUDAExecutionProvider", "OpenVINOExecutionProvider",
                                          "TensorrtExecutionProvider", "MLXExecutionProvider"}));
  EXPECT_EQ(runtime_name(Provider::Cpu), "CPUExecutionProvider");
}

TEST(Providers, ThoseThatCompileProgramsTakeStaticGraphs) {
  std::set<Provider> takers;
  for (const Provider provider : device_providers()) {
    if (takes_static_graphs(provider)) takers.insert(provider);
  }
  EXPECT_EQ(takers, (std::set{Provider::CoreMl, Provider::Mlx}));
  EXPECT_FALSE(takes_static_graphs(Provider::Cpu));
  EXPECT_FALSE(takes_static_graphs(Provider::Auto));
}

TEST(Providers, AutoTriesDevicesAndNotTheProcessor) {
  for (const Provider provider : automatic_providers()) {
    EXPECT_NE(provider, Provider::Cpu);
    EXPECT_NE(provider, Provider::Auto);
  }
}

struct Case {
  Provider provider;
  const char* key;
  const char* value;
  bool taken;
};

class Options : public ::testing::TestWithParam<Case> {};

TEST_P(Options, AreTakenOrRefusedWithTheirLimits) {
  const Case& given = GetParam();
  const auto checked = check_provider_options(given.provider, {{given.key, given.value}});
  EXPECT_EQ(checked.has_value(), given.taken);
  if (checked) return;
  EXPECT_EQ(checked.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(checked.error().message.find(given.key), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Options,
    ::testing::Values(Case{Provider::CoreMl, "ModelFormat", "MLProgram", true},
                      Case{Provider::CoreMl, "ModelFormat", "NeuralNetwork", true},
                      Case{Provider::CoreMl, "ModelFormat", "mlprogram", false},
                      Case{Provider::CoreMl, "MLComputeUnits", "ALL", true},
                      Case{Provider::CoreMl, "MLComputeUnits", "CPUAndNeuralEngine", true},
                      Case{Provider::CoreMl, "MLComputeUnits", "CPUAndGPU", true},
                      Case{Provider::CoreMl, "MLComputeUnits", "CPUOnly", true},
                      Case{Provider::CoreMl, "MLComputeUnits", "ALL|CPUOnly", false},
                      Case{Provider::CoreMl, "MLComputeUnits", "", false},
                      Case{Provider::CoreMl, "RequireStaticInputShapes", "1", true},
                      Case{Provider::CoreMl, "RequireStaticInputShapes", "2", false},
                      Case{Provider::CoreMl, "SpecializationStrategy", "FastPrediction", true},
                      Case{Provider::CoreMl, "SpecializationStrategy", "Fast", false},
                      Case{Provider::CoreMl, "ProfileComputePlan", "1", true},
                      Case{Provider::CoreMl, "AllowLowPrecisionAccumulationOnGPU", "1", true},
                      Case{Provider::CoreMl, "AllowLowPrecisionAccumulationOnGPU", "true", false},
                      Case{Provider::CoreMl, "ModelCacheDirectory", "/cache", true},
                      Case{Provider::CoreMl, "ModelCacheDirectory", "cache", false},
                      Case{Provider::Cuda, "device_id", "0", true},
                      Case{Provider::Cuda, "device_id", "255", true},
                      Case{Provider::Cuda, "device_id", "256", false},
                      Case{Provider::Cuda, "device_id", "-1", false},
                      Case{Provider::Cuda, "device_id", "1x", false},
                      Case{Provider::Cuda, "gpu_mem_limit", "1048575", false},
                      Case{Provider::Cuda, "gpu_mem_limit", "1048576", true},
                      Case{Provider::Cuda, "gpu_mem_limit", "1099511627776", true},
                      Case{Provider::Cuda, "gpu_mem_limit", "1099511627777", false},
                      Case{Provider::Cuda, "gpu_mem_limit", "99999999999999999999", false},
                      Case{Provider::TensorRt, "trt_fp16_enable", "1", true},
                      Case{Provider::TensorRt, "trt_engine_cache_path", "/engines", true},
                      Case{Provider::TensorRt, "trt_profile_min_shapes", "input_ids:1x1", true},
                      Case{Provider::OpenVino, "device_type", "NPU", true},
                      Case{Provider::OpenVino, "device_type", "TPU", false},
                      Case{Provider::OpenVino, "num_of_threads", "0", false},
                      Case{Provider::OpenVino, "num_of_threads", "1024", true},
                      Case{Provider::OpenVino, "num_of_threads", "1025", false},
                      Case{Provider::WebGpu, "powerPreference", "low-power", true},
                      Case{Provider::Mlx, "device_id", "0", false},
                      Case{Provider::Cpu, "device_id", "0", false},
                      Case{Provider::Auto, "device_id", "0", false}));

TEST(Options, OfTextHaveALimit) {
  for (const std::size_t bytes : {4095U, 4096U, 4097U}) {
    const ProviderOptions options{{"trt_profile_max_shapes", std::string(bytes, 'x')}};
    EXPECT_EQ(check_provider_options(Provider::TensorRt, options).has_value(), bytes <= 4096);
  }
  EXPECT_TRUE(check_provider_options(Provider::Cpu, {}));
}

// No test of this file may depend on what the developer has set.
struct Environment {
  explicit Environment(const std::string& places) {
    setenv("TEXTVEC_PROVIDER_LIBRARIES", places.c_str(), 1);
  }
  ~Environment() { unsetenv("TEXTVEC_PROVIDER_LIBRARIES"); }
};

std::string library_found(const std::string& given) {
  const auto use = find_provider(Provider::OpenVino, {}, given);
  return use ? use->library : "error: " + use.error().message;
}

TEST(Library, IsFoundByFileFolderAndPackage) {
  const TemporaryFolder folder;
  const std::string beside = folder.path() / kLibrary;
  write_file(folder / kLibrary, "");
  EXPECT_EQ(library_found(beside), beside);
  EXPECT_EQ(library_found(folder.path()), beside);
  const std::string packed = folder.path() / "site/onnxruntime_ep_openvino" / kLibrary;
  write_file(packed, "");
  EXPECT_EQ(library_found(folder / "site"), packed);
  {
    const Environment environment("/nowhere::" + (folder / "site").string() + ":" +
                                  folder.path().string());
    EXPECT_EQ(library_found(""), packed);                // the first that has it
    EXPECT_EQ(library_found(folder.path()), beside);     // what is given counts alone
    EXPECT_FALSE(find_provider(Provider::Mlx, {}, ""));  // another plugin's name
    EXPECT_FALSE(find_provider(Provider::OpenVino, {}, "/nowhere"));
  }
  EXPECT_FALSE(find_provider(Provider::OpenVino, {}, ""));
}

TEST(Library, ThatIsNotSafeIsRefused) {
  const TemporaryFolder folder;
  const fs::path place = folder / "place";
  write_file(place / kLibrary, "");
  const auto refused = [&](const std::string& given, const std::string& word) {
    const auto use = find_provider(Provider::OpenVino, {}, given);
    return !use && use.error().code == ErrorCode::Provider &&
           use.error().message.find(word) != std::string::npos;
  };
  EXPECT_TRUE(refused("place", "absolute"));
  EXPECT_TRUE(refused((place / "other.so").string(), "other.so"));
  fs::permissions(place / kLibrary, fs::perms::others_write, fs::perm_options::add);
  EXPECT_TRUE(refused(place / kLibrary, "everybody"));
  fs::permissions(place / kLibrary, fs::perms::others_write, fs::perm_options::remove);
  EXPECT_EQ(library_found(place / kLibrary), place / kLibrary);
  fs::permissions(place, fs::perms::others_write, fs::perm_options::add);
  EXPECT_TRUE(refused(place / kLibrary, "everybody"));
  fs::create_symlink(place / kLibrary, folder / kLibrary);  // a link is what it leads to
  EXPECT_TRUE(refused(folder / kLibrary, "everybody"));
}

TEST(Library, OfAProviderWithoutPluginsIsNotLookedFor) {
  const auto use = find_provider(Provider::TensorRt, {}, "/tmp");
  ASSERT_FALSE(use);
  EXPECT_NE(use.error().message.find("tensorrt"), std::string::npos);
  EXPECT_TRUE(find_provider(Provider::Cpu, {}, ""));
}

}  // namespace
}  // namespace textvec::runtime
