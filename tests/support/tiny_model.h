// A small BERT-family model with seeded random weights, written as a real model folder.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace textvec::testing {

struct TinyTensor {
  std::vector<std::size_t> shape{};
  std::vector<float> values{};
};

using TinyTensors = std::map<std::string, TinyTensor>;

inline std::string to_safetensors(const TinyTensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    std::string shape;
    for (const std::size_t size : tensor.shape) {
      shape += (shape.empty() ? "" : ",") + std::to_string(size);
    }
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.values.data()),
                tensor.values.size() * sizeof(float));
    header += (header.size() > 1 ? ",\"" : "\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[" +
              shape + "],\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(data.size()) + "]}";
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::string out(sizeof(length), '\0');
  std::memcpy(out.data(), &length, sizeof(length));  // little-endian machines only, as the format
  return out + header + data;
}

struct TinyShape {
  std::string type = "bert";
  std::size_t vocabulary_size = 40;
  std::size_t hidden_size = 16;
  std::size_t layers = 2;
  std::size_t heads = 4;
  std::size_t intermediate_size = 24;
  std::size_t positions_max = 34;
  std::size_t tokens_max = 32;
  std::string activation = "gelu";
};

class TinyModel {
 public:
  explicit TinyModel(TinyShape shape = {}) : shape_(std::move(shape)) {
    const std::size_t hidden = shape_.hidden_size;
    add("embeddings.word_embeddings.weight", {shape_.vocabulary_size, hidden});
    add("embeddings.position_embeddings.weight", {shape_.positions_max, hidden});
    if (!distil()) add("embeddings.token_type_embeddings.weight", {types(), hidden});
    add_pair("embeddings.LayerNorm", {hidden});
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
      const std::string base =
          (distil() ? "transformer.layer." : "encoder.layer.") + std::to_string(layer);
      for (const char* name : distil() ? kDistilSquare : kBertSquare) {
        add_pair(base + name, {hidden, hidden});
      }
      add_pair(base + (distil() ? ".ffn.lin1" : ".intermediate.dense"),
               {shape_.intermediate_size, hidden});
      add_pair(base + (distil() ? ".ffn.lin2" : ".output.dense"),
               {hidden, shape_.intermediate_size});
      add_pair(base + (distil() ? ".sa_layer_norm" : ".attention.output.LayerNorm"), {hidden});
      add_pair(base + (distil() ? ".output_layer_norm" : ".output.LayerNorm"), {hidden});
    }
  }

  const TinyShape& shape() const { return shape_; }
  TinyTensors& tensors() { return tensors_; }
  const TinyTensors& tensors() const { return tensors_; }
  bool distil() const { return shape_.type == "distilbert"; }
  bool roberta() const { return shape_.type.find("roberta") != std::string::npos; }

  std::string config() const {
    const auto number = [](std::size_t value) { return std::to_string(value); };
    if (distil()) {
      return "{\"model_type\":\"distilbert\",\"vocab_size\":" + number(shape_.vocabulary_size) +
             ",\"dim\":" + number(shape_.hidden_size) + ",\"n_layers\":" + number(shape_.layers) +
             ",\"n_heads\":" + number(shape_.heads) +
             ",\"hidden_dim\":" + number(shape_.intermediate_size) +
             ",\"max_position_embeddings\":" + number(shape_.positions_max) + ",\"activation\":\"" +
             shape_.activation + "\",\"pad_token_id\":0}";
    }
    return "{\"model_type\":\"" + shape_.type +
           "\",\"vocab_size\":" + number(shape_.vocabulary_size) +
           ",\"hidden_size\":" + number(shape_.hidden_size) +
           ",\"num_hidden_layers\":" + number(shape_.layers) +
           ",\"num_attention_heads\":" + number(shape_.heads) +
           ",\"intermediate_size\":" + number(shape_.intermediate_size) +
           ",\"max_position_embeddings\":" + number(shape_.positions_max) +
           ",\"type_vocab_size\":" + number(types()) + ",\"hidden_act\":\"" + shape_.activation +
           "\",\"layer_norm_eps\":1e-12,\"pad_token_id\":" + (roberta() ? "1" : "0") + "}";
  }

  // Words w0 ... as ids, by a WordLevel tokenizer with [CLS] = 2 and [SEP] = 3 around.
  std::string tokenizer() const {
    std::string vocabulary = "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3";
    for (std::size_t id = 4; id < shape_.vocabulary_size; ++id) {
      vocabulary += ",\"w" + std::to_string(id) + "\":" + std::to_string(id);
    }
    return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)"
           R"({"id":2,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,)"
           R"("normalized":false,"special":true},)"
           R"({"id":3,"content":"[SEP]","single_word":false,"lstrip":false,"rstrip":false,)"
           R"("normalized":false,"special":true}],"normalizer":null,)"
           R"("pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":)"
           R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},)"
           R"({"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],)"
           R"("pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],)"
           R"("special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},)"
           R"("[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}},"decoder":null,)"
           R"("model":{"type":"WordLevel","unk_token":"[UNK]","vocab":{)" +
           vocabulary + "}}}";
  }

  // A sentence-transformers folder with the given key of 1_Pooling set.
  void write(const std::filesystem::path& folder,
             const std::string& pooling = "pooling_mode_mean_tokens") const {
    write_file(folder / "config.json", config());
    write_file(folder / "tokenizer.json", tokenizer());
    write_file(folder / "model.safetensors", to_safetensors(tensors_));
    write_file(
        folder / "sentence_bert_config.json",
        "{\"max_seq_length\":" + std::to_string(shape_.tokens_max) + ",\"do_lower_case\":false}");
    write_file(
        folder / "modules.json",
        R"([{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},)"
        R"({"idx":1,"name":"1","path":"1_Pooling",)"
        R"("type":"sentence_transformers.models.Pooling"}])");
    write_file(folder / "1_Pooling/config.json",
               "{\"word_embedding_dimension\":" + std::to_string(shape_.hidden_size) + ",\"" +
                   pooling + "\":true}");
  }

 private:
  static constexpr const char* kBertSquare[] = {".attention.self.query", ".attention.self.key",
                                                ".attention.self.value", ".attention.output.dense"};
  static constexpr const char* kDistilSquare[] = {".attention.q_lin", ".attention.k_lin",
                                                  ".attention.v_lin", ".attention.out_lin"};

  std::size_t types() const { return roberta() ? 1 : 2; }

  void add(const std::string& name, std::vector<std::size_t> shape) {
    std::size_t count = 1;
    for (const std::size_t size : shape) count *= size;
    TinyTensor tensor{std::move(shape), std::vector<float>(count)};
    // Wide enough that a wrong operand shows in every digit.
    std::normal_distribution<float> normal(0.0F, 0.4F);
    for (float& value : tensor.values) value = normal(random_);
    tensors_.emplace(name, std::move(tensor));
  }

  void add_pair(const std::string& base, std::vector<std::size_t> shape) {
    add(base + ".bias", {shape.front()});
    add(base + ".weight", std::move(shape));
  }

  TinyShape shape_;
  std::mt19937 random_{20240607};
  TinyTensors tensors_{};
};

}  // namespace textvec::testing
