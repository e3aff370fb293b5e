// In: a session's options. Out: the same, knowing textvec's own operators. See operators.h.
#include "runtime/operators.h"

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/onnx_file.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/feed_forward.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "runtime/processor_memory.h"

namespace textvec::runtime {
namespace {

constexpr std::size_t kAlignment = 64;
// So that no size computed from them can overflow. The widest layer known has 2^18.
constexpr std::int64_t kFeaturesMax = std::int64_t{1} << 24;

Ort::Status invalid(const std::string& what) {
  return Ort::Status(what.c_str(), ORT_INVALID_ARGUMENT);
}

// ONNX Runtime takes no exceptions.
template <class Work>
OrtStatusPtr guarded(const Work& work) noexcept {
  try {
    return work().release();
  } catch (const std::exception& exception) {
    return invalid(exception.what()).release();
  }
}

// On the session's threads.
kernels::Parallel parallel_of(const Ort::KernelContext& context) {
  return [&context](std::size_t count, const std::function<void(std::size_t)>& function) {
    if (count == 1) return function(0);
    context.ParallelFor(
        [](void* called, std::size_t index) {
          (*static_cast<const std::function<void(std::size_t)>*>(called))(index);
        },
        count, 0, const_cast<std::function<void(std::size_t)>*>(&function));
  };
}

std::string wrong_count(const char* name, std::size_t elements, std::size_t wanted) {
  return "the " + std::string(name) + " has " + std::to_string(elements) +
         " numbers; it should have " + std::to_string(wanted);
}

std::size_t elements_of(const Ort::ConstValue& value) {
  return value.GetTensorTypeAndShapeInfo().GetElementCount();
}

// An input behind the required ones.
std::optional<Ort::ConstValue> optional_input(const Ort::KernelContext& context,
                                              std::size_t index) {
  if (index >= context.GetInputCount()) return std::nullopt;
  const Ort::ConstValue value = context.GetInput(index);
  if (static_cast<const OrtValue*>(value) == nullptr) return std::nullopt;
  return value;
}

struct OtherInput {
  const char* name;
  std::size_t elements;  // as many as it should have
  const float*& values;  // is set, if the graph gives it
};

// The inputs behind the first, whose shape is given. What is wrong, if anything is.
std::optional<std::string> read_others(const Ort::KernelContext& context,
                                       std::span<const std::int64_t> shape,
                                       std::span<const OtherInput> others) {
  if (shape.empty()) return "the input is a single number; it takes rows";
  for (std::size_t i = 0; i < others.size(); ++i) {
    const auto value = optional_input(context, i + 1);
    if (!value) continue;
    if (elements_of(*value) != others[i].elements) {
      return wrong_count(others[i].name, elements_of(*value), others[i].elements);
    }
    others[i].values = value->GetTensorData<float>();
  }
  return std::nullopt;
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

// What an attribute may not be.
Ort::Status unknown_weight_type(const std::string& name) {
  return invalid("textvec." + name + ": it knows the weight types f32, bf16 and int8");
}

Ort::Status unknown_function(const std::string& name) {
  return invalid("textvec." + name + ": it knows the functions gelu, gelu_tanh, silu and relu");
}

Ort::Status check_features(const std::string& name, std::int64_t count) {
  if (count >= 1 && count <= kFeaturesMax) return Ort::Status(nullptr);
  return invalid("textvec." + name + ": a layer of " + std::to_string(count) +
                 " features; it takes 1 to " + std::to_string(kFeaturesMax));
}

// What all have in common. The names are those that ONNX Runtime's base class asks for. `Own` has
// create(), which makes a kernel of its attributes.
template <class Own, class Kernel>
struct ProcessorOperator : Ort::CustomOpBase<Own, Kernel, true> {
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
  ONNXTensorElementDataType GetInputType(std::size_t /*index*/) const {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetOutputType(std::size_t /*index*/) const {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }

  OrtStatusPtr CreateKernelV2(const OrtApi& /*api*/, const OrtKernelInfo* raw,
                              void** kernel) const noexcept {
    return guarded(
        [&] { return static_cast<const Own*>(this)->create(Ort::ConstKernelInfo(raw), kernel); });
  }

 private:
  ProcessorOperator() = default;
  friend Own;
};

// --- textvec.Linear

class LinearKernel {
 public:
  LinearKernel(kernels::WeightType type, std::size_t in_features,
               std::vector<std::size_t> out_features, unsigned threads)
      : type_(type),
        in_features_(in_features),
        out_features_(std::move(out_features)),
        threads_(threads) {}

  // ONNX Runtime calls it by this name.
  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    return guarded([&] { return compute(Ort::KernelContext(raw)); });
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue input = context.GetInput(0);
    std::vector<std::int64_t> shape = input.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.empty() || shape.back() != static_cast<std::int64_t>(in_features_)) {
      return invalid("textvec.Linear: the input has " +
                     std::to_string(shape.empty() ? 0 : shape.back()) +
                     " features; the weights take " + std::to_string(in_features_));
    }
    if (context.GetInputCount() != out_features_.size() + 1 ||
        context.GetOutputCount() != out_features_.size()) {
      return invalid("textvec.Linear: " + std::to_string(context.GetInputCount() - 1) +
                     " weights and " + std::to_string(context.GetOutputCount()) +
                     " outputs; out_features names " + std::to_string(out_features_.size()));
    }
    std::vector<kernels::LinearOutput> outputs(out_features_.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Ort::ConstValue weights = context.GetInput(i + 1);
      const std::size_t bytes = elements_of(weights);
      const kernels::PackedShape packed{type_, in_features_, out_features_[i]};
      if (bytes != packed.bytes()) {
        return invalid("textvec.Linear: the weights have " + std::to_string(bytes) +
                       " bytes; they should have " + std::to_string(packed.bytes()));
      }
      shape.back() = static_cast<std::int64_t>(out_features_[i]);
      outputs[i] = {static_cast<const std::byte*>(weights.GetTensorRawData()), out_features_[i],
                    context.GetOutput(i, shape).GetTensorMutableData<float>()};
    }
    kernels::LinearArguments arguments;
    arguments.type = type_;
    arguments.in_features = in_features_;
    arguments.input = input.GetTensorData<float>();
    arguments.rows = elements_of(input) / in_features_;
    arguments.outputs = outputs;
    arguments.rounding = kernels::preferred_rounding();
    arguments.threads = threads_;
    const Scratch scratch(context, kernels::linear_scratch_bytes(arguments));
    kernels::linear(arguments, scratch.bytes(), parallel_of(context));
    return Ort::Status(nullptr);
  }

  const kernels::WeightType type_;
  const std::size_t in_features_;
  const std::vector<std::size_t> out_features_;
  const unsigned threads_;
};

struct LinearOperator : ProcessorOperator<LinearOperator, LinearKernel> {
  explicit LinearOperator(unsigned thread_count) : threads(thread_count) {}

  const char* GetName() const { return "Linear"; }
  std::size_t GetInputTypeCount() const { return 2; }
  ONNXTensorElementDataType GetInputType(std::size_t index) const {
    return index == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
  }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t index) const {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_VARIADIC;
  }
  OrtCustomOpInputOutputCharacteristic GetOutputCharacteristic(std::size_t /*index*/) const {
    return INPUT_OUTPUT_VARIADIC;
  }

  Ort::Status create(const Ort::ConstKernelInfo& info, void** kernel) const {
    const auto type = kernels::weight_type(info.GetAttribute<std::string>("weight_type"));
    if (!type) return unknown_weight_type("Linear");
    std::vector<std::int64_t> features = info.GetAttributes<std::int64_t>("out_features");
    features.push_back(info.GetAttribute<std::int64_t>("in_features"));
    for (const std::int64_t count : features) {
      if (auto status = check_features("Linear", count); !status.IsOK()) return status;
    }
    const auto in_features = static_cast<std::size_t>(features.back());
    *kernel = new LinearKernel(*type, in_features, {features.begin(), features.end() - 1}, threads);
    return Ort::Status(nullptr);
  }

  unsigned threads;
};

// --- textvec.FeedForward

struct FeedForwardSizes {
  kernels::WeightType type = kernels::WeightType::F32;
  std::size_t hidden = 0;
  std::size_t intermediate = 0;
};

class FeedForwardKernel {
 public:
  FeedForwardKernel(FeedForwardSizes sizes, kernels::Activation function, float epsilon,
                    unsigned threads)
      : sizes_(sizes), function_(function), epsilon_(epsilon), threads_(threads) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    return guarded([&] { return compute(Ort::KernelContext(raw)); });
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue input = context.GetInput(0);
    const auto shape = input.GetTensorTypeAndShapeInfo().GetShape();
    const auto features = shape.empty() ? 0 : shape.back();
    if (features != static_cast<std::int64_t>(sizes_.hidden)) {
      return invalid("textvec.FeedForward: the input has " + std::to_string(features) +
                     " features; the weights take " + std::to_string(sizes_.hidden));
    }
    kernels::FeedForwardArguments arguments;
    if (const auto wrong = read_weights(context, arguments)) {
      return invalid("textvec.FeedForward: " + *wrong);
    }
    arguments.type = sizes_.type;
    arguments.hidden_size = sizes_.hidden;
    arguments.intermediate_size = sizes_.intermediate;
    arguments.function = function_;
    arguments.epsilon = epsilon_;
    arguments.input = input.GetTensorData<float>();
    arguments.rows = elements_of(input) / sizes_.hidden;
    arguments.output = context.GetOutput(0, shape).GetTensorMutableData<float>();
    arguments.rounding = kernels::preferred_rounding();
    arguments.threads = threads_;
    const Scratch scratch(context, kernels::feed_forward_scratch_bytes(arguments));
    kernels::feed_forward(arguments, scratch.bytes(), parallel_of(context));
    return Ort::Status(nullptr);
  }

  // What is wrong, if anything is.
  std::optional<std::string> read_weights(const Ort::KernelContext& context,
                                          kernels::FeedForwardArguments& arguments) const {
    const auto [type, hidden, intermediate] = sizes_;
    const struct {
      std::size_t index;
      const char* name;
      std::size_t bytes;
      const std::byte*& weights;
    } packed[] = {
        {1, "up", kernels::PackedShape{type, hidden, intermediate}.bytes(), arguments.up},
        {3, "down", kernels::PackedShape{type, intermediate, hidden}.bytes(), arguments.down}};
    for (const auto& [index, name, bytes, weights] : packed) {
      const Ort::ConstValue given = context.GetInput(index);
      if (elements_of(given) != bytes) {
        return "the weights \"" + std::string(name) + "\" have " +
               std::to_string(elements_of(given)) + " bytes; they should have " +
               std::to_string(bytes);
      }
      weights = static_cast<const std::byte*>(given.GetTensorRawData());
    }
    const struct {
      std::size_t index;
      OtherInput input;
    } others[] = {{2, {"bias of up", intermediate, arguments.up_bias}},
                  {4, {"bias of down", hidden, arguments.down_bias}},
                  {5, {"weight of the norm", hidden, arguments.norm_weight}},
                  {6, {"shift of the norm", hidden, arguments.norm_shift}}};
    for (const auto& [index, other] : others) {
      const Ort::ConstValue given = context.GetInput(index);
      if (elements_of(given) != other.elements) {
        return wrong_count(other.name, elements_of(given), other.elements);
      }
      other.values = given.GetTensorData<float>();
    }
    return std::nullopt;
  }

  const FeedForwardSizes sizes_;
  const kernels::Activation function_;
  const float epsilon_;
  const unsigned threads_;
};

struct FeedForwardOperator : ProcessorOperator<FeedForwardOperator, FeedForwardKernel> {
  explicit FeedForwardOperator(unsigned thread_count) : threads(thread_count) {}

  const char* GetName() const { return "FeedForward"; }
  std::size_t GetInputTypeCount() const { return 7; }
  ONNXTensorElementDataType GetInputType(std::size_t index) const {
    return index == 1 || index == 3 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8
                                    : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }

  Ort::Status create(const Ort::ConstKernelInfo& info, void** kernel) const {
    const auto type = kernels::weight_type(info.GetAttribute<std::string>("weight_type"));
    if (!type) return unknown_weight_type("FeedForward");
    const auto function = kernels::activation_function(info.GetAttribute<std::string>("function"));
    if (!function) return unknown_function("FeedForward");
    const auto hidden = info.GetAttribute<std::int64_t>("hidden_size");
    const auto intermediate = info.GetAttribute<std::int64_t>("intermediate_size");
    for (const std::int64_t count : {hidden, intermediate}) {
      if (auto status = check_features("FeedForward", count); !status.IsOK()) return status;
    }
    *kernel = new FeedForwardKernel(
        {*type, static_cast<std::size_t>(hidden), static_cast<std::size_t>(intermediate)},
        *function, info.GetAttribute<float>("epsilon"), threads);
    return Ort::Status(nullptr);
  }

  unsigned threads;
};

// --- textvec.Attention

class AttentionKernel {
 public:
  // `given`: what the attributes say, and the number of threads.
  explicit AttentionKernel(const kernels::AttentionArguments& given) : given_(given) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    return guarded([&] { return compute(Ort::KernelContext(raw)); });
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue queries = context.GetInput(0);
    const auto shape = queries.GetTensorTypeAndShapeInfo().GetShape();
    const auto width = shape.size() == 3 ? static_cast<std::size_t>(shape[2]) : 0;
    if (width == 0 || width > kFeaturesMax || width % given_.heads != 0) {
      return invalid("textvec.Attention: queries of " + std::to_string(width) + " components for " +
                     std::to_string(given_.heads) + " heads");
    }
    kernels::AttentionArguments arguments = given_;
    const auto key_shape = context.GetInput(1).GetTensorTypeAndShapeInfo().GetShape();
    const auto length = static_cast<std::size_t>(shape[1]);
    const auto key_length = key_shape.size() == 3 ? static_cast<std::size_t>(key_shape[1]) : 0;
    if (shape[0] != 1) {
      return invalid("textvec.Attention: " + std::to_string(shape[0]) +
                     " rows of queries; it takes one, of texts one behind the other");
    }
    if (key_length < length) {
      return invalid("textvec.Attention: keys of " + std::to_string(key_length) +
                     " tokens; the queries are of " + std::to_string(length));
    }
    arguments.before = key_length - length;
    arguments.head_size = width / given_.heads;
    arguments.queries = queries.GetTensorData<float>();
    std::vector<std::size_t> tokens;
    auto wrong = read_lengths(context, key_length, tokens);
    if (!wrong && arguments.before > 0 && tokens.size() > 1) {
      wrong = std::to_string(tokens.size()) + " texts; a piece is of one";
    }
    arguments.tokens = tokens;
    if (!wrong) wrong = read_inputs(context, key_length, arguments);
    if (wrong) return invalid("textvec.Attention: " + *wrong);
    arguments.output = context.GetOutput(0, shape).GetTensorMutableData<float>();
    const Scratch scratch(context, kernels::attention_scratch_bytes(arguments));
    kernels::attention(arguments, scratch.bytes(), parallel_of(context));
    return Ort::Status(nullptr);
  }

  // Of each text. What is wrong, if anything is.
  static std::optional<std::string> read_lengths(const Ort::KernelContext& context, std::size_t all,
                                                 std::vector<std::size_t>& tokens) {
    const Ort::ConstValue lengths = context.GetInput(3);
    // Older versions gave the mask here, whose ones would be read as texts of one token.
    if (lengths.GetTensorTypeAndShapeInfo().GetShape().size() != 1) {
      return "lengths that are no list; a graph of an older textvec has to be compiled again";
    }
    const std::span given(lengths.GetTensorData<std::int64_t>(), elements_of(lengths));
    std::size_t rest = all;
    for (const std::int64_t length : given) {
      if (length < 1 || static_cast<std::uint64_t>(length) > rest) {
        return "a text of " + std::to_string(length) + " tokens, where " + std::to_string(rest) +
               " are left of " + std::to_string(all);
      }
      tokens.push_back(static_cast<std::size_t>(length));
      rest -= tokens.back();
    }
    if (rest == 0 && !tokens.empty()) return std::nullopt;
    return std::to_string(rest) + " of " + std::to_string(all) + " tokens are of no text";
  }

  // All but the queries and the lengths. What is wrong, if anything is.
  std::optional<std::string> read_inputs(const Ort::KernelContext& context, std::size_t key_length,
                                         kernels::AttentionArguments& arguments) const {
    // Divided, because a product of a hostile shape overflows.
    const std::size_t key_width = given_.key_value_heads * arguments.head_size;
    for (const std::size_t index : {1U, 2U}) {
      const std::size_t elements = elements_of(context.GetInput(index));
      if (elements % key_width == 0 && elements / key_width == key_length) continue;
      return std::string(index == 1 ? "keys" : "values") + " of " + std::to_string(elements) +
             " numbers; they should be " + std::to_string(key_length) + " tokens of " +
             std::to_string(key_width);
    }
    arguments.keys = context.GetInput(1).GetTensorData<float>();
    arguments.values = context.GetInput(2).GetTensorData<float>();
    if (const auto bias = optional_input(context, 4)) {
      const std::size_t elements = 3 * given_.heads * arguments.head_size;
      if (elements_of(*bias) != elements) return wrong_count("bias", elements_of(*bias), elements);
      arguments.bias = bias->GetTensorData<float>();
    }
    auto wrong = read_angles(context, arguments);
    if (!wrong && arguments.bias != nullptr &&
        (arguments.cosine != nullptr || given_.heads != given_.key_value_heads)) {
      return "a bias; heads that share keys or are turned by angles have none";
    }
    return wrong;
  }

  static std::optional<std::string> read_angles(const Ort::KernelContext& context,
                                                kernels::AttentionArguments& arguments) {
    const auto cosine = optional_input(context, 5);
    const auto sine = optional_input(context, 6);
    if (!cosine || !sine) return std::nullopt;
    if (arguments.head_size % 2 != 0) {
      return "heads of " + std::to_string(arguments.head_size) + " components cannot be turned";
    }
    const std::size_t longest = *std::max_element(arguments.tokens.begin(), arguments.tokens.end());
    const std::size_t least = longest * arguments.head_size / 2;
    for (const auto& table : {*cosine, *sine}) {
      if (elements_of(table) >= least) continue;
      return "a table of " + std::to_string(elements_of(table)) + " angles; " +
             std::to_string(longest) + " tokens take " + std::to_string(least);
    }
    arguments.cosine = cosine->GetTensorData<float>();
    arguments.sine = sine->GetTensorData<float>();
    return std::nullopt;
  }

  const kernels::AttentionArguments given_;
};

struct AttentionOperator : ProcessorOperator<AttentionOperator, AttentionKernel> {
  explicit AttentionOperator(unsigned thread_count) : threads(thread_count) {}

  const char* GetName() const { return "Attention"; }
  std::size_t GetInputTypeCount() const { return 7; }
  ONNXTensorElementDataType GetInputType(std::size_t index) const {
    return index == 3 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t index) const {
    return index < 4 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }

  Ort::Status create(const Ort::ConstKernelInfo& info, void** kernel) const {
    const auto heads = info.GetAttribute<std::int64_t>("num_heads");
    const auto shared = info.GetAttribute<std::int64_t>("kv_num_heads");
    if (heads < 1 || heads > kFeaturesMax || shared < 1 || heads % shared != 0) {
      return invalid("textvec.Attention: " + std::to_string(heads) + " heads and " +
                     std::to_string(shared) + " of keys and values; it takes 1 to " +
                     std::to_string(kFeaturesMax) + ", and a multiple");
    }
    kernels::AttentionArguments given;
    given.heads = static_cast<std::size_t>(heads);
    given.key_value_heads = static_cast<std::size_t>(shared);
    given.causal = info.GetAttribute<std::int64_t>("causal") != 0;
    given.coarse = info.GetAttribute<std::int64_t>("coarse") != 0;
    given.threads = threads;
    *kernel = new AttentionKernel(given);
    return Ort::Status(nullptr);
  }

  unsigned threads;
};

// --- textvec.Norm

class NormKernel {
 public:
  explicit NormKernel(float epsilon) : epsilon_(epsilon) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    return guarded([&] { return compute(Ort::KernelContext(raw)); });
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue input = context.GetInput(0);
    const auto shape = input.GetTensorTypeAndShapeInfo().GetShape();
    const std::size_t elements = elements_of(input);
    kernels::NormArguments arguments;
    arguments.input = input.GetTensorData<float>();
    arguments.width = shape.empty() ? 0 : static_cast<std::size_t>(shape.back());
    arguments.epsilon = epsilon_;
    const OtherInput others[] = {{"weight", arguments.width, arguments.weight},
                                 {"shift", arguments.width, arguments.shift},
                                 {"residual", elements, arguments.residual},
                                 {"bias", arguments.width, arguments.bias}};
    if (const auto wrong = read_others(context, shape, others)) {
      return invalid("textvec.Norm: " + *wrong);
    }
    arguments.output = context.GetOutput(0, shape).GetTensorMutableData<float>();
    if (elements == 0) return Ort::Status(nullptr);
    arguments.rows = elements / arguments.width;
    kernels::norm(arguments, parallel_of(context));
    return Ort::Status(nullptr);
  }

  const float epsilon_;
};

struct NormOperator : ProcessorOperator<NormOperator, NormKernel> {
  NormOperator() = default;

  const char* GetName() const { return "Norm"; }
  std::size_t GetInputTypeCount() const { return 5; }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t index) const {
    return index < 2 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }

  static Ort::Status create(const Ort::ConstKernelInfo& info, void** kernel) {
    *kernel = new NormKernel(info.GetAttribute<float>("epsilon"));
    return Ort::Status(nullptr);
  }
};

// --- textvec.Activation

class ActivationKernel {
 public:
  explicit ActivationKernel(kernels::Activation function) : function_(function) {}

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) const noexcept {
    return guarded([&] { return compute(Ort::KernelContext(raw)); });
  }

 private:
  Ort::Status compute(Ort::KernelContext context) const {
    const Ort::ConstValue input = context.GetInput(0);
    const auto shape = input.GetTensorTypeAndShapeInfo().GetShape();
    const std::size_t elements = elements_of(input);
    kernels::ActivationArguments arguments;
    arguments.function = function_;
    arguments.input = input.GetTensorData<float>();
    arguments.width = shape.empty() ? 0 : static_cast<std::size_t>(shape.back());
    const OtherInput others[] = {{"bias", arguments.width, arguments.bias},
                                 {"factor", elements, arguments.factor}};
    if (const auto wrong = read_others(context, shape, others)) {
      return invalid("textvec.Activation: " + *wrong);
    }
    arguments.output = context.GetOutput(0, shape).GetTensorMutableData<float>();
    if (elements == 0) return Ort::Status(nullptr);
    arguments.rows = elements / arguments.width;
    kernels::activation(arguments, parallel_of(context));
    return Ort::Status(nullptr);
  }

  const kernels::Activation function_;
};

struct ActivationOperator : ProcessorOperator<ActivationOperator, ActivationKernel> {
  // The output may be written over the input, if nobody else reads that.
  ActivationOperator() {
    OrtCustomOp::GetMayInplace = [](int** inputs, int** outputs) -> std::size_t {
      static int first = 0;
      *inputs = &first;
      *outputs = &first;
      return 1;
    };
    OrtCustomOp::ReleaseMayInplace = [](int* /*inputs*/, int* /*outputs*/) {};
  }

  const char* GetName() const { return "Activation"; }
  std::size_t GetInputTypeCount() const { return 3; }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t index) const {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }

  static Ort::Status create(const Ort::ConstKernelInfo& info, void** kernel) {
    const auto function = kernels::activation_function(info.GetAttribute<std::string>("function"));
    if (!function) return unknown_function("Activation");
    *kernel = new ActivationKernel(*function);
    return Ort::Status(nullptr);
  }
};

}  // namespace

struct Operators::Parts {
  explicit Parts(unsigned threads)
      : linear(threads),
        feed_forward(threads),
        attention(threads),
        domain(std::string(graph::kTextvec).c_str()) {
    domain.Add(&linear);
    domain.Add(&feed_forward);
    domain.Add(&norm);
    domain.Add(&attention);
    domain.Add(&activation);
  }
  LinearOperator linear;
  FeedForwardOperator feed_forward;
  AttentionOperator attention;
  NormOperator norm{};
  ActivationOperator activation{};
  Ort::CustomOpDomain domain;
};

Operators::Operators(unsigned threads) : parts_(std::make_unique<Parts>(threads)) {}
Operators::~Operators() = default;
Operators::Operators(Operators&&) noexcept = default;
Operators& Operators::operator=(Operators&&) noexcept = default;

void Operators::add_to(Ort::SessionOptions& options) const { options.Add(parts_->domain); }

}  // namespace textvec::runtime
