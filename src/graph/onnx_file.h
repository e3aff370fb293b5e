// In: nodes and weights, one by one. Out: an ordinary ONNX model: a small .onnx and one file of
// external data beside it, or both in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "textvec/result.h"

namespace textvec::graph {

// An ONNX model on disk, or in memory with its external data beside it.
struct OnnxModel {
  std::filesystem::path file{};  // used when `model` is empty
  std::string model{};           // serialised ModelProto
  std::string data_name{};       // the external data's location, as the model names it
  std::vector<std::byte> data{};
  std::filesystem::path data_folder{};  // where files of external data are, when `model` has some
  bool half = false;                    // some weights are 16-bit floats
};

// One dimension of an input or output: a number, or a name for what varies.
using Dimension = std::variant<std::int64_t, std::string>;
using AttributeValue = std::variant<std::int64_t, float, std::vector<std::int64_t>, std::string>;
using Attribute = std::pair<std::string, AttributeValue>;

// Writes elements [begin, begin + out.size()) of a weight, counted row-major. Called in ascending
// order, whole rows at a time.
using Fill = std::function<void(std::size_t begin, std::span<float> out)>;

// The bytes in which values are kept, in place of the values. Gets whole units of them.
using Encode = std::function<void(std::span<const float> values, std::vector<std::byte>& out)>;

inline constexpr std::string_view kMicrosoft = "com.microsoft";  // ONNX Runtime's own operators
inline constexpr std::string_view kTextvec = "textvec";          // operators that only textvec has
// Of a file whose graph leaves padding out: its hidden states are [1, all tokens, width].
inline constexpr const char* kPackedProperty = "textvec.packed";
inline constexpr std::string_view kModelName = "model.onnx";
inline constexpr std::string_view kDataName = "model.onnx.data";

enum class TensorType : std::uint8_t { Float, Half, Int64, Bool };

// An input or output of a body.
struct BodyPort {
  std::string name{};
  TensorType type = TensorType::Float;
  std::vector<Dimension> shape{};
};

struct WrittenFiles {
  std::string model_sha256{};
  std::string data_sha256{};
  std::uint64_t data_bytes = 0;
};

class OnnxFile {
 public:
  explicit OnnxFile(std::string graph_name);
  ~OnnxFile();
  OnnxFile(OnnxFile&&) noexcept;
  OnnxFile& operator=(OnnxFile&&) noexcept;

  // Said of the file: ONNX calls it metadata.
  void property(const std::string& name, const std::string& value);
  void input_int64(const std::string& name, const std::vector<Dimension>& shape);
  void input_float(const std::string& name, const std::vector<Dimension>& shape);
  void output_float(const std::string& name, const std::vector<Dimension>& shape);
  // The node's name is that of its first output.
  void node(std::string_view operation, std::span<const std::string> inputs,
            std::span<const std::string> outputs, std::string_view domain = {},
            std::span<const Attribute> attributes = {});
  // Nodes from here to end_body() are a loop's or a branch's body, and see all that is outside it.
  // A body may hold others.
  void begin_body();
  // The ports are those of the ONNX operators Loop and If, in their order.
  void end_body(std::span<const BodyPort> inputs, std::span<const BodyPort> outputs);
  // A Loop with the body that was ended last.
  void loop(std::span<const std::string> inputs, std::span<const std::string> outputs);
  // An If with the two bodies that were ended last: that for true, then that for false.
  void branch(const std::string& condition, std::span<const std::string> outputs);
  // Tensor of `type`, Float or Half, kept outside the .onnx.
  void weight(const std::string& name, const std::vector<std::size_t>& shape, Fill fill,
              TensorType type = TensorType::Float);
  // uint8 tensor of `bytes` that `encode` makes of `elements` values, also outside the .onnx.
  void encoded_weight(const std::string& name, std::size_t bytes, std::size_t elements,
                      std::size_t unit_elements, Fill fill, Encode encode);
  // Small tensor inside the .onnx; an empty shape is a scalar. `type` is Float or Half, and nothing
  // may overflow it.
  void constant(const std::string& name, std::span<const std::int64_t> values,
                const std::vector<std::size_t>& shape);
  void constant(const std::string& name, std::span<const float> values,
                const std::vector<std::size_t>& shape, TensorType type);

  std::uint64_t data_bytes() const noexcept;  // of all weights, with alignment

  // Called with (bytes written, bytes in all) a few times a second at most per weight.
  using Progress = std::function<void(std::uint64_t, std::uint64_t)>;

  // Writes kModelName and kDataName into an existing folder and syncs both to the disk.
  // Errors: Internal (file and reason), after which the files are incomplete; BadModel (a weight
  // that a 16-bit float cannot hold).
  Result<WrittenFiles> write(const std::filesystem::path& folder, const Progress& progress) const;
  Result<OnnxModel> build_in_memory(const Progress& progress) const;

  // Its halves, for several graphs over the data of one: they must have the same weights in the
  // same order. Return the file's SHA-256. Errors: as write().
  Result<std::string> write_data(const std::filesystem::path& file, const Progress& progress) const;
  Result<std::string> write_model(const std::filesystem::path& file) const;
  std::string model_bytes() const;

 private:
  struct State;
  void add_weight(const std::string& name, const std::vector<std::size_t>& shape, int element_type,
                  std::uint64_t bytes, std::uint64_t* offset);
  std::unique_ptr<State> state_;
};

}  // namespace textvec::graph
