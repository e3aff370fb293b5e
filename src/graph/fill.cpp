// In: a tensor of the model's files, or numbers. Out: what OnnxFile asks for. See fill.h.
#include "graph/fill.h"

#include <algorithm>
#include <utility>

namespace textvec::graph {

const model::Tensor* find_tensor(const model::Weights& weights, const std::string& name,
                                 const std::vector<std::size_t>& shape, Result<void>& status) {
  if (!status) return nullptr;
  const auto tensor = weights.get(name, shape);
  if (tensor) return weights.find(name);
  status = tensor.error();
  return nullptr;
}

// Works on strips of 16 columns: one cache line of the result.
Fill transposed(const model::Tensor& tensor) {
  const std::size_t columns_out = tensor.shape[0];
  const std::size_t columns_in = tensor.shape[1];
  return [tensor, columns_out, columns_in](std::size_t begin, std::span<float> out) {
    const std::size_t first = begin / columns_out;
    const std::size_t rows = out.size() / columns_out;
    std::vector<float> strip(16 * rows);
    for (std::size_t column = 0; column < columns_out; column += 16) {
      const std::size_t width = std::min<std::size_t>(16, columns_out - column);
      for (std::size_t i = 0; i < width; ++i) {
        tensor.copy_to((column + i) * columns_in + first,
                       std::span<float>(strip).subspan(i * rows, rows));
      }
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = 0; i < width; ++i) {
          out[row * columns_out + column + i] = strip[i * rows + row];
        }
      }
    }
  };
}

Fill rotary_table(std::vector<float> frequencies, float scale, double (*function)(double)) {
  return [frequencies = std::move(frequencies), scale, function](std::size_t begin,
                                                                 std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t position = (begin + i) / frequencies.size();
      const float frequency = frequencies[(begin + i) % frequencies.size()];
      const float angle = static_cast<float>(position) * frequency;
      out[i] = static_cast<float>(function(static_cast<double>(angle))) * scale;
    }
  };
}

Fill copied(const model::Tensor& tensor) {
  return [tensor](std::size_t begin, std::span<float> out) { tensor.copy_to(begin, out); };
}

}  // namespace textvec::graph
