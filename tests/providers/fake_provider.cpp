// In: $TEXTVEC_FAKE_PROVIDER, a way to misbehave. Out: a real plugin provider of ONNX Runtime that
// computes the products of a graph (MatMul or Gemm with a matrix) on the processor, right or in
// that way. It calls itself what it is registered as, so that it stands for any plugin.
//
//   good      as it should be                    slow      50 ms for each product
//   version   wants another ONNX Runtime         run       every run fails
//   create    its session cannot be made         nan       gives NaN
//   nothing   takes no node                      zeros     takes the last node and gives zeros
//   abort     ends the process by SIGABRT        wrong     gives slightly wrong numbers
//   hang      never comes back                   lost:N    fails after N products
//   noise     prints a megabyte, else good       stuck:N   never comes back after N products
// The option "cache_dir" is refused whatever its value. $TEXTVEC_FAKE_PROVIDER_LOG: a file that
// gets a line for each session, the number of its process.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string mode() {
  const char* value = std::getenv("TEXTVEC_FAKE_PROVIDER");
  return value == nullptr ? "good" : value;
}

OrtStatus* failure(const std::string& words) {
  return Ort::Status(words.c_str(), ORT_EP_FAIL).release();
}

std::atomic<long> products{0};

void misbehave(std::vector<float>& values) {
  const std::string how = mode();
  if (how == "abort") std::abort();
  while (how == "hang") std::this_thread::sleep_for(std::chrono::seconds(1));
  if (how == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (how == "nan") values[i] = std::numeric_limits<float>::quiet_NaN();
    // A tenth of each value, in and out of step: too little to see, enough for a wrong neighbour.
    if (how == "wrong") values[i] *= i % 3 == 0 ? 0.7F : 1.2F;
  }
}

// For the mode "zeros": as many zeros as the first input has numbers.
OrtStatus* give_zeros(OrtKernelContext* raw) {
  const Ort::KernelContext context(raw);
  const auto info = context.GetInput(0).GetTensorTypeAndShapeInfo();
  float* out = context.GetOutput(0, info.GetShape()).GetTensorMutableData<float>();
  std::fill_n(out, info.GetElementCount(), 0.0F);
  return nullptr;
}

// [..., rows, inner] times [inner, columns].
OrtStatus* multiply(OrtKernelContext* raw) {
  const std::string how = mode();
  if (how == "run") return failure("the fake device cannot run");
  if (how.starts_with("lost:") && products >= std::stol(how.substr(5))) {
    return failure("the fake device is lost");
  }
  while (how.starts_with("stuck:") && products >= std::stol(how.substr(6))) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  ++products;
  const Ort::KernelContext context(raw);
  const auto a = context.GetInput(0);
  const auto b = context.GetInput(1);
  std::vector<std::int64_t> shape = a.GetTensorTypeAndShapeInfo().GetShape();
  const auto b_shape = b.GetTensorTypeAndShapeInfo().GetShape();
  if (b_shape.size() != 2 || shape.empty() || shape.back() != b_shape[0]) {
    return failure("the fake device got other shapes than it was asked about");
  }
  const auto inner = static_cast<std::size_t>(b_shape[0]);
  const auto columns = static_cast<std::size_t>(b_shape[1]);
  const std::size_t rows = a.GetTensorTypeAndShapeInfo().GetElementCount() / inner;
  shape.back() = b_shape[1];
  const float* left = a.GetTensorData<float>();
  const float* right = b.GetTensorData<float>();
  const float* added =
      context.GetInputCount() > 2 ? context.GetInput(2).GetTensorData<float>() : nullptr;
  std::vector<float> values(rows * columns);
  std::vector<double> sums(columns);
  for (std::size_t row = 0; row < rows; ++row) {
    sums.assign(columns, 0);
    for (std::size_t k = 0; k < inner; ++k) {
      for (std::size_t column = 0; column < columns; ++column) {
        sums[column] += static_cast<double>(left[row * inner + k]) *
                        static_cast<double>(right[k * columns + column]);
      }
    }
    for (std::size_t column = 0; column < columns; ++column) {
      const float bias = added == nullptr ? 0 : added[column];
      values[row * columns + column] = static_cast<float>(sums[column]) + bias;
    }
  }
  misbehave(values);
  float* out = context.GetOutput(0, shape).GetTensorMutableData<float>();
  std::copy(values.begin(), values.end(), out);
  return nullptr;
}

// Exceptions of the C++ API become what ONNX Runtime takes.
template <class Function>
OrtStatus* guarded(const Function& function) {
  try {
    return function();
  } catch (const std::exception& exception) {
    return failure(exception.what());
  }
}

struct Product : OrtNodeComputeInfo {
  Product() : OrtNodeComputeInfo{} {
    ort_version_supported = ORT_API_VERSION;
    CreateState = [](OrtNodeComputeInfo*, OrtNodeComputeContext*, void** state) -> OrtStatus* {
      *state = nullptr;
      return nullptr;
    };
    Compute = [](OrtNodeComputeInfo*, void*, OrtKernelContext* context) {
      return guarded([&] { return mode() == "zeros" ? give_zeros(context) : multiply(context); });
    };
    ReleaseState = [](OrtNodeComputeInfo*, void*) {};
  }
};

bool takes(const Ort::ConstNode& node) {
  if (mode() == "zeros") return node.GetOutputs().at(0).IsGraphOutput();
  // ONNX Runtime makes a Gemm of a product and a sum, with no factors and nothing transposed.
  const bool with_bias = node.GetOperatorType() == "Gemm";
  if ((!with_bias && node.GetOperatorType() != "MatMul") || mode() == "nothing") return false;
  const auto inputs = node.GetInputs();
  if (inputs.size() != (with_bias ? 3 : 2)) return false;
  const auto info = inputs[1].TypeInfo().GetTensorTypeAndShapeInfo();
  return info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT &&
         info.GetShape().size() == 2 && inputs[1].IsConstantInitializer();
}

struct Ep : OrtEp {
  explicit Ep(std::string name_given) : OrtEp{}, name(std::move(name_given)) {
    ort_version_supported = ORT_API_VERSION;
    GetName = [](const OrtEp* ep) noexcept { return static_cast<const Ep*>(ep)->name.c_str(); };
    GetCapability = [](OrtEp*, const OrtGraph* graph, OrtEpGraphSupportInfo* support) noexcept {
      return guarded([&]() -> OrtStatus* {
        for (const Ort::ConstNode& node : Ort::ConstGraph(graph).GetNodes()) {
          const OrtNode* taken = node;
          if (!takes(node)) continue;
          OrtStatus* status =
              Ort::GetEpApi().EpGraphSupportInfo_AddNodesToFuse(support, &taken, 1, nullptr);
          if (status != nullptr) return status;
        }
        return nullptr;
      });
    };
    Compile = [](OrtEp*, const OrtGraph**, const OrtNode**, size_t count,
                 OrtNodeComputeInfo** infos, OrtNode**) noexcept -> OrtStatus* {
      for (size_t i = 0; i < count; ++i) infos[i] = new Product();
      return nullptr;
    };
    ReleaseNodeComputeInfos = [](OrtEp*, OrtNodeComputeInfo** infos, size_t count) noexcept {
      for (size_t i = 0; i < count; ++i) delete static_cast<Product*>(infos[i]);
    };
  }
  std::string name;
};

OrtStatus* create_ep(const std::string& name, const OrtSessionOptions* options, OrtEp** ep) {
  if (const char* log = std::getenv("TEXTVEC_FAKE_PROVIDER_LOG")) {
    std::ofstream(log, std::ios::app) << std::to_string(getpid()) + "\n";
  }
  if (mode() == "create") return failure("the fake device makes no session");
  if (mode() == "noise") {
    for (int i = 0; i < 1 << 14; ++i) std::puts("textvec-verdict {\"right\":true} is not one, and");
    std::fflush(stdout);
  }
  std::string key = "ep." + name + ".cache_dir";
  for (char& letter : key)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  int there = 0;
  OrtStatus* status = Ort::GetApi().HasSessionConfigEntry(options, key.c_str(), &there);
  if (status != nullptr) return status;
  if (there != 0) return failure("the fake device does not know the option cache_dir");
  *ep = new Ep(name);
  return nullptr;
}

struct Factory : OrtEpFactory {
  explicit Factory(std::string name_given) : OrtEpFactory{}, name(std::move(name_given)) {
    ort_version_supported = ORT_API_VERSION;
    GetName = [](const OrtEpFactory* factory) noexcept {
      return static_cast<const Factory*>(factory)->name.c_str();
    };
    GetVendor = [](const OrtEpFactory*) noexcept { return "textvec's tests"; };
    GetVendorId = [](const OrtEpFactory*) noexcept -> uint32_t { return 0xfa4e; };
    GetVersion = [](const OrtEpFactory*) noexcept { return "0.1.0"; };
    GetSupportedDevices = [](OrtEpFactory* factory, const OrtHardwareDevice* const* devices,
                             size_t count, OrtEpDevice** taken, size_t taken_max,
                             size_t* taken_count) noexcept -> OrtStatus* {
      *taken_count = 0;
      for (size_t i = 0; i < count && *taken_count < taken_max; ++i) {
        if (Ort::GetApi().HardwareDevice_Type(devices[i]) != OrtHardwareDeviceType_CPU) continue;
        OrtStatus* status = Ort::GetEpApi().CreateEpDevice(factory, devices[i], nullptr, nullptr,
                                                           &taken[*taken_count]);
        if (status != nullptr) return status;
        ++*taken_count;
      }
      return nullptr;
    };
    CreateEp = [](OrtEpFactory* factory, const OrtHardwareDevice* const*,
                  const OrtKeyValuePairs* const*, size_t, const OrtSessionOptions* options,
                  const OrtLogger*, OrtEp** ep) noexcept {
      return guarded([&] { return create_ep(static_cast<Factory*>(factory)->name, options, ep); });
    };
    ReleaseEp = [](OrtEpFactory*, OrtEp* ep) noexcept { delete static_cast<Ep*>(ep); };
    // It works in the processor's memory. ONNX Runtime asks all the same.
    CreateAllocator = [](OrtEpFactory*, const OrtMemoryInfo*, const OrtKeyValuePairs*,
                         OrtAllocator** allocator) noexcept -> OrtStatus* {
      *allocator = nullptr;
      return nullptr;
    };
    ReleaseAllocator = [](OrtEpFactory*, OrtAllocator*) noexcept {};
    CreateDataTransfer = [](OrtEpFactory*, OrtDataTransferImpl** transfer) noexcept -> OrtStatus* {
      *transfer = nullptr;
      return nullptr;
    };
    IsStreamAware = [](const OrtEpFactory*) noexcept { return false; };
  }
  std::string name;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* CreateEpFactories(
    const char* registered_name, const OrtApiBase* base, const OrtLogger* /*logger*/,
    OrtEpFactory** factories, size_t factories_max, size_t* factories_count) {
  Ort::InitApi(base->GetApi(ORT_API_VERSION));
  *factories_count = 0;
  if (mode() == "version" && base->GetApi(9999) == nullptr) {
    return failure("the fake device needs the API version 9999 of ONNX Runtime");
  }
  if (factories_max < 1) return failure("there is no room for a factory");
  factories[0] = new Factory(registered_name);
  *factories_count = 1;
  return nullptr;
}

extern "C" __attribute__((visibility("default"))) OrtStatus* ReleaseEpFactory(
    OrtEpFactory* factory) {
  delete static_cast<Factory*>(factory);
  return nullptr;
}
