// In: a session's options. Out: the same, knowing textvec's own operator. See linear_operator.h.
#include "runtime/linear_operator.h"

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/onnx_file.h"
#include "kernels/linear.h"
#include "runtime/processor_memory.h"

namespace textvec::runtime {
namespace {

constexpr std::size_t kAlignment = 64;
// So that no size computed from them can overflow. The widest layer known has 2^18.
constexpr std::int64_t kFeaturesMax = std::int64_t{1} << 24;

Ort::Status invalid(const std::string& what) {
  return Ort::Status(("textvec.Linear: " + what).c_str(), ORT_INVALID_ARGUMENT);
}

// Memory of the session's own arena, for one call.
class Scratch {
 public:
  Scratch(const Ort::KernelContext& context, std::size_t bytes)
      : allocator_(context.GetAllocator(*static_cast<const OrtMemoryInfo*>(processor_memory()))),
        memory_(allocator_.Alloc(bytes + kAlignment)) {
    void* aligned = memory_;
    std::size_t space = bytes + kAlignment;
    bytes_ = {static_cast<std::byte*>(std::align(kAlignment, bytes, aligned, space)), bytes};
  }
  ~Scratch() { allocator_.Free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  Ort::Allocator allocator_;
  void* memory_;
  std::span<std::byte> bytes_{};
};

class LinearKernel {
 public:
  LinearKernel(kernels::PackedShape shape, unsigned threads) : shape_(shape), threads_(threads) {}

  // ONNX Runtime calls it by this name, and takes no exceptions.
  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    try {
      return compute(Ort::KernelContext(raw)).release();
    } catch (const std::exception& exception) {
      return invalid(exception.what()).release();
    }
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue input = context.GetInput(0);
    const Ort::ConstValue weights = context.GetInput(1);
    const auto info = input.GetTensorTypeAndShapeInfo();
    std::vector<std::int64_t> shape = info.GetShape();
    if (shape.empty() || shape.back() != static_cast<std::int64_t>(shape_.in_features)) {
      return invalid("the input has " + std::to_string(shape.empty() ? 0 : shape.back()) +
                     " features; the weights take " + std::to_string(shape_.in_features));
    }
    const std::size_t bytes = weights.GetTensorTypeAndShapeInfo().GetElementCount();
    if (bytes != shape_.bytes()) {
      return invalid("the weights have " + std::to_string(bytes) + " bytes; they should have " +
                     std::to_string(shape_.bytes()));
    }
    shape.back() = static_cast<std::int64_t>(shape_.out_features);
    kernels::LinearArguments arguments;
    arguments.shape = shape_;
    arguments.weights = static_cast<const std::byte*>(weights.GetTensorRawData());
    arguments.input = input.GetTensorData<float>();
    arguments.output = context.GetOutput(0, shape).GetTensorMutableData<float>();
    arguments.rows = info.GetElementCount() / shape_.in_features;
    arguments.rounding = kernels::preferred_rounding();
    arguments.threads = threads_;
    const Scratch scratch(context, kernels::linear_scratch_bytes(arguments));
    kernels::linear(arguments, scratch.bytes(), [&](std::size_t count, const auto& function) {
      if (count == 1) return function(0);
      context.ParallelFor(
          [](void* called, std::size_t index) {
            (*static_cast<const std::function<void(std::size_t)>*>(called))(index);
          },
          count, 0, const_cast<std::function<void(std::size_t)>*>(&function));
    });
    return Ort::Status(nullptr);
  }

  kernels::PackedShape shape_;
  unsigned threads_;
};

// The names are those that ONNX Runtime's base class asks for.
struct Operator : Ort::CustomOpBase<Operator, LinearKernel, true> {
  explicit Operator(unsigned thread_count) : threads(thread_count) {}

  const char* GetName() const { return "Linear"; }
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
  std::size_t GetInputTypeCount() const { return 2; }
  ONNXTensorElementDataType GetInputType(std::size_t index) const {
    return index == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
  }
  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetOutputType(std::size_t /*index*/) const {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }

  OrtStatusPtr CreateKernelV2(const OrtApi& /*api*/, const OrtKernelInfo* raw,
                              void** kernel) const noexcept {
    try {
      const Ort::ConstKernelInfo info(raw);
      const auto type = kernels::weight_type(info.GetAttribute<std::string>("weight_type"));
      const auto in_features = info.GetAttribute<std::int64_t>("in_features");
      const auto out_features = info.GetAttribute<std::int64_t>("out_features");
      if (!type) return invalid("it knows the weight types f32, bf16 and int8").release();
      for (const std::int64_t features : {in_features, out_features}) {
        if (features >= 1 && features <= kFeaturesMax) continue;
        return invalid("a layer of " + std::to_string(features) + " features; it takes 1 to " +
                       std::to_string(kFeaturesMax))
            .release();
      }
      *kernel = new LinearKernel(
          {*type, static_cast<std::size_t>(in_features), static_cast<std::size_t>(out_features)},
          threads);
      return nullptr;
    } catch (const std::exception& exception) {
      return invalid(exception.what()).release();
    }
  }

  unsigned threads;
};

}  // namespace

struct LinearOperator::Parts {
  explicit Parts(unsigned threads)
      : operation(threads), domain(std::string(graph::kTextvec).c_str()) {
    domain.Add(&operation);
  }
  Operator operation;
  Ort::CustomOpDomain domain;
};

LinearOperator::LinearOperator(unsigned threads) : parts_(std::make_unique<Parts>(threads)) {}
LinearOperator::~LinearOperator() = default;
LinearOperator::LinearOperator(LinearOperator&&) noexcept = default;
LinearOperator& LinearOperator::operator=(LinearOperator&&) noexcept = default;

void LinearOperator::add_to(Ort::SessionOptions& options) const { options.Add(parts_->domain); }

}  // namespace textvec::runtime
