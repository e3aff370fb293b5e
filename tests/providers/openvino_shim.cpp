// In: $TEXTVEC_SHIM_LIBRARY, the real OpenVINO plugin. Out: the same plugin, which is told that the
// processor of this machine is one of Intel's. The plugin offers itself to no other, although what
// it does there is right; with this, tests use it for real on any x86-64 machine. For tests only.
#define ORT_API_MANUAL_INIT
#include <dlfcn.h>
#include <onnxruntime_cxx_api.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr std::uint32_t kIntel = 0x8086;

using CreateFactories = OrtStatus* (*)(const char*, const OrtApiBase*, const OrtLogger*,
                                       OrtEpFactory**, size_t, size_t*);
using ReleaseFactory = OrtStatus* (*)(OrtEpFactory*);
using SupportedDevices = decltype(OrtEpFactory::GetSupportedDevices);

void* library = nullptr;
SupportedDevices real_devices = nullptr;

OrtStatus* failure(const std::string& words) {
  return Ort::Status(words.c_str(), ORT_EP_FAIL).release();
}

OrtStatus* devices_of_intel(OrtEpFactory* factory, const OrtHardwareDevice* const* devices,
                            size_t count, OrtEpDevice** taken, size_t taken_max,
                            size_t* taken_count) noexcept {
  std::vector<const OrtHardwareDevice*> shown;
  for (size_t i = 0; i < count; ++i) {
    if (Ort::GetApi().HardwareDevice_Type(devices[i]) != OrtHardwareDeviceType_CPU) continue;
    OrtHardwareDevice* device = nullptr;  // as long as the process, because sessions refer to it
    OrtStatus* status = Ort::GetEpApi().CreateHardwareDevice(OrtHardwareDeviceType_CPU, kIntel, 0,
                                                             "Intel", nullptr, &device);
    if (status != nullptr) return status;
    shown.push_back(device);
  }
  return real_devices(factory, shown.data(), shown.size(), taken, taken_max, taken_count);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* CreateEpFactories(
    const char* registered_name, const OrtApiBase* base, const OrtLogger* logger,
    OrtEpFactory** factories, size_t factories_max, size_t* factories_count) {
  Ort::InitApi(base->GetApi(ORT_API_VERSION));
  const char* path = std::getenv("TEXTVEC_SHIM_LIBRARY");
  library = dlopen(path == nullptr ? "" : path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return failure(std::string("the real plugin: ") + dlerror());
  const auto create = reinterpret_cast<CreateFactories>(dlsym(library, "CreateEpFactories"));
  if (create == nullptr) return failure("the real plugin has no CreateEpFactories");
  OrtStatus* status =
      create(registered_name, base, logger, factories, factories_max, factories_count);
  if (status != nullptr) return status;
  for (size_t i = 0; i < *factories_count; ++i) {
    real_devices = factories[i]->GetSupportedDevices;
    factories[i]->GetSupportedDevices = devices_of_intel;
  }
  return nullptr;
}

extern "C" __attribute__((visibility("default"))) OrtStatus* ReleaseEpFactory(
    OrtEpFactory* factory) {
  return reinterpret_cast<ReleaseFactory>(dlsym(library, "ReleaseEpFactory"))(factory);
}
