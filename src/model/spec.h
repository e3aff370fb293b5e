// In: a model folder. Out: ModelSpec, everything that its configuration files say, checked.
// Read: modules.json, the pooling, dense and normalize folders that it names, config.json,
// sentence_bert_config.json (or a like name of old releases), config_sentence_transformers.json,
// tokenizer_config.json.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/rotary.h"
#include "textvec/embeddings.h"
#include "textvec/result.h"

namespace textvec::model {

// The transformer as config.json describes it, under one set of names for all families.
struct Transformer {
  std::string type{};  // model_type: "bert", "roberta", "distilbert", "qwen3", ...
  std::size_t vocabulary_size = 0;
  std::size_t hidden_size = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t positions_max = 0;    // rows of the position table; of decoders, the longest text
  std::size_t position_offset = 0;  // first row in use: pad_token_id + 1 for roberta, else 0
  std::size_t type_vocabulary_size = 0;  // token types; 0: the family has none
  std::size_t pad_token_id = 0;
  double norm_epsilon = 0;
  std::string activation{};  // "gelu", "gelu_new", "relu", "silu", ...

  // Of decoders only:
  std::size_t key_value_heads = 0;  // divides heads
  std::size_t head_size = 0;        // its product with heads need not be hidden_size
  bool attention_bias = false;      // of the projections around the attention
  Rotary rotary{};
};

enum class DenseActivation : unsigned char { Identity, Tanh };

// A 2_Dense module: pooled vector -> activation(weight * vector + bias).
struct DenseSpec {
  std::filesystem::path folder{};
  std::size_t in_features = 0;
  std::size_t out_features = 0;
  bool bias = true;
  DenseActivation activation = DenseActivation::Tanh;
};

struct ModelSpec {
  std::string name{};  // the folder's own name unless the caller knows better
  // Where config.json, weights and tokenizer lie: the folder given, or its subfolder that
  // modules.json names as the Transformer's ("0_Transformer").
  std::filesystem::path folder{};
  bool has_config = false;          // config.json is there; else only as-is files can run
  Transformer transformer{};        // filled for known families; else only what could be read
  bool known_architecture = false;  // transformer is complete: a graph can be compiled
  Pooling pooling = Pooling::Mean;  // never FromModel
  bool pooling_assumed = false;  // no pooling configuration was found: sentence-transformers' mean
  bool pool_prompt = true;       // false: prompt tokens are not pooled
  std::vector<DenseSpec> dense{};
  bool lower_case = false;  // sentence_bert_config.json do_lower_case
  // The token that must end every text where its last token is pooled; empty: whatever the
  // tokenizer's template says.
  std::string final_token{};
  std::size_t tokens_max = 0;  // special tokens included; 0: nothing states a limit
  std::size_t dimension = 0;   // of the final vector; 0: unknown (as-is file without a config)
  std::map<std::string, std::string> prompts{};
  std::string default_prompt{};  // a key of prompts, or empty
  std::string similarity = "cosine";
  std::vector<std::string> notes{};            // what was assumed, for ModelInfo::notes
  std::vector<std::filesystem::path> files{};  // configuration files that were read
};

// Errors: NotFound (folder or file named), BadModel (file and key named), Unsupported (a module or
// pooling mode that textvec does not run). A config.json whose model_type is unknown is not an
// error here: known_architecture stays false.
Result<ModelSpec> read_spec(const std::filesystem::path& folder);

// The families that can be compiled, sorted: bert, camembert, distilbert, qwen3, roberta,
// xlm-roberta.
const std::vector<std::string>& known_architectures();

}  // namespace textvec::model
