// In: any bytes, as a *.safetensors file, and once more with a header length that fits. Property:
// every byte of the data belongs to exactly one tensor, as many as its shape needs, all readable.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "fuzz/check.h"
#include "model/safetensors.h"

namespace textvec::fuzz {
namespace {

using model::DataType;
using model::Tensor;

constexpr std::size_t kLengthBytes = 8;

bool is_size_of(const Tensor& tensor, std::size_t bytes) {
  switch (tensor.type) {
    case DataType::F32:
      return bytes == 4;
    case DataType::F16:
    case DataType::BF16:
      return bytes == 2;
    case DataType::Other:
      return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
  }
  return false;
}

void check_size(const Tensor& tensor) {
  std::size_t elements = 1;
  for (const std::size_t size : tensor.shape) {
    check(size == 0 || elements <= std::numeric_limits<std::size_t>::max() / size,
          "the number of elements has room in 64 bits");
    elements *= size;
  }
  check(tensor.elements() == elements, "elements() is the product of the shape");
  if (elements == 0) return check(tensor.bytes.empty(), "no elements need no bytes");
  check(tensor.bytes.size() % elements == 0 && is_size_of(tensor, tensor.bytes.size() / elements),
        "shape times element size is the number of bytes");
}

// All of a readable tensor, and its second half alone.
void check_copy(const Tensor& tensor) {
  if (tensor.type == DataType::Other) return;
  std::vector<float> whole(tensor.elements());
  tensor.copy_to(0, whole);
  const std::size_t middle = whole.size() / 2;
  std::vector<float> half(whole.size() - middle);
  tensor.copy_to(middle, half);
  check(half.empty() ||
            std::memcmp(half.data(), whole.data() + middle, half.size() * sizeof(float)) == 0,
        "a part is copied as the whole is");
}

void check_image(std::span<const std::byte> image) {
  const auto tensors = model::parse_safetensors(image, "input");
  if (!tensors) return check_error(tensors.error(), {ErrorCode::BadModel});
  std::uint64_t header = 0;
  std::memcpy(&header, image.data(), kLengthBytes);
  const auto data = image.subspan(kLengthBytes + header);
  std::vector<int> owners(data.size(), 0);
  for (const auto& [name, tensor] : *tensors) {
    check_size(tensor);
    if (tensor.bytes.empty()) continue;
    check(tensor.bytes.data() >= data.data() &&
              tensor.bytes.data() + tensor.bytes.size() <= data.data() + data.size(),
          "a tensor lies inside the data");
    const auto begin = owners.begin() + (tensor.bytes.data() - data.data());
    std::for_each(begin, begin + static_cast<std::ptrdiff_t>(tensor.bytes.size()),
                  [](int& count) { ++count; });
    check_copy(tensor);
  }
  check(std::all_of(owners.begin(), owners.end(), [](int count) { return count == 1; }),
        "every byte of the data belongs to one tensor");
}

// A changed header seldom has the length that stands before it; this one has: up to the last brace.
std::string with_fitting_length(std::string image) {
  const std::size_t brace = image.rfind('}');
  if (brace == std::string::npos || brace < kLengthBytes) return {};
  const std::uint64_t length = brace + 1 - kLengthBytes;
  std::memcpy(image.data(), &length, kLengthBytes);
  return image;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check_image(std::as_bytes(std::span(data, size)));
  const std::string mended = with_fitting_length({reinterpret_cast<const char*>(data), size});
  check_image(std::as_bytes(std::span(mended)));
  return 0;
}

}  // namespace textvec::fuzz
