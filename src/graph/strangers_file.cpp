// In: a stranger's ONNX file. Out: its graph with one output. See strangers_file.h.
#include "graph/strangers_file.h"

#include <onnx/onnx_pb.h>

#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "graph/onnx_file.h"
#include "model/utf8.h"

namespace textvec::graph {
namespace {

namespace fs = std::filesystem;

// Protobuf's own limit, beyond which it neither reads nor writes a message.
constexpr std::uint64_t kModelBytesMax = std::numeric_limits<std::int32_t>::max();

Error bad_model(std::string message) { return {ErrorCode::BadModel, std::move(message)}; }

// --- Reading

Error too_large(const fs::path& file, std::uint64_t bytes) {
  return bad_model(file.string() + " holds " + std::to_string(bytes) +
                   " bytes; an ONNX file takes at most " + std::to_string(kModelBytesMax) +
                   ", and larger weights lie beside it as external data");
}

Result<onnx::ModelProto> read_model(const fs::path& file) {
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(file, error);
  if (error) {
    return Error{ErrorCode::NotFound, "cannot read " + file.string() + ": " + error.message()};
  }
  if (bytes > kModelBytesMax) return too_large(file, bytes);
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::NotFound, "cannot open " + file.string()};
  onnx::ModelProto model;
  if (!model.ParseFromIstream(&stream)) {
    return bad_model(file.string() + " is no ONNX file, or damaged");
  }
  return model;
}

ElementType element_type(std::int32_t type) {
  switch (type) {
    case onnx::TensorProto::FLOAT:
      return ElementType::Float;
    case onnx::TensorProto::FLOAT16:
      return ElementType::Float16;
    case onnx::TensorProto::INT64:
      return ElementType::Int64;
    case onnx::TensorProto::INT32:
      return ElementType::Int32;
    default:
      return ElementType::Other;
  }
}

// Nothing when the file leaves an output's type or rank to inference.
std::optional<std::vector<Port>> read_outputs(const onnx::GraphProto& graph) {
  std::vector<Port> ports;
  for (const onnx::ValueInfoProto& output : graph.output()) {
    Port port;
    port.name = output.name();
    if (!output.has_type()) return std::nullopt;
    if (output.type().has_tensor_type()) {
      const auto& tensor = output.type().tensor_type();
      if (!tensor.has_shape()) return std::nullopt;
      port.type = element_type(tensor.elem_type());
      for (const auto& dimension : tensor.shape().dim()) {
        port.shape.push_back(dimension.has_dim_value() ? dimension.dim_value() : -1);
      }
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

// --- External data

// Calls `visit` with every tensor of a graph, those inside its nodes and their graphs included,
// until one gives an error. Protobuf's limit of 100 messages in one another ends the recursion.
template <class Visit>
Result<void> for_each_tensor(onnx::GraphProto& graph, const Visit& visit);

template <class Visit>
Result<void> for_each_tensor(onnx::SparseTensorProto& tensor, const Visit& visit) {
  if (auto done = visit(*tensor.mutable_values()); !done) return done;
  return visit(*tensor.mutable_indices());
}

template <class Visit>
Result<void> for_each_tensor(onnx::AttributeProto& attribute, const Visit& visit) {
  Result<void> done;
  if (attribute.has_t()) done = visit(*attribute.mutable_t());
  if (done && attribute.has_g()) done = for_each_tensor(*attribute.mutable_g(), visit);
  if (done && attribute.has_sparse_tensor()) {
    done = for_each_tensor(*attribute.mutable_sparse_tensor(), visit);
  }
  for (auto& tensor : *attribute.mutable_tensors()) {
    if (done) done = visit(tensor);
  }
  for (auto& graph : *attribute.mutable_graphs()) {
    if (done) done = for_each_tensor(graph, visit);
  }
  for (auto& tensor : *attribute.mutable_sparse_tensors()) {
    if (done) done = for_each_tensor(tensor, visit);
  }
  return done;
}

template <class Nodes, class Visit>
Result<void> for_each_tensor_of_nodes(Nodes& nodes, const Visit& visit) {
  for (onnx::NodeProto& node : nodes) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (auto done = for_each_tensor(attribute, visit); !done) return done;
    }
  }
  return {};
}

template <class Visit>
Result<void> for_each_tensor(onnx::GraphProto& graph, const Visit& visit) {
  for (onnx::TensorProto& tensor : *graph.mutable_initializer()) {
    if (auto done = visit(tensor); !done) return done;
  }
  for (onnx::SparseTensorProto& tensor : *graph.mutable_sparse_initializer()) {
    if (auto done = for_each_tensor(tensor, visit); !done) return done;
  }
  return for_each_tensor_of_nodes(*graph.mutable_node(), visit);
}

// Attributes' default values, which ONNX has since 1.13; an older one does not know the field.
template <class Function, class Visit>
Result<void> for_each_tensor_of_defaults(Function& function, const Visit& visit) {
  if constexpr (requires { function.mutable_attribute_proto(); }) {
    for (auto& attribute : *function.mutable_attribute_proto()) {
      if (auto done = for_each_tensor(attribute, visit); !done) return done;
    }
  }
  return {};
}

template <class Visit>
Result<void> for_each_tensor(onnx::ModelProto& model, const Visit& visit) {
  for (onnx::FunctionProto& function : *model.mutable_functions()) {
    if (auto done = for_each_tensor_of_nodes(*function.mutable_node(), visit); !done) return done;
    if (auto done = for_each_tensor_of_defaults(function, visit); !done) return done;
  }
  return for_each_tensor(*model.mutable_graph(), visit);
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

// The files beside the graph that hold its weights. A model's own files may be links, as in the
// Hugging Face cache, where they lead to one folder; what leads elsewhere is refused, as ONNX
// Runtime does when it loads a graph by its path.
class ExternalData {
 public:
  explicit ExternalData(const fs::path& model) {
    std::error_code error;  // then the path is empty, and nothing is inside
    named_folder_ = model.has_parent_path() ? model.parent_path() : fs::path(".");
    folders_ = {fs::canonical(named_folder_, error), fs::canonical(model, error).parent_path()};
  }

  // Where the tensor's data really is; nothing for a tensor inside the .onnx.
  Result<std::optional<fs::path>> find(const onnx::TensorProto& tensor) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return std::optional<fs::path>();
    std::map<std::string, std::string> entries;
    for (const auto& entry : tensor.external_data()) entries[entry.key()] = entry.value();
    const std::string what = "tensor \"" + model::shortened(tensor.name()) + "\": ";
    const auto file = open(entries["location"], what);
    if (!file) return file.error();
    const auto offset = number(entries, "offset");
    const auto length = number(entries, "length");
    if (!offset || !length) {
      return bad_model(what + "offset \"" + model::shortened(entries["offset"]) +
                       "\" and length \"" + model::shortened(entries["length"]) +
                       "\" of its external data are not numbers");
    }
    if (*offset > file->bytes || *length > file->bytes - *offset) {
      return bad_model(what + std::to_string(*length) + " bytes from " + std::to_string(*offset) +
                       " on are not in " + named_folder_.string() + "/" +
                       model::shortened(entries["location"]) + ", which holds " +
                       std::to_string(file->bytes) + "; it may be cut short");
    }
    return std::optional<fs::path>(file->path);
  }

 private:
  struct File {
    fs::path path{};
    std::uint64_t bytes = 0;
  };

  // 0 when the tensor does not say, for which ONNX has its own rules.
  static std::optional<std::uint64_t> number(const std::map<std::string, std::string>& entries,
                                             const std::string& key) {
    const auto found = entries.find(key);
    if (found == entries.end()) return 0;
    std::uint64_t value = 0;
    const char* end = found->second.data() + found->second.size();
    const auto parsed = std::from_chars(found->second.data(), end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return value;
  }

  Result<File> open(const std::string& location, const std::string& what) {
    const auto known = files_.find(location);
    if (known != files_.end()) return known->second;
    const std::string quoted = "external data \"" + model::shortened(location) + "\"";
    const fs::path relative(location);
    bool outside = location.empty() || relative.is_absolute();
    for (const fs::path& part : relative) outside = outside || part == "..";
    if (outside) return bad_model(what + quoted + " is not in the model's folder");
    std::error_code error;
    File file;
    file.path = fs::canonical(named_folder_ / relative, error);
    if (!error) file.bytes = fs::file_size(file.path, error);
    if (error) {
      return Error{ErrorCode::NotFound, what + "its weights are in " + named_folder_.string() +
                                            "/" + model::shortened(location) +
                                            ", which cannot be read: " + error.message()};
    }
    if (!is_inside(file.path, folders_.first) && !is_inside(file.path, folders_.second)) {
      return bad_model(what + quoted + " is a link that leads out of the model's folder");
    }
    files_.emplace(location, file);
    return file;
  }

  fs::path named_folder_{};
  std::pair<fs::path, fs::path> folders_{};
  std::map<std::string, File> files_{};
};

// ONNX Runtime takes no links out of the folder for a graph in memory, so that each location
// becomes the real file's, counted from the folder that holds them all and nothing that need not be
// in reach.
Result<fs::path> locate_from_common_folder(onnx::ModelProto& model, ExternalData& data) {
  fs::path folder;
  const auto found = for_each_tensor(model, [&](onnx::TensorProto& tensor) -> Result<void> {
    const auto file = data.find(tensor);
    if (!file) return file.error();
    if (!*file) return {};
    if (folder.empty()) folder = (*file)->parent_path();
    while (!is_inside(**file, folder)) folder = folder.parent_path();
    return {};
  });
  if (!found) return found.error();
  const auto located = for_each_tensor(model, [&](onnx::TensorProto& tensor) -> Result<void> {
    const auto file = data.find(tensor);
    if (!file) return file.error();
    if (!*file) return {};
    for (auto& entry : *tensor.mutable_external_data()) {
      if (entry.key() == "location") entry.set_value((*file)->lexically_relative(folder).string());
    }
    return {};
  });
  if (!located) return located.error();
  return folder;
}

// --- Cutting

// The names that a node takes, those that its inner graphs take from around them included.
void collect_inputs(const onnx::NodeProto& node, std::vector<std::string_view>& names);

void collect_inputs(const onnx::GraphProto& graph, std::vector<std::string_view>& names) {
  for (const onnx::NodeProto& node : graph.node()) collect_inputs(node, names);
  for (const onnx::ValueInfoProto& output : graph.output()) names.push_back(output.name());
}

void collect_inputs(const onnx::NodeProto& node, std::vector<std::string_view>& names) {
  names.insert(names.end(), node.input().begin(), node.input().end());
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) collect_inputs(attribute.g(), names);
    for (const onnx::GraphProto& graph : attribute.graphs()) collect_inputs(graph, names);
  }
}

template <class Field, class Keep>
void keep_if(Field& field, const Keep& keep) {
  int kept = 0;
  for (int i = 0; i < field.size(); ++i) {
    if (keep(i)) field.SwapElements(i, kept++);
  }
  field.DeleteSubrange(kept, field.size() - kept);
}

// Attention that is asked for its caches copies them. They are optional outputs of these operators
// in every version of ONNX Runtime, which is not so for GroupQueryAttention.
bool may_leave_caches_out(const onnx::NodeProto& node) {
  return node.domain() == kMicrosoft &&
         (node.op_type() == "MultiHeadAttention" || node.op_type() == "Attention");
}

void keep_output(onnx::GraphProto& graph, const std::string& name) {
  std::unordered_map<std::string_view, int> makers;
  for (int i = 0; i < graph.node_size(); ++i) {
    for (const std::string& output : graph.node(i).output()) makers.emplace(output, i);
  }
  std::vector<bool> needed_nodes(static_cast<std::size_t>(graph.node_size()));
  std::unordered_set<std::string_view> needed;
  std::vector<std::string_view> open{name};
  while (!open.empty()) {
    const std::string_view value = open.back();
    open.pop_back();
    if (value.empty() || !needed.insert(value).second) continue;
    const auto maker = makers.find(value);
    if (maker == makers.end()) continue;
    auto is_needed = needed_nodes[static_cast<std::size_t>(maker->second)];
    if (!is_needed) collect_inputs(graph.node(maker->second), open);
    is_needed = true;
  }
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (int i = 1; may_leave_caches_out(node) && i < node.output_size(); ++i) {
      if (needed.count(node.output(i)) == 0) node.set_output(i, "");
    }
  }
  keep_if(*graph.mutable_node(), [&](int i) { return needed_nodes[static_cast<std::size_t>(i)]; });
  keep_if(*graph.mutable_output(), [&](int i) { return graph.output(i).name() == name; });
}

bool has_half_weights(const onnx::GraphProto& graph) {
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (tensor.data_type() == onnx::TensorProto::FLOAT16) return true;
  }
  return false;
}

}  // namespace

Result<OnnxModel> read_strangers_file(const fs::path& file, const ChooseOutput& choose) {
  auto model = read_model(file);
  if (!model) return model.error();
  onnx::GraphProto& graph = *model->mutable_graph();
  OnnxModel out;
  out.file = file;
  out.half = has_half_weights(graph);

  const auto outputs = read_outputs(graph);
  const bool cut = outputs && outputs->size() > 1;
  ExternalData data(file);
  if (!cut) {
    const auto inside = for_each_tensor(*model, [&](onnx::TensorProto& tensor) -> Result<void> {
      const auto found = data.find(tensor);
      return found ? Result<void>() : found.error();
    });
    if (!inside) return inside.error();
    return out;
  }

  const auto output = choose(*outputs);
  if (!output) return output.error();
  keep_output(graph, *output);
  // What this version of ONNX does not know could name files that nobody looked at.
  model->DiscardUnknownFields();
  const auto folder = locate_from_common_folder(*model, data);
  if (!folder) return folder.error();
  // Longer locations may have made it larger than the file was.
  if (model->ByteSizeLong() > kModelBytesMax) return too_large(file, model->ByteSizeLong());
  out.model = model->SerializeAsString();
  out.data_folder = folder->string();
  return out;
}

}  // namespace textvec::graph
