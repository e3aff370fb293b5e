// A small Qwen3 model with seeded random weights, written as a real model folder, and its slow
// twin: the formulas of transformers' Qwen3Model in doubles, one text at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/tiny_model.h"

namespace textvec::testing {

struct TinyQwen3Shape {
  std::size_t vocabulary_size = 40;
  std::size_t hidden_size = 24;
  std::size_t layers = 2;
  std::size_t heads = 4;
  std::size_t key_value_heads = 2;
  std::size_t head_size = 16;  // its product with heads is not hidden_size
  std::size_t intermediate_size = 40;
  std::size_t positions_max = 256;
  double theta = 1000;
  bool attention_bias = false;
  std::string prefix{};  // before every tensor's name
};

class TinyQwen3 {
 public:
  explicit TinyQwen3(TinyQwen3Shape shape = {}) : shape_(std::move(shape)) {
    const std::size_t hidden = shape_.hidden_size;
    const std::size_t wide = shape_.heads * shape_.head_size;
    const std::size_t narrow = shape_.key_value_heads * shape_.head_size;
    add("embed_tokens.weight", {shape_.vocabulary_size, hidden});
    add("norm.weight", {hidden});
    for (std::size_t index = 0; index < shape_.layers; ++index) {
      const std::string base = "layers." + std::to_string(index) + ".";
      add(base + "input_layernorm.weight", {hidden});
      add(base + "post_attention_layernorm.weight", {hidden});
      add(base + "self_attn.q_norm.weight", {shape_.head_size});
      add(base + "self_attn.k_norm.weight", {shape_.head_size});
      add_linear(base + "self_attn.q_proj", hidden, wide, shape_.attention_bias);
      add_linear(base + "self_attn.k_proj", hidden, narrow, shape_.attention_bias);
      add_linear(base + "self_attn.v_proj", hidden, narrow, shape_.attention_bias);
      add_linear(base + "self_attn.o_proj", wide, hidden, shape_.attention_bias);
      add_linear(base + "mlp.gate_proj", hidden, shape_.intermediate_size, false);
      add_linear(base + "mlp.up_proj", hidden, shape_.intermediate_size, false);
      add_linear(base + "mlp.down_proj", shape_.intermediate_size, hidden, false);
    }
  }

  const TinyQwen3Shape& shape() const { return shape_; }
  TinyTensors& tensors() { return tensors_; }
  const TinyTensor& tensor(const std::string& name) const {
    return tensors_.at(shape_.prefix + name);
  }

  std::string config() const {
    const auto number = [](auto value) { return std::to_string(value); };
    return "{\"model_type\":\"qwen3\",\"architectures\":[\"Qwen3ForCausalLM\"],\"vocab_size\":" +
           number(shape_.vocabulary_size) + ",\"hidden_size\":" + number(shape_.hidden_size) +
           ",\"num_hidden_layers\":" + number(shape_.layers) +
           ",\"num_attention_heads\":" + number(shape_.heads) +
           ",\"num_key_value_heads\":" + number(shape_.key_value_heads) +
           ",\"head_dim\":" + number(shape_.head_size) +
           ",\"intermediate_size\":" + number(shape_.intermediate_size) +
           ",\"max_position_embeddings\":" + number(shape_.positions_max) +
           ",\"rope_theta\":" + number(shape_.theta) +
           ",\"attention_bias\":" + (shape_.attention_bias ? "true" : "false") +
           ",\"rms_norm_eps\":0.001,\"hidden_act\":\"silu\"}";
  }

  // config.json, weights, and a tokenizer of whole words without special tokens around a text;
  // <|endoftext|> is its token 0.
  void write(const std::filesystem::path& folder) const {
    write_file(folder / "config.json", config());
    write_file(folder / "model.safetensors", to_safetensors(tensors_));
    std::string vocabulary = R"("<|endoftext|>":0,"[UNK]":1)";
    for (std::size_t id = 2; id < shape_.vocabulary_size; ++id) {
      vocabulary += ",\"w" + std::to_string(id) + "\":" + std::to_string(id);
    }
    write_file(folder / "tokenizer.json",
               R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)"
               R"({"id":0,"content":"<|endoftext|>","single_word":false,"lstrip":false,)"
               R"("rstrip":false,"normalized":false,"special":true}],"normalizer":null,)"
               R"("pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":null,)"
               R"("decoder":null,"model":{"type":"WordLevel","unk_token":"[UNK]","vocab":{)" +
                   vocabulary + "}}}");
  }

 private:
  void add(const std::string& name, std::vector<std::size_t> shape) {
    std::size_t count = 1;
    for (const std::size_t size : shape) count *= size;
    TinyTensor tensor{std::move(shape), std::vector<float>(count)};
    std::normal_distribution<float> normal(0.0F, 0.3F);
    for (float& value : tensor.values) value = normal(random_);
    tensors_.emplace(shape_.prefix + name, std::move(tensor));
  }

  void add_linear(const std::string& base, std::size_t in, std::size_t out, bool bias) {
    add(base + ".weight", {out, in});
    if (bias) add(base + ".bias", {out});
  }

  TinyQwen3Shape shape_;
  std::mt19937 random_{20251125};
  TinyTensors tensors_{};
};

class SlowQwen3 {
 public:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;

  explicit SlowQwen3(const TinyQwen3& tiny) : tiny_(tiny), shape_(tiny.shape()) {}

  // The last hidden states of one text.
  Rows run(const std::vector<std::uint32_t>& ids) const {
    Rows x;
    for (const std::uint32_t id : ids) x.push_back(row_of("embed_tokens.weight", id));
    for (std::size_t index = 0; index < shape_.layers; ++index) {
      layer("layers." + std::to_string(index) + ".", x);
    }
    for (Row& row : x) row = norm(row, "norm.weight");
    return x;
  }

 private:
  Row row_of(const std::string& name, std::size_t index) const {
    const TinyTensor& tensor = tiny_.tensor(name);
    const auto begin = tensor.values.begin() + static_cast<std::ptrdiff_t>(index * tensor.shape[1]);
    return {begin, begin + static_cast<std::ptrdiff_t>(tensor.shape[1])};
  }

  Row norm(const Row& x, const std::string& name) const {
    const TinyTensor& weight = tiny_.tensor(name);
    double sum = 0;
    for (const double value : x) sum += value * value;
    const double scale = 1 / std::sqrt(sum / static_cast<double>(x.size()) + 0.001);
    Row out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = x[i] * scale * static_cast<double>(weight.values[i]);
    }
    return out;
  }

  Row linear(const Row& x, const std::string& base, bool bias) const {
    const TinyTensor& weight = tiny_.tensor(base + ".weight");
    Row out(weight.shape[0]);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = bias ? static_cast<double>(tiny_.tensor(base + ".bias").values[i]) : 0.0;
      for (std::size_t j = 0; j < x.size(); ++j) {
        out[i] += static_cast<double>(weight.values[i * x.size() + j]) * x[j];
      }
    }
    return out;
  }

  // Heads one after the other, each normalised and turned by its position.
  Row turned_heads(const Row& x, const std::string& weight, std::size_t position) const {
    const std::size_t half = shape_.head_size / 2;
    Row out;
    for (std::size_t begin = 0; begin < x.size(); begin += shape_.head_size) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(begin);
      const Row head =
          norm(Row(first, first + static_cast<std::ptrdiff_t>(shape_.head_size)), weight);
      Row turned(head.size());
      for (std::size_t i = 0; i < half; ++i) {
        const double exponent = static_cast<double>(2 * i) / static_cast<double>(head.size());
        const double angle = static_cast<double>(position) / std::pow(shape_.theta, exponent);
        turned[i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
        turned[i + half] = head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
      }
      out.insert(out.end(), turned.begin(), turned.end());
    }
    return out;
  }

  Row attend(std::size_t token, const Rows& q, const Rows& k, const Rows& v) const {
    const std::size_t size = shape_.head_size;
    const std::size_t group = shape_.heads / shape_.key_value_heads;
    Row out(shape_.heads * size, 0.0);
    for (std::size_t head = 0; head < shape_.heads; ++head) {
      const std::size_t shared = head / group * size;
      Row scores(token + 1);
      double sum = 0;
      for (std::size_t other = 0; other <= token; ++other) {
        double dot = 0;
        for (std::size_t i = 0; i < size; ++i) {
          dot += q[token][head * size + i] * k[other][shared + i];
        }
        scores[other] = std::exp(dot / std::sqrt(static_cast<double>(size)));
        sum += scores[other];
      }
      for (std::size_t other = 0; other <= token; ++other) {
        for (std::size_t i = 0; i < size; ++i) {
          out[head * size + i] += scores[other] / sum * v[other][shared + i];
        }
      }
    }
    return out;
  }

  void layer(const std::string& base, Rows& x) const {
    const bool bias = shape_.attention_bias;
    Rows q;
    Rows k;
    Rows v;
    for (std::size_t token = 0; token < x.size(); ++token) {
      const Row h = norm(x[token], base + "input_layernorm.weight");
      q.push_back(turned_heads(linear(h, base + "self_attn.q_proj", bias),
                               base + "self_attn.q_norm.weight", token));
      k.push_back(turned_heads(linear(h, base + "self_attn.k_proj", bias),
                               base + "self_attn.k_norm.weight", token));
      v.push_back(linear(h, base + "self_attn.v_proj", bias));
    }
    for (std::size_t token = 0; token < x.size(); ++token) {
      const Row attended = linear(attend(token, q, k, v), base + "self_attn.o_proj", bias);
      for (std::size_t i = 0; i < attended.size(); ++i) x[token][i] += attended[i];
      const Row h = norm(x[token], base + "post_attention_layernorm.weight");
      Row inner = linear(h, base + "mlp.gate_proj", false);
      const Row up = linear(h, base + "mlp.up_proj", false);
      for (std::size_t i = 0; i < inner.size(); ++i) {
        inner[i] = inner[i] / (1 + std::exp(-inner[i])) * up[i];
      }
      const Row down = linear(inner, base + "mlp.down_proj", false);
      for (std::size_t i = 0; i < down.size(); ++i) x[token][i] += down[i];
    }
  }

  const TinyQwen3& tiny_;
  const TinyQwen3Shape& shape_;
};

}  // namespace textvec::testing
