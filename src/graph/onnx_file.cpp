// In: nodes and weights. Out: an ONNX model on disk or in memory. See onnx_file.h.
#include "graph/onnx_file.h"

#include <fcntl.h>
#include <onnx/onnx_pb.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "model/hash.h"

namespace textvec::graph {
namespace {

// Opset 17 brought LayerNormalization. 20 and IR 10 are what ONNX Runtime 1.28 and newer, the
// oldest we accept, take in full.
constexpr int kOpset = 20;
constexpr int kIrVersion = 10;
// External data is memory-mapped by ONNX Runtime; whole pages keep the mappings apart.
constexpr std::uint64_t kAlignment = 4096;
constexpr std::size_t kChunkElements = std::size_t{1} << 22;

std::uint64_t aligned(std::uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

struct Weight {
  std::string name{};
  TensorType type = TensorType::Float;
  std::uint64_t offset = 0;
  std::size_t elements = 0;
  std::size_t row_elements = 1;
  Fill fill{};
  Encode encode{};  // none: kept as they are
};

std::size_t size_of(TensorType type) { return type == TensorType::Half ? 2 : sizeof(float); }

constexpr std::uint16_t kHalfInfinity = 0x7c00;

// IEEE 754 binary16, rounded to nearest, ties to even. Infinity when it is too large.
std::uint16_t narrow(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;  // not a number
  } else if (magnitude >= 0x477ff000U) {
    half = kHalfInfinity;  // 65,520 and above
  } else if (magnitude >= 0x38800000U) {
    // The carry of a rounded fraction runs into the exponent, as it should.
    half = (magnitude - 0x38000000U + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  } else {
    // Below the normal numbers a unit is 2^-24; the sum leaves the rounded count of units behind.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F);
  }
  return static_cast<std::uint16_t>(sign | half);
}

// The bytes of `values` as `type`, in `narrowed` where that is another type.
std::span<const std::byte> as_type(std::span<const float> values, TensorType type,
                                   std::vector<std::uint16_t>& narrowed) {
  if (type != TensorType::Half) return std::as_bytes(values);
  narrowed.resize(values.size());
  std::transform(values.begin(), values.end(), narrowed.begin(), narrow);
  return std::as_bytes(std::span<const std::uint16_t>(narrowed));
}

// A file being written, hashed on the way.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) error_number_ = errno;
  }
  ~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void append(std::span<const std::byte> bytes) {
    hash_.update(bytes);
    while (!bytes.empty() && error_number_ == 0) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        error_number_ = errno;
        return;
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  // The SHA-256 of what was written, once it is on the disk.
  Result<std::string> finish() {
    if (error_number_ == 0 && ::fsync(descriptor_) != 0) error_number_ = errno;
    if (descriptor_ >= 0 && ::close(descriptor_) != 0 && error_number_ == 0) error_number_ = errno;
    descriptor_ = -1;
    if (error_number_ != 0) {
      return Error{ErrorCode::Internal, "cannot write " + path_.string() + ": " +
                                            std::generic_category().message(error_number_)};
    }
    return hash_.finish();
  }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int error_number_ = 0;
  model::Sha256 hash_{};
};

void set_shape(onnx::TypeProto_Tensor* type, const std::vector<Dimension>& shape) {
  auto* dimensions = type->mutable_shape();  // a scalar has a shape too
  for (const Dimension& dimension : shape) {
    auto* out = dimensions->add_dim();
    if (const auto* value = std::get_if<std::int64_t>(&dimension)) {
      out->set_dim_value(*value);
    } else {
      out->set_dim_param(std::get<std::string>(dimension));
    }
  }
}

void set_value(onnx::ValueInfoProto* info, const std::string& name, int element_type,
               const std::vector<Dimension>& shape) {
  info->set_name(name);
  auto* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(element_type);
  set_shape(type, shape);
}

int onnx_type(TensorType type) {
  switch (type) {
    case TensorType::Float:
      return onnx::TensorProto::FLOAT;
    case TensorType::Half:
      return onnx::TensorProto::FLOAT16;
    case TensorType::Int64:
      return onnx::TensorProto::INT64;
    case TensorType::Bool:
      return onnx::TensorProto::BOOL;
  }
  return onnx::TensorProto::UNDEFINED;
}

void set_attribute(onnx::AttributeProto* out, const Attribute& attribute) {
  out->set_name(attribute.first);
  if (const auto* integer = std::get_if<std::int64_t>(&attribute.second)) {
    out->set_type(onnx::AttributeProto::INT);
    out->set_i(*integer);
  } else if (const auto* number = std::get_if<float>(&attribute.second)) {
    out->set_type(onnx::AttributeProto::FLOAT);
    out->set_f(*number);
  } else if (const auto* text = std::get_if<std::string>(&attribute.second)) {
    out->set_type(onnx::AttributeProto::STRING);
    out->set_s(*text);
  } else {
    out->set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t value : std::get<std::vector<std::int64_t>>(attribute.second)) {
      out->add_ints(value);
    }
  }
}

void set_external(onnx::TensorProto* tensor, const std::string& key, const std::string& value) {
  auto* entry = tensor->add_external_data();
  entry->set_key(key);
  entry->set_value(value);
}

}  // namespace

struct OnnxFile::State {
  onnx::ModelProto model{};
  std::vector<onnx::GraphProto> bodies{};  // that are being built, the innermost last
  std::vector<onnx::GraphProto> ended{};   // and wait for their node
  std::vector<Weight> weights{};
  std::uint64_t data_bytes = 0;

  onnx::GraphProto* graph() { return bodies.empty() ? model.mutable_graph() : &bodies.back(); }

  // Gives the node that was added last one of the bodies that wait.
  void take_body(const char* attribute_name, onnx::GraphProto body, std::string name) {
    auto* attribute = graph()->mutable_node()->rbegin()->add_attribute();
    attribute->set_name(attribute_name);
    attribute->set_type(onnx::AttributeProto::GRAPH);
    body.set_name(std::move(name));
    *attribute->mutable_g() = std::move(body);
  }

  // A model that has none of them names no domain that other programs do not know.
  void use_own_operators() {
    for (const auto& domain : model.opset_import()) {
      if (domain.domain() == kTextvec) return;
    }
    auto* own = model.add_opset_import();
    own->set_domain(std::string(kTextvec));
    own->set_version(1);
  }

  // Gives the external data to `sink` piece by piece, gaps included.
  template <class Sink>
  Result<void> write_data(const Sink& sink, const Progress& progress) const {
    std::uint64_t position = 0;
    std::vector<float> chunk;
    std::vector<std::byte> encoded;
    std::vector<std::uint16_t> narrowed;
    for (const Weight& weight : weights) {
      const std::vector<std::byte> gap(weight.offset - position);
      sink(std::span<const std::byte>(gap));
      position = weight.offset;
      const std::size_t chunk_rows = std::max<std::size_t>(1, kChunkElements / weight.row_elements);
      const std::size_t step = chunk_rows * weight.row_elements;
      for (std::size_t begin = 0; begin < weight.elements; begin += step) {
        chunk.resize(std::min(step, weight.elements - begin));
        weight.fill(begin, chunk);
        auto bytes = as_type(chunk, weight.type, narrowed);
        if (weight.encode) {
          weight.encode(chunk, encoded);
          bytes = encoded;
        }
        if (std::any_of(narrowed.begin(), narrowed.end(), [](std::uint16_t half) {
              return (half & kHalfInfinity) == kHalfInfinity;
            })) {
          return Error{ErrorCode::BadModel,
                       "tensor \"" + weight.name +
                           "\" holds a value that a 16-bit float cannot, which ends at 65,504; "
                           "use precision f32"};
        }
        sink(bytes);
        position += bytes.size();
        if (progress) progress(position, data_bytes);
      }
    }
    return {};
  }
};

OnnxFile::OnnxFile(std::string graph_name) : state_(std::make_unique<State>()) {
  state_->model.set_ir_version(kIrVersion);
  state_->model.set_producer_name("textvec");
  state_->model.mutable_graph()->set_name(std::move(graph_name));
  auto* standard = state_->model.add_opset_import();
  standard->set_domain("");
  standard->set_version(kOpset);
  auto* microsoft = state_->model.add_opset_import();
  microsoft->set_domain(std::string(kMicrosoft));
  microsoft->set_version(1);
}

void OnnxFile::property(const std::string& name, const std::string& value) {
  auto* property = state_->model.add_metadata_props();
  property->set_key(name);
  property->set_value(value);
}

OnnxFile::~OnnxFile() = default;
OnnxFile::OnnxFile(OnnxFile&&) noexcept = default;
OnnxFile& OnnxFile::operator=(OnnxFile&&) noexcept = default;

void OnnxFile::input_int64(const std::string& name, const std::vector<Dimension>& shape) {
  set_value(state_->model.mutable_graph()->add_input(), name, onnx::TensorProto::INT64, shape);
}

void OnnxFile::input_float(const std::string& name, const std::vector<Dimension>& shape) {
  set_value(state_->model.mutable_graph()->add_input(), name, onnx::TensorProto::FLOAT, shape);
}

void OnnxFile::output_float(const std::string& name, const std::vector<Dimension>& shape) {
  set_value(state_->model.mutable_graph()->add_output(), name, onnx::TensorProto::FLOAT, shape);
}

void OnnxFile::node(std::string_view operation, std::span<const std::string> inputs,
                    std::span<const std::string> outputs, std::string_view domain,
                    std::span<const Attribute> attributes) {
  auto* node = state_->graph()->add_node();
  if (domain == kTextvec) state_->use_own_operators();
  node->set_op_type(std::string(operation));
  node->set_domain(std::string(domain));
  node->set_name(outputs.front());
  for (const std::string& input : inputs) node->add_input(input);
  for (const std::string& output : outputs) node->add_output(output);
  for (const Attribute& attribute : attributes) set_attribute(node->add_attribute(), attribute);
}

void OnnxFile::begin_body() { state_->bodies.emplace_back(); }

void OnnxFile::end_body(std::span<const BodyPort> inputs, std::span<const BodyPort> outputs) {
  onnx::GraphProto body = std::move(state_->bodies.back());
  state_->bodies.pop_back();
  for (const BodyPort& port : inputs) {
    set_value(body.add_input(), port.name, onnx_type(port.type), port.shape);
  }
  for (const BodyPort& port : outputs) {
    set_value(body.add_output(), port.name, onnx_type(port.type), port.shape);
  }
  state_->ended.push_back(std::move(body));
}

void OnnxFile::loop(std::span<const std::string> inputs, std::span<const std::string> outputs) {
  node("Loop", inputs, outputs);
  state_->take_body("body", std::move(state_->ended.back()), "body of " + outputs.front());
  state_->ended.pop_back();
}

void OnnxFile::branch(const std::string& condition, std::span<const std::string> outputs) {
  node("If", {&condition, 1}, outputs);
  auto& ended = state_->ended;
  state_->take_body("then_branch", std::move(ended[ended.size() - 2]), "if " + condition);
  state_->take_body("else_branch", std::move(ended.back()), "if not " + condition);
  ended.resize(ended.size() - 2);
}

void OnnxFile::weight(const std::string& name, const std::vector<std::size_t>& shape, Fill fill,
                      TensorType type) {
  Weight weight;
  weight.name = name;
  weight.type = type;
  weight.elements = 1;
  for (const std::size_t size : shape) weight.elements *= size;
  weight.row_elements = shape.empty() ? 1 : shape.back();
  weight.fill = std::move(fill);
  add_weight(name, shape, onnx_type(type), weight.elements * size_of(type), &weight.offset);
  state_->weights.push_back(std::move(weight));
}

void OnnxFile::encoded_weight(const std::string& name, std::size_t bytes, std::size_t elements,
                              std::size_t unit_elements, Fill fill, Encode encode) {
  Weight weight;
  weight.name = name;
  weight.elements = elements;
  weight.row_elements = unit_elements;
  weight.fill = std::move(fill);
  weight.encode = std::move(encode);
  add_weight(name, {bytes}, onnx::TensorProto::UINT8, bytes, &weight.offset);
  state_->weights.push_back(std::move(weight));
}

void OnnxFile::add_weight(const std::string& name, const std::vector<std::size_t>& shape,
                          int element_type, std::uint64_t bytes, std::uint64_t* offset) {
  *offset = aligned(state_->data_bytes);
  auto* tensor = state_->model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(element_type);
  for (const std::size_t size : shape) tensor->add_dims(static_cast<std::int64_t>(size));
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  set_external(tensor, "location", std::string(kDataName));
  set_external(tensor, "offset", std::to_string(*offset));
  set_external(tensor, "length", std::to_string(bytes));

  state_->data_bytes = *offset + bytes;
}

void OnnxFile::constant(const std::string& name, std::span<const std::int64_t> values,
                        const std::vector<std::size_t>& shape) {
  auto* tensor = state_->model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::INT64);
  for (const std::size_t size : shape) tensor->add_dims(static_cast<std::int64_t>(size));
  for (const std::int64_t value : values) tensor->add_int64_data(value);
}

void OnnxFile::constant(const std::string& name, std::span<const float> values,
                        const std::vector<std::size_t>& shape, TensorType type) {
  auto* tensor = state_->model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx_type(type));
  for (const std::size_t size : shape) tensor->add_dims(static_cast<std::int64_t>(size));
  std::vector<std::uint16_t> narrowed;
  const auto bytes = as_type(values, type, narrowed);
  tensor->set_raw_data(bytes.data(), bytes.size());
}

std::uint64_t OnnxFile::data_bytes() const noexcept { return state_->data_bytes; }

std::string OnnxFile::model_bytes() const { return state_->model.SerializeAsString(); }

Result<std::string> OnnxFile::write_model(const std::filesystem::path& file) const {
  const std::string bytes = model_bytes();
  OutputFile model(file);
  model.append(std::as_bytes(std::span<const char>(bytes)));
  return model.finish();
}

Result<std::string> OnnxFile::write_data(const std::filesystem::path& file,
                                         const Progress& progress) const {
  OutputFile data(file);
  const auto filled =
      state_->write_data([&](std::span<const std::byte> bytes) { data.append(bytes); }, progress);
  if (!filled) return filled.error();
  return data.finish();
}

Result<WrittenFiles> OnnxFile::write(const std::filesystem::path& folder,
                                     const Progress& progress) const {
  auto data_sha256 = write_data(folder / kDataName, progress);
  if (!data_sha256) return data_sha256.error();
  auto model_sha256 = write_model(folder / kModelName);
  if (!model_sha256) return model_sha256.error();
  return WrittenFiles{std::move(*model_sha256), std::move(*data_sha256), state_->data_bytes};
}

Result<OnnxModel> OnnxFile::build_in_memory(const Progress& progress) const {
  OnnxModel out;
  out.model = model_bytes();
  out.data_name = kDataName;
  out.data.reserve(state_->data_bytes);
  const auto filled = state_->write_data(
      [&](std::span<const std::byte> bytes) {
        out.data.insert(out.data.end(), bytes.begin(), bytes.end());
      },
      progress);
  if (!filled) return filled.error();
  return out;
}

}  // namespace textvec::graph
