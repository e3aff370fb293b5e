// In: an ONNX model and batches. Out: hidden states, computed by ONNX Runtime. The only file that
// runs it, and the place where its exceptions become errors.
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_run_options_config_keys.h>
#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <numeric>
#include <utility>

#include "graph/static.h"
#include "graph/strangers_file.h"
#include "runtime/operators.h"
#include "runtime/processor_memory.h"
#include "runtime/session.h"
#include "runtime/signature.h"

namespace textvec::runtime {
namespace {

// A library must not print, so ONNX Runtime's log goes nowhere: what matters comes as exceptions.
void discard_log(void*, OrtLoggingLevel, const char*, const char*, const char*, const char*) {}

Ort::Env& environment() {
  // Never destroyed: sessions in static objects of the host may outlive any order we could choose.
  static auto* environment = new Ort::Env(ORT_LOGGING_LEVEL_FATAL, "textvec", discard_log, nullptr);
  return *environment;
}

ElementType element_type(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return ElementType::Float;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return ElementType::Float16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return ElementType::Int64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return ElementType::Int32;
    default:
      return ElementType::Other;
  }
}

Port describe_port(const std::string& name, const Ort::TypeInfo& info) {
  Port port;
  port.name = name;
  if (info.GetONNXType() == ONNX_TYPE_TENSOR) {
    const auto tensor = info.GetTensorTypeAndShapeInfo();
    port.type = element_type(tensor.GetElementType());
    port.shape = tensor.GetShape();
  }
  return port;
}

std::vector<ProviderPlacement> read_placement(const Ort::Session& session) {
  std::vector<ProviderPlacement> placement;
  for (const auto& subgraph : session.GetEpGraphAssignmentInfo()) {
    const std::string provider = subgraph.GetEpName();
    auto found = std::find_if(placement.begin(), placement.end(),
                              [&](const auto& entry) { return entry.provider == provider; });
    if (found == placement.end()) {
      placement.push_back({provider, 0, 0});
      found = placement.end() - 1;
    }
    found->nodes += subgraph.GetNodes().size();
    found->partitions += 1;
  }
  // The processor takes nodes one by one; a graph that nobody else has a part in is in one piece.
  if (placement.size() == 1) placement.front().partitions = 1;
  return placement;
}

Ort::Value empty_cache(const BoundInput& input, std::size_t rows) {
  static float nothing = 0;  // the pointer may not be null
  const std::array<std::int64_t, 4> shape{static_cast<std::int64_t>(rows), input.heads, 0,
                                          input.head_size};
  return Ort::Value::CreateTensor(processor_memory(), &nothing, 0, shape.data(), shape.size(),
                                  input.type == ElementType::Float16
                                      ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
                                      : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
}

// One input matrix in the type that the graph wants. Owns what the tensor points into.
class InputTensor {
 public:
  InputTensor(const BoundInput& input, const std::vector<std::int64_t>& values,
              const std::vector<std::int64_t>& shape) {
    const Ort::MemoryInfo& memory = processor_memory();
    if (input.type == ElementType::Int32) {
      narrow_.assign(values.size(), 0);
      std::transform(values.begin(), values.end(), narrow_.begin(),
                     [](std::int64_t value) { return static_cast<std::int32_t>(value); });
      tensor_ = Ort::Value::CreateTensor<std::int32_t>(memory, narrow_.data(), narrow_.size(),
                                                       shape.data(), shape.size());
    } else {
      // ONNX Runtime takes a mutable pointer and does not write through it.
      tensor_ =
          Ort::Value::CreateTensor<std::int64_t>(memory, const_cast<std::int64_t*>(values.data()),
                                                 values.size(), shape.data(), shape.size());
    }
  }
  Ort::Value take() { return std::move(tensor_); }

 private:
  std::vector<std::int32_t> narrow_{};
  Ort::Value tensor_{nullptr};
};

// An input of a static graph. Owns what the tensor points into, or the batch does.
class FloatInput {
 public:
  FloatInput(Feed feed, const batch::Batch& batch) {
    const auto rows = static_cast<std::int64_t>(batch.rows);
    const auto length = static_cast<std::int64_t>(batch.length);
    std::vector<std::int64_t> shape{rows, length};
    std::span<const float> values;
    if (feed == Feed::Embeddings) {
      values = batch.embeddings;
      shape = {rows * length, static_cast<std::int64_t>(values.size()) / (rows * length)};
    } else if (feed == Feed::Bias) {
      values_.resize(batch.mask.size());
      std::transform(batch.mask.begin(), batch.mask.end(), values_.begin(), [](std::int64_t token) {
        return token != 0 ? 0.0F : graph::StaticTarget::kMasked;
      });
      values = values_;
    } else {
      values_.assign(batch.rows * batch.length, 0.0F);
      for (std::size_t row = 0; row < batch.rows; ++row) {
        values_[row * batch.length + batch.lengths[row] - 1] = 1;
      }
      values = values_;
    }
    // ONNX Runtime takes a mutable pointer and does not write through it.
    tensor_ = Ort::Value::CreateTensor<float>(processor_memory(), const_cast<float*>(values.data()),
                                              values.size(), shape.data(), shape.size());
  }
  Ort::Value take() { return std::move(tensor_); }

 private:
  std::vector<float> values_{};
  Ort::Value tensor_{nullptr};
};

std::vector<std::int64_t> position_ids(const batch::Batch& batch) {
  std::vector<std::int64_t> ids(batch.ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int64_t>(i % batch.length);
  }
  return ids;
}

// In packed states: each row's first token, and how many tokens there are.
std::vector<std::size_t> begins_of(const batch::Batch& batch) {
  std::vector<std::size_t> begins(batch.rows + 1);
  std::inclusive_scan(batch.lengths.begin(), batch.lengths.end(), begins.begin() + 1);
  return begins;
}

// Of the batch's shape, without values.
HiddenStates shaped_as(const batch::Batch& batch, const SessionInfo& info) {
  HiddenStates states;
  states.rows = batch.rows;
  states.length = info.pooled ? 1 : batch.length;
  states.width = info.width;
  if (info.packs && !info.pooled) states.begins = begins_of(batch);
  return states;
}

Result<HiddenStates> to_hidden_states(Ort::Value value, const Signature& signature,
                                      HiddenStates states) {
  const auto info = value.GetTensorTypeAndShapeInfo();
  const auto shape = info.GetShape();
  // ONNX Runtime does not hold a graph to what it states.
  const std::size_t rank = signature.pooled ? 2 : 3;
  if (shape.size() != rank) {
    return Error{ErrorCode::BadModel, "output \"" + signature.output + "\" has rank " +
                                          std::to_string(shape.size()) + "; the graph states " +
                                          std::to_string(rank)};
  }
  states.width = static_cast<std::size_t>(shape.back());
  if (states.begins.empty()) {
    states.rows = static_cast<std::size_t>(shape.front());
    states.length = signature.pooled ? 1 : static_cast<std::size_t>(shape[1]);
  }
  const std::size_t elements = info.GetElementCount();
  if (signature.output_type == ElementType::Float16) {
    auto widened = std::make_shared<std::vector<float>>(elements);
    const auto* values = value.GetTensorData<Ort::Float16_t>();
    std::transform(values, values + elements, widened->begin(),
                   [](Ort::Float16_t half) { return half.ToFloat(); });
    states.values = *widened;
    states.owner = std::move(widened);
  } else {
    auto owner = std::make_shared<Ort::Value>(std::move(value));
    states.values = {owner->GetTensorData<float>(), elements};
    states.owner = std::move(owner);
  }
  return states;
}

class OrtSession final : public Session {
 public:
  OrtSession(graph::OnnxModel model, Operators operators, Ort::Session session, Signature signature,
             SessionInfo info, std::size_t usual_tokens)
      : model_(std::move(model)),
        operators_(std::move(operators)),
        session_(std::move(session)),
        signature_(std::move(signature)),
        info_(std::move(info)),
        usual_tokens_(usual_tokens) {}

  Result<HiddenStates> run(const batch::Batch& batch, const std::stop_token& stop) override {
    try {
      const std::vector<std::int64_t> shape{static_cast<std::int64_t>(batch.rows),
                                            static_cast<std::int64_t>(batch.length)};
      const std::vector<std::int64_t> positions = position_ids(batch);
      std::vector<InputTensor> tensors;
      std::vector<FloatInput> floats;
      std::vector<Ort::Value> inputs;
      std::vector<const char*> names;
      tensors.reserve(signature_.inputs.size());
      floats.reserve(signature_.inputs.size());
      for (const BoundInput& input : signature_.inputs) {
        names.push_back(input.name.c_str());
        if (input.feed == Feed::PastKeyValues) {
          inputs.push_back(empty_cache(input, batch.rows));
          continue;
        }
        if (input.feed >= Feed::Embeddings) {
          inputs.push_back(floats.emplace_back(input.feed, batch).take());
          continue;
        }
        const auto& values = input.feed == Feed::Ids       ? batch.ids
                             : input.feed == Feed::Mask    ? batch.mask
                             : input.feed == Feed::TypeIds ? batch.type_ids
                                                           : positions;
        inputs.push_back(tensors.emplace_back(input, values, shape).take());
      }
      Ort::RunOptions options;
      const std::stop_callback terminate(stop, [&options] { options.SetTerminate(); });
      const char* output = signature_.output.c_str();
      if (batch.tokens_computed(info_.packs) > usual_tokens_ && signature_.width != 0 &&
          signature_.output_type == ElementType::Float) {
        return run_long(options, batch, names, inputs);
      }
      auto outputs = session_.Run(options, names.data(), inputs.data(), inputs.size(), &output, 1);
      return to_hidden_states(std::move(outputs.front()), signature_, shaped_as(batch, info_));
    } catch (const Ort::Exception& exception) {
      if (stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
      return Error{ErrorCode::Internal, std::string("ONNX Runtime failed: ") + exception.what()};
    }
  }

  const SessionInfo& info() const noexcept override { return info_; }

 private:
  // ONNX Runtime keeps what a run took for the next one, for ever, unless it is told to give it
  // back at the end. The states have memory of their own, because they would keep their part of it.
  Result<HiddenStates> run_long(Ort::RunOptions& options, const batch::Batch& batch,
                                const std::vector<const char*>& names,
                                const std::vector<Ort::Value>& inputs) {
    options.AddConfigEntry(kOrtRunOptionsConfigEnableMemoryArenaShrinkage, "cpu:0");
    HiddenStates states = shaped_as(batch, info_);
    const std::size_t rows = states.begins.empty() ? states.rows : 1;
    const std::size_t length = states.begins.empty() ? states.length : states.begins.back();
    auto values = std::make_shared<std::vector<float>>(rows * length * states.width);
    std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows)};
    if (!signature_.pooled) shape.push_back(static_cast<std::int64_t>(length));
    shape.push_back(static_cast<std::int64_t>(states.width));
    auto output = Ort::Value::CreateTensor<float>(processor_memory(), values->data(),
                                                  values->size(), shape.data(), shape.size());
    const char* name = signature_.output.c_str();
    session_.Run(options, names.data(), inputs.data(), inputs.size(), &name, &output, 1);
    states.values = *values;
    states.owner = std::move(values);
    return states;
  }

  graph::OnnxModel model_;  // its `data` is used in place when it is in memory
  Operators operators_;
  Ort::Session session_;
  Signature signature_;
  SessionInfo info_;
  std::size_t usual_tokens_;
};

Ort::SessionOptions make_options(const SessionOptions& options) {
  Ort::SessionOptions out;
  out.SetIntraOpNumThreads(static_cast<int>(options.threads));
  out.SetInterOpNumThreads(1);
  out.SetExecutionMode(ORT_SEQUENTIAL);
  out.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
  out.AddConfigEntry(kOrtSessionOptionsRecordEpGraphAssignmentInfo, "1");
  // Packed weights would be copies for each bucket; as they are, all buckets map the same file.
  if (options.static_graph) out.AddConfigEntry(kOrtSessionOptionsConfigDisablePrepacking, "1");
  // While a device works, our threads would spin for nothing.
  if (options.use.provider != Provider::Cpu) {
    out.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
  }
  return out;
}

Ort::Session make_session(graph::OnnxModel& model, Ort::SessionOptions options) {
  if (model.model.empty()) return Ort::Session(environment(), model.file.c_str(), options);
  if (!model.data.empty()) {
    options.AddExternalInitializersFromFilesInMemory(
        {model.data_name}, {reinterpret_cast<char*>(model.data.data())}, {model.data.size()});
  }
  if (!model.data_folder.empty()) {
    options.AddConfigEntry(kOrtSessionOptionsModelExternalInitializersFileFolderPath,
                           model.data_folder.c_str());
  }
  Ort::Session session(environment(), model.model.data(), model.model.size(), options);
  model.model = {};  // the session has its own by now, and this one may be large
  return session;
}

// Outputs that nobody asks for are computed all the same, as long as the graph has them.
Result<graph::OnnxModel> with_one_output(graph::OnnxModel model, const std::string& name) {
  if (!model.model.empty()) return model;
  return graph::read_strangers_file(
      model.file, [&](const std::vector<Port>& outputs) -> Result<std::string> {
        const auto output = choose_output(outputs);
        if (!output) return Error{output.error().code, name + ": " + output.error().message};
        return output->name;
      });
}

bool is_packed(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  const Ort::ModelMetadata metadata = session.GetModelMetadata();
  return metadata.LookupCustomMetadataMapAllocated(graph::kPackedProperty, allocator) != nullptr;
}

Result<Signature> read_signature(const Ort::Session& session) {
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  const std::vector<std::string> input_names = session.GetInputNames();
  const std::vector<std::string> output_names = session.GetOutputNames();
  inputs.reserve(input_names.size());
  outputs.reserve(output_names.size());
  for (std::size_t i = 0; i < input_names.size(); ++i) {
    inputs.push_back(describe_port(input_names[i], session.GetInputTypeInfo(i)));
  }
  for (std::size_t i = 0; i < output_names.size(); ++i) {
    outputs.push_back(describe_port(output_names[i], session.GetOutputTypeInfo(i)));
  }
  return choose_signature(inputs, outputs);
}

}  // namespace

const Ort::MemoryInfo& processor_memory() {
  static const auto& memory =
      *new Ort::MemoryInfo(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault));
  return memory;
}

Result<std::unique_ptr<Session>> open_session(graph::OnnxModel given,
                                              const SessionOptions& options) {
  const std::string name = given.model.empty() ? given.file.filename().string() : "the graph";
  auto model = with_one_output(std::move(given), name);
  if (!model) return model.error();
  try {
    Operators operators(options.threads);
    Ort::SessionOptions session_options = make_options(options);
    operators.add_to(session_options);
    append_provider(session_options, environment(), options.use, options.program_folder.string());
    Ort::Session session = make_session(*model, std::move(session_options));
    auto signature = read_signature(session);
    if (!signature) {
      return Error{signature.error().code, name + ": " + signature.error().message};
    }
    if (signature->is_static && !options.static_graph) {
      return Error{ErrorCode::Unsupported,
                   name + " is a static graph, which textvec runs from the model's own folder"};
    }
    SessionInfo info;
    info.pooled = signature->pooled;
    info.packs = is_packed(session);
    info.width = signature->width;
    info.output = signature->output;
    info.half = model->half;
    info.provider = options.use.provider;
    info.placement = read_placement(session);
    return std::unique_ptr<Session>(
        std::make_unique<OrtSession>(std::move(*model), std::move(operators), std::move(session),
                                     std::move(*signature), std::move(info), options.usual_tokens));
  } catch (const Ort::Exception& exception) {
    if (options.use.provider != Provider::Cpu) {
      return Error{ErrorCode::Provider, "provider " + std::string(to_string(options.use.provider)) +
                                            " refused " + name + ": " + exception.what()};
    }
    const char* advice =
        model->half ? "; where it lacks 16-bit operators, the fp32 or the 8-bit file runs" : "";
    return Error{ErrorCode::BadModel,
                 name + " was refused by ONNX Runtime: " + exception.what() + advice};
  }
}

// Taken over by those that keep it.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void Session::when_device_is_lost(std::function<void(const SessionInfo&)> /*lost*/) {}

std::string runtime_version() { return "ONNX Runtime " + Ort::GetVersionString(); }

std::vector<std::string> runtime_providers() { return Ort::GetAvailableProviders(); }

}  // namespace textvec::runtime
