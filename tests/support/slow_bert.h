// The slow, obvious twin of the fused graph: BERT's encoder in double, one text at a time, written
// from the published formulas (Devlin et al. 2018; Vaswani et al. 2017).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <vector>

#include "support/tiny_model.h"

namespace textvec::testing {

using Matrix = std::vector<std::vector<double>>;

class SlowBert {
 public:
  explicit SlowBert(const TinyModel& model) : model_(model) {}

  // Hidden states [tokens, hidden_size].
  Matrix run(const std::vector<std::uint32_t>& ids) const {
    const auto& shape = model_.shape();
    std::size_t counted = 0;
    Matrix x;
    for (const std::uint32_t id : ids) {
      // roberta: padding, id 1, has row 1 of the positions and is not counted.
      const std::size_t position = !model_.roberta() ? x.size() : id == 1 ? 1 : 1 + ++counted;
      std::vector<double> row(shape.hidden_size);
      for (std::size_t column = 0; column < shape.hidden_size; ++column) {
        row[column] = at("embeddings.word_embeddings.weight", id, column) +
                      at("embeddings.position_embeddings.weight", position, column);
        if (!model_.distil())
          row[column] += at("embeddings.token_type_embeddings.weight", 0, column);
      }
      x.push_back(std::move(row));
    }
    x = norm(x, "embeddings.LayerNorm");
    for (std::size_t layer = 0; layer < shape.layers; ++layer) x = encode(x, layer);
    return x;
  }

 private:
  double at(const std::string& name, std::size_t row, std::size_t column) const {
    const TinyTensor& tensor = model_.tensors().at(name);
    const std::size_t width = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    return static_cast<double>(tensor.values[row * width + column]);
  }

  Matrix linear(const Matrix& x, const std::string& base) const {
    const std::size_t out_features = model_.tensors().at(base + ".bias").shape[0];
    Matrix out;
    for (const auto& row : x) {
      std::vector<double> values(out_features);
      for (std::size_t i = 0; i < out_features; ++i) {
        values[i] = at(base + ".bias", i, 0);
        for (std::size_t j = 0; j < row.size(); ++j)
          values[i] += at(base + ".weight", i, j) * row[j];
      }
      out.push_back(std::move(values));
    }
    return out;
  }

  Matrix norm(Matrix x, const std::string& base) const {
    for (auto& row : x) {
      const auto size = static_cast<double>(row.size());
      double mean = 0;
      for (const double value : row) mean += value / size;
      double variance = 0;
      for (const double value : row) variance += (value - mean) * (value - mean) / size;
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = (row[i] - mean) / std::sqrt(variance + 1e-12) * at(base + ".weight", i, 0) +
                 at(base + ".bias", i, 0);
      }
    }
    return x;
  }

  double activate(double x) const {
    if (model_.shape().activation == "relu") return std::max(x, 0.0);
    if (model_.shape().activation == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1 + std::tanh(inner));
  }

  Matrix attend(const Matrix& q, const Matrix& k, const Matrix& v) const {
    const std::size_t heads = model_.shape().heads;
    const std::size_t size = q.front().size() / heads;
    Matrix out(q.size(), std::vector<double>(q.front().size(), 0.0));
    for (std::size_t head = 0; head < heads; ++head) {
      for (std::size_t i = 0; i < q.size(); ++i) {
        std::vector<double> weights(k.size());
        double total = 0;
        for (std::size_t j = 0; j < k.size(); ++j) {
          double score = 0;
          for (std::size_t c = head * size; c < (head + 1) * size; ++c) score += q[i][c] * k[j][c];
          weights[j] = std::exp(score / std::sqrt(static_cast<double>(size)));
          total += weights[j];
        }
        for (std::size_t j = 0; j < k.size(); ++j) {
          for (std::size_t c = head * size; c < (head + 1) * size; ++c) {
            out[i][c] += weights[j] / total * v[j][c];
          }
        }
      }
    }
    return out;
  }

  static Matrix sum(Matrix a, const Matrix& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (std::size_t j = 0; j < a[i].size(); ++j) a[i][j] += b[i][j];
    }
    return a;
  }

  Matrix encode(const Matrix& x, std::size_t layer) const {
    const bool distil = model_.distil();
    const std::string base =
        (distil ? "transformer.layer." : "encoder.layer.") + std::to_string(layer);
    const std::string attention = distil ? ".attention." : ".attention.self.";
    const Matrix q = linear(x, base + attention + (distil ? "q_lin" : "query"));
    const Matrix k = linear(x, base + attention + (distil ? "k_lin" : "key"));
    const Matrix v = linear(x, base + attention + (distil ? "v_lin" : "value"));
    const Matrix projected =
        linear(attend(q, k, v), base + (distil ? ".attention.out_lin" : ".attention.output.dense"));
    const Matrix middle =
        norm(sum(x, projected), base + (distil ? ".sa_layer_norm" : ".attention.output.LayerNorm"));
    Matrix wide = linear(middle, base + (distil ? ".ffn.lin1" : ".intermediate.dense"));
    for (auto& row : wide) {
      for (double& value : row) value = activate(value);
    }
    return norm(sum(middle, linear(wide, base + (distil ? ".ffn.lin2" : ".output.dense"))),
                base + (distil ? ".output_layer_norm" : ".output.LayerNorm"));
  }

  const TinyModel& model_;
};

}  // namespace textvec::testing
