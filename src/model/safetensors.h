// In: *.safetensors files. Out: named tensors, mapped read-only, every size and offset checked
// against the file before anything is read.
// Format: u64 little-endian header length, JSON header, data (github.com/huggingface/safetensors).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/result.h"

namespace textvec::model {

enum class DataType : std::uint8_t { F32, F16, BF16, Other };  // Other: kept, but not readable

// A view into a mapped file; valid as long as the Weights that gave it.
struct Tensor {
  DataType type = DataType::Other;
  std::vector<std::size_t> shape{};
  std::span<const std::byte> bytes{};

  std::size_t elements() const noexcept;
  // Widens elements [begin, begin + out.size()) to float; exact. REQUIRES: type != Other, in range.
  void copy_to(std::size_t begin, std::span<float> out) const noexcept;
};

class Weights {
 public:
  // Opens folder/model.safetensors, or the shards that folder/model.safetensors.index.json names.
  // Errors: NotFound (the missing file named), BadModel (file, tensor and limit named).
  static Result<Weights> open(const std::filesystem::path& folder);
  // Whether open() would find something to open.
  static bool present(const std::filesystem::path& folder);

  // nullptr when there is no such tensor.
  const Tensor* find(std::string_view name) const noexcept;
  // The first of `prefixes` before which there is a tensor `name`; empty when none is, so that the
  // missing tensor is reported under its plain name.
  std::string prefix_of(std::string_view name,
                        std::initializer_list<std::string_view> prefixes) const;
  // The tensor with exactly this shape. BadModel naming file, tensor, shape found and shape wanted;
  // Unsupported when its type is Other.
  Result<Tensor> get(std::string_view name, std::span<const std::size_t> shape) const;
  const std::map<std::string, Tensor, std::less<>>& tensors() const noexcept { return tensors_; }
  // The files behind the tensors, index file included, in a fixed order: inputs of cache keys.
  const std::vector<std::filesystem::path>& files() const noexcept { return files_; }
  // BadModel naming the first tensor with a NaN or an infinity, and the element. Reads everything.
  Result<void> check_finite() const;
  // BadModel naming the tensors' file that was written or replaced since open().
  Result<void> check_unchanged() const;

 private:
  class Mapping;
  Result<void> add_file(const std::filesystem::path& file);
  const std::filesystem::path& file_of(const Tensor& tensor) const;

  std::vector<std::shared_ptr<const Mapping>> mappings_{};
  std::map<std::string, Tensor, std::less<>> tensors_{};
  std::vector<std::filesystem::path> files_{};
};

// Parses one file image; `source` names it in errors. The tensors view `image`. For tests and
// fuzzers.
Result<std::map<std::string, Tensor, std::less<>>> parse_safetensors(
    std::span<const std::byte> image, std::string_view source);

}  // namespace textvec::model
