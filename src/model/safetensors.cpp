// In: *.safetensors files. Out: named tensors, mapped read-only. See safetensors.h.
#include "model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "model/file_times.h"
#include "model/json.h"

namespace textvec::model {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "the data are used as they lie there");

constexpr std::size_t kLengthBytes = 8;               // of the number that begins a file
constexpr std::size_t kHeaderBytesMax = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kNameBytesMax = 1000;
constexpr std::size_t kDimensionsMax = 32;
constexpr std::size_t kShardsMax = 1000;
constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

using Tensors = std::map<std::string, Tensor, std::less<>>;

struct TypeInfo {
  std::string_view name;
  std::size_t bytes;
  DataType type;
};

constexpr TypeInfo kTypes[] = {
    {"F32", 4, DataType::F32},           {"F16", 2, DataType::F16},
    {"BF16", 2, DataType::BF16},         {"F64", 8, DataType::Other},
    {"I64", 8, DataType::Other},         {"U64", 8, DataType::Other},
    {"I32", 4, DataType::Other},         {"U32", 4, DataType::Other},
    {"I16", 2, DataType::Other},         {"U16", 2, DataType::Other},
    {"I8", 1, DataType::Other},          {"U8", 1, DataType::Other},
    {"BOOL", 1, DataType::Other},        {"F8_E4M3", 1, DataType::Other},
    {"F8_E5M2", 1, DataType::Other},     {"F8_E8M0", 1, DataType::Other},
    {"F8_E4M3FNUZ", 1, DataType::Other}, {"F8_E5M2FNUZ", 1, DataType::Other}};

const TypeInfo* find_type(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const TypeInfo& type) { return type.name == name; });
  return found == std::end(kTypes) ? nullptr : found;
}

std::string shape_text(std::span<const std::size_t> shape) {
  std::string text = "[";
  for (const std::size_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

Error bad(std::string_view source, const std::string& what) {
  return {ErrorCode::BadModel, std::string(source) + ": " + what};
}

std::string name_too_long(std::string_view name) {
  return "a tensor's name has " + std::to_string(name.size()) + " bytes; at most " +
         std::to_string(kNameBytesMax) + " are read";
}

std::uint64_t read_length(std::span<const std::byte> image) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<std::uint64_t>(std::to_integer<std::uint8_t>(image[i])) << (8 * i);
  }
  return length;
}

// A list of at most `count_max` integers that are not negative; nullopt when it is anything else.
std::optional<std::vector<std::size_t>> sizes(const Json* json, std::size_t count_max) {
  if (json == nullptr || !json->is(Json::Kind::Array)) return std::nullopt;
  if (json->array().size() > count_max) return std::nullopt;
  std::vector<std::size_t> out;
  for (const Json& item : json->array()) {
    if (!item.is(Json::Kind::Integer) || item.integer() < 0) return std::nullopt;
    out.push_back(static_cast<std::size_t>(item.integer()));
  }
  return out;
}

// Bytes that a shape needs; nullopt when that number has no room in 64 bits.
std::optional<std::size_t> byte_count(std::span<const std::size_t> shape, std::size_t element) {
  std::size_t bytes = element;
  for (const std::size_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

Result<const TypeInfo*> parse_type(const std::string& subject, const Json& entry) {
  const Json* name = entry.find("dtype");
  if (name == nullptr || !name->is(Json::Kind::String)) {
    return Error{ErrorCode::BadModel, subject + " has no dtype"};
  }
  const TypeInfo* type = find_type(name->string());
  if (type != nullptr) return type;
  constexpr std::size_t kShownMax = 20;
  const std::string shown = name->string().size() <= kShownMax ? " \"" + name->string() + "\"" : "";
  return Error{ErrorCode::BadModel, subject + " has an unknown dtype" + shown};
}

Result<Tensor> parse_tensor(const std::string& name, const Json& entry,
                            std::span<const std::byte> data, std::string_view source) {
  if (name.size() > kNameBytesMax) {
    return bad(source, "a tensor's name has " + std::to_string(name.size()) + " bytes; at most " +
                           std::to_string(kNameBytesMax) + " are read");
  }
  const std::string subject = std::string(source) + ": tensor \"" + name + "\"";
  const auto type = parse_type(subject, entry);
  if (!type) return type.error();
  auto shape = sizes(entry.find("shape"), kDimensionsMax);
  if (!shape) {
    return Error{ErrorCode::BadModel, subject + " has no shape of at most " +
                                          std::to_string(kDimensionsMax) +
                                          " non-negative integers"};
  }
  const auto offsets = sizes(entry.find("data_offsets"), 2);
  if (!offsets || offsets->size() != 2) {
    return Error{ErrorCode::BadModel,
                 subject + " has no data_offsets of two non-negative integers"};
  }
  const std::size_t begin = (*offsets)[0];
  const std::size_t end = (*offsets)[1];
  if (begin > end || end > data.size()) {
    return Error{ErrorCode::BadModel, subject + " claims bytes " + std::to_string(begin) + " to " +
                                          std::to_string(end) + "; the file holds " +
                                          std::to_string(data.size()) + " bytes of data"};
  }
  const auto bytes = byte_count(*shape, (*type)->bytes);
  if (!bytes || *bytes != end - begin) {
    return Error{ErrorCode::BadModel, subject + " of dtype " + std::string((*type)->name) +
                                          " and shape " + shape_text(*shape) +
                                          " does not fit its " + std::to_string(end - begin) +
                                          " bytes"};
  }
  return Tensor{(*type)->type, std::move(*shape), data.subspan(begin, end - begin)};
}

// No byte belongs to two tensors, and none to nobody: what is left over would be a place to hide.
Result<void> check_coverage(const Tensors& tensors, std::span<const std::byte> data,
                            std::string_view source) {
  std::vector<std::pair<const std::byte*, std::size_t>> parts;
  for (const auto& [name, tensor] : tensors) {
    parts.emplace_back(tensor.bytes.data(), tensor.bytes.size());
  }
  std::sort(parts.begin(), parts.end());
  std::size_t position = 0;
  for (const auto& [begin, size] : parts) {
    const auto offset = static_cast<std::size_t>(begin - data.data());
    if (offset != position) {
      return bad(source, "the tensors overlap or leave a hole at byte " +
                             std::to_string(std::min(offset, position)) + " of the data");
    }
    position += size;
  }
  if (position != data.size()) {
    return bad(source, "the tensors end at byte " + std::to_string(position) + "; the file holds " +
                           std::to_string(data.size()) + " bytes of data");
  }
  return {};
}

// Every half is a float, so that nothing is rounded. Both ways are computed and a mask chooses,
// because compilers turn that, and no branch, into vector instructions. The way of the subnormal
// halves never meets a subnormal float, which a thread that flushes those to zero would lose.
float widen_f16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fU;
  const std::uint32_t mantissa = half & 0x3ffU;
  // 112 is the difference of the biases, 127 - 15. Infinity and NaN go from 31 to 255, twice that.
  const std::uint32_t wide_exponent =
      exponent + 112 + 112 * static_cast<std::uint32_t>(exponent == 31);
  const std::uint32_t normal = (wide_exponent << 23) | (mantissa << 13);
  const auto subnormal = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(mantissa)) * 0x1p-24F);
  const std::uint32_t mask = 0U - static_cast<std::uint32_t>(exponent == 0);
  return std::bit_cast<float>(sign | (subnormal & mask) | (normal & ~mask));
}

template <class T>
T load(const std::byte* bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

// Names in an index come from strangers, and must not lead out of the folder.
bool is_plain_name(std::string_view name) {
  constexpr std::string_view kEnding = ".safetensors";
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return name.size() > kEnding.size() && name.size() <= 255 && name.ends_with(kEnding) &&
         name.front() != '.' && name.find_first_not_of(kAllowed) == std::string_view::npos;
}

// The tensors of each shard.
using Shards = std::map<std::string, std::vector<std::string>>;

Result<Shards> read_index(const fs::path& file) {
  const auto json = read_json_file(file);
  if (!json) return json.error();
  const Json* weight_map = json->find("weight_map");
  if (weight_map == nullptr || !weight_map->is(Json::Kind::Object) ||
      weight_map->object().empty()) {
    return bad(file.string(), "weight_map is no object that names tensors");
  }
  Shards shards;
  for (const auto& [tensor, shard] : weight_map->object()) {
    if (tensor.size() > kNameBytesMax) return bad(file.string(), name_too_long(tensor));
    if (!shard.is(Json::Kind::String) || !is_plain_name(shard.string())) {
      return bad(file.string(), "tensor \"" + tensor +
                                    "\" has no plain name that ends in .safetensors as its file");
    }
    shards[shard.string()].push_back(tensor);
  }
  if (shards.size() > kShardsMax) {
    return bad(file.string(), "weight_map names " + std::to_string(shards.size()) +
                                  " files; at most " + std::to_string(kShardsMax) + " are read");
  }
  return shards;
}

}  // namespace

std::size_t Tensor::elements() const noexcept {
  std::size_t count = 1;
  for (const std::size_t size : shape) count *= size;
  return count;
}

void Tensor::copy_to(std::size_t begin, std::span<float> out) const noexcept {
  if (out.empty()) return;  // memcpy takes no null pointer, even for nothing
  const std::byte* source = bytes.data();
  switch (type) {
    case DataType::F32:
      std::memcpy(out.data(), source + begin * sizeof(float), out.size_bytes());
      return;
    case DataType::BF16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = std::bit_cast<float>(
            static_cast<std::uint32_t>(load<std::uint16_t>(source, begin + i)) << 16);
      }
      return;
    case DataType::F16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = widen_f16(load<std::uint16_t>(source, begin + i));
      }
      return;
    case DataType::Other:
      return;
  }
}

bool same_content(const struct stat& a, const struct stat& b) {
  const auto modified_a = modified_at(a);
  const auto modified_b = modified_at(b);
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         modified_a.tv_sec == modified_b.tv_sec && modified_a.tv_nsec == modified_b.tv_nsec;
}

// A whole file, read-only. As with every mapping, nobody may shorten the file while it is in use.
class Weights::Mapping {
 public:
  static Result<std::shared_ptr<const Mapping>> open(const fs::path& file) {
    // O_NONBLOCK: a pipe in the place of a file would otherwise wait for its writer.
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return failure(ErrorCode::NotFound, "cannot open ", file, errno);
    auto mapping = std::make_shared<Mapping>();
    const auto mapped = mapping->map(descriptor, file);
    ::close(descriptor);
    if (!mapped) return mapped.error();
    return std::shared_ptr<const Mapping>(std::move(mapping));
  }
  Mapping() = default;
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const fs::path& file() const { return file_; }

  Result<void> check_unchanged() const {
    struct stat now = {};
    if (::stat(file_.c_str(), &now) == 0 && same_content(status_, now)) return {};
    return bad(file_.string(), "was changed while it was being read");
  }

 private:
  static Error failure(ErrorCode code, const char* what, const fs::path& file, int reason) {
    return {code, what + file.string() + ": " + std::generic_category().message(reason)};
  }

  Result<void> map(int descriptor, const fs::path& file) {
    file_ = file;
    if (::fstat(descriptor, &status_) != 0) {
      return failure(ErrorCode::Internal, "cannot read the size of ", file, errno);
    }
    if (!S_ISREG(status_.st_mode)) return bad(file.string(), "is no regular file");
    if (status_.st_size == 0)
      return {};  // mmap refuses it, and the parser says why it is too short
    const auto size = static_cast<std::size_t>(status_.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) return failure(ErrorCode::Internal, "cannot map ", file, errno);
    data_ = data;
    size_ = size;
    return {};
  }

  fs::path file_{};
  struct stat status_ = {};
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

Result<Tensors> parse_safetensors(std::span<const std::byte> image, std::string_view source) {
  if (image.size() < kLengthBytes) {
    return bad(source,
               "has " + std::to_string(image.size()) + " bytes; a safetensors file has at least 8");
  }
  const std::uint64_t length = read_length(image);
  const std::size_t room = image.size() - kLengthBytes;
  if (length > kHeaderBytesMax || length > room) {
    return bad(source, "claims a header of " + std::to_string(length) +
                           " bytes; it takes at most " +
                           std::to_string(std::min(room, kHeaderBytesMax)));
  }
  const auto header_bytes = image.subspan(kLengthBytes, static_cast<std::size_t>(length));
  const auto data = image.subspan(kLengthBytes + header_bytes.size());
  const std::string_view text(reinterpret_cast<const char*>(header_bytes.data()),
                              header_bytes.size());
  const auto header = parse_json(text, std::string(source) + ": the header");
  if (!header) return header.error();
  if (!header->is(Json::Kind::Object)) return bad(source, "the header is no JSON object");

  Tensors tensors;
  for (const auto& [name, entry] : header->object()) {
    if (name == "__metadata__") continue;
    auto tensor = parse_tensor(name, entry, data, source);
    if (!tensor) return tensor.error();
    tensors.emplace(name, std::move(*tensor));
  }
  if (const auto covered = check_coverage(tensors, data, source); !covered) return covered.error();
  return tensors;
}

bool Weights::present(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kSingleName, error) || fs::exists(folder / kIndexName, error);
}

Result<void> Weights::add_file(const fs::path& file) {
  auto mapping = Mapping::open(file);
  if (!mapping) return mapping.error();
  auto tensors = parse_safetensors((*mapping)->bytes(), file.string());
  if (!tensors) return tensors.error();
  mappings_.push_back(std::move(*mapping));
  files_.push_back(file);
  for (auto& [name, tensor] : *tensors) {
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      return bad(file.string(), "tensor \"" + name + "\" is in another shard too");
    }
  }
  return {};
}

Result<Weights> Weights::open(const fs::path& folder) {
  Weights weights;
  std::error_code error;
  if (fs::exists(folder / kSingleName, error) || !fs::exists(folder / kIndexName, error)) {
    if (const auto added = weights.add_file(folder / kSingleName); !added) return added.error();
    return weights;
  }
  const auto shards = read_index(folder / kIndexName);
  if (!shards) return shards.error();
  weights.files_.push_back(folder / kIndexName);
  const auto misplaced = [&](const std::string& name, const std::string& shard, const char* what) {
    return bad((folder / shard).string(),
               "tensor \"" + name + "\" " + what + "; " + kIndexName + " says it is here");
  };
  for (const auto& [shard, names] : *shards) {
    for (const std::string& name : names) {
      if (weights.find(name) != nullptr) return misplaced(name, shard, "is in another shard");
    }
    if (const auto added = weights.add_file(folder / shard); !added) return added.error();
    for (const std::string& name : names) {
      if (weights.find(name) == nullptr) return misplaced(name, shard, "is missing");
    }
  }
  return weights;
}

Result<void> Weights::check_unchanged() const {
  for (const auto& mapping : mappings_) {
    if (auto unchanged = mapping->check_unchanged(); !unchanged) return unchanged;
  }
  return {};
}

const fs::path& Weights::file_of(const Tensor& tensor) const {
  for (const auto& mapping : mappings_) {
    const auto bytes = mapping->bytes();
    if (tensor.bytes.data() >= bytes.data() && tensor.bytes.data() < bytes.data() + bytes.size()) {
      return mapping->file();
    }
  }
  return files_.front();
}

Result<void> Weights::check_finite() const {
  constexpr std::size_t kStep = std::size_t{1} << 16;
  std::vector<float> values;
  for (const auto& [name, tensor] : tensors_) {
    if (tensor.type == DataType::Other) continue;
    const std::size_t elements = tensor.elements();
    for (std::size_t begin = 0; begin < elements; begin += kStep) {
      values.resize(std::min(kStep, elements - begin));
      tensor.copy_to(begin, values);
      const auto wrong = std::find_if(values.begin(), values.end(),
                                      [](float value) { return !std::isfinite(value); });
      if (wrong == values.end()) continue;
      const auto index = begin + static_cast<std::size_t>(wrong - values.begin());
      return bad(file_of(tensor).string(), "tensor \"" + name + "\" holds " +
                                               std::to_string(*wrong) + " at element " +
                                               std::to_string(index));
    }
  }
  return {};
}

const Tensor* Weights::find(std::string_view name) const noexcept {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::string Weights::prefix_of(std::string_view name,
                               std::initializer_list<std::string_view> prefixes) const {
  for (const std::string_view prefix : prefixes) {
    if (find(std::string(prefix).append(name)) != nullptr) return std::string(prefix);
  }
  return {};
}

Result<Tensor> Weights::get(std::string_view name, std::span<const std::size_t> shape) const {
  const Tensor* tensor = find(name);
  // Of shards the index: it says where the tensor should be.
  const std::string subject = files_.front().string() + ": tensor \"" + std::string(name) + "\"";
  if (tensor == nullptr) {
    return Error{ErrorCode::BadModel, subject + " is missing"};
  }
  if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
    return Error{ErrorCode::BadModel, subject + " has shape " + shape_text(tensor->shape) +
                                          "; the configuration wants " + shape_text(shape)};
  }
  if (tensor->type == DataType::Other) {
    return Error{ErrorCode::Unsupported, subject + " is neither F32 nor F16 nor BF16"};
  }
  return *tensor;
}

}  // namespace textvec::model
