// In: any bytes, as an .onnx file beside a file of weights. Property: an error, or a graph that
// ONNX reads with the one output that was chosen, whose external data is in the model's folder.
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/scratch.h"
#include "graph/strangers_file.h"

namespace textvec::fuzz {
namespace {

using graph::Port;

// Two files are in the folder, and a tensor's data may be in either.
void check_location(const onnx::TensorProto& tensor, const graph::OnnxModel& model,
                    const std::filesystem::path& folder) {
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return;
  std::string location;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
  }
  check(std::filesystem::equivalent((model.data_folder / location).parent_path(), folder),
        "external data is in the model's folder");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto folder = scratch() / "strangers";
  const auto file = folder / "model.onnx";
  testing::write_file(folder / "weights", "0123456789abcdef");
  testing::write_file(file, {reinterpret_cast<const char*>(data), size});
  std::string chosen;
  const auto read = graph::read_strangers_file(
      file, [&](const std::vector<Port>& outputs) -> Result<std::string> {
        check(outputs.size() > 1, "there is something to choose");
        chosen = outputs.back().name;
        return chosen;
      });
  if (!read) {
    check_error(read.error(), {ErrorCode::BadModel, ErrorCode::NotFound});
    return 0;
  }
  check(read->file == file, "the file is named");
  if (read->model.empty()) return 0;
  onnx::ModelProto model;
  check(model.ParseFromString(read->model), "ONNX reads it");
  check(model.graph().output_size() > 0, "an output is left");
  for (const auto& output : model.graph().output()) {
    check(output.name() == chosen, "no other output is left");
  }
  for (const auto& tensor : model.graph().initializer()) check_location(tensor, *read, folder);
  return 0;
}

}  // namespace textvec::fuzz
