// In: a ModelSpec of the BERT family. Out: its encoder, as blocks. See bert.h.
#include "graph/bert.h"

#include <array>
#include <string>

namespace textvec::graph {
namespace {

// What one family calls its tensors, below the prefix. The layer's number stands between `layers`
// and the rest.
struct FamilyNames {
  const char* layers;
  const char* query;
  const char* key;
  const char* value;
  const char* attention_out;
  const char* attention_norm;
  const char* intermediate;
  const char* output;
  const char* output_norm;
};

// transformers' BertModel; RobertaModel and XLMRobertaModel copy it name for name.
constexpr FamilyNames kBert{
    "encoder.layer.",        ".attention.self.query",   ".attention.self.key",
    ".attention.self.value", ".attention.output.dense", ".attention.output.LayerNorm",
    ".intermediate.dense",   ".output.dense",           ".output.LayerNorm"};

constexpr FamilyNames kDistilBert{"transformer.layer.", ".attention.q_lin",   ".attention.k_lin",
                                  ".attention.v_lin",   ".attention.out_lin", ".sa_layer_norm",
                                  ".ffn.lin1",          ".ffn.lin2",          ".output_layer_norm"};

constexpr const char* kTokens = "embeddings.word_embeddings.weight";

NormNames norm(const std::string& base, double epsilon) {
  return {base + ".weight", base + ".bias", epsilon};
}

LinearNames linear(const std::string& base, std::size_t in_features, std::size_t out_features) {
  return {base + ".weight", base + ".bias", in_features, out_features};
}

EmbeddingNames embedding_names(const model::Transformer& transformer, const std::string& prefix) {
  EmbeddingNames names;
  names.tokens = prefix + kTokens;
  names.positions = prefix + "embeddings.position_embeddings.weight";
  if (transformer.type_vocabulary_size > 0) {
    names.types = prefix + "embeddings.token_type_embeddings.weight";
  }
  names.vocabulary_size = transformer.vocabulary_size;
  names.positions_max = transformer.positions_max;
  names.position_offset = transformer.position_offset;
  names.type_vocabulary_size = transformer.type_vocabulary_size;
  names.hidden_size = transformer.hidden_size;
  names.norm = norm(prefix + "embeddings.LayerNorm", transformer.norm_epsilon);
  return names;
}

}  // namespace

void build_bert(const model::Transformer& transformer, const model::Weights& weights,
                Blocks& blocks) {
  const std::string prefix = weights.prefix_of(
      kTokens, {"", "bert.", "roberta.", "distilbert.", "model.", "0.auto_model."});
  const FamilyNames& family = transformer.type == "distilbert" ? kDistilBert : kBert;
  const std::size_t hidden = transformer.hidden_size;
  const std::size_t wide = transformer.intermediate_size;
  const double epsilon = transformer.norm_epsilon;

  Edge x = blocks.embeddings(embedding_names(transformer, prefix));
  for (std::size_t layer = 0; layer < transformer.layers; ++layer) {
    const std::string base = prefix + family.layers + std::to_string(layer);
    const auto qkv = blocks.linears(x, std::array{linear(base + family.query, hidden, hidden),
                                                  linear(base + family.key, hidden, hidden),
                                                  linear(base + family.value, hidden, hidden)});
    const Edge attention = blocks.attention(qkv[0], qkv[1], qkv[2], transformer.heads);
    const Edge projected =
        blocks.linear(attention, linear(base + family.attention_out, hidden, hidden));
    x = blocks.add_norm(x, projected, norm(base + family.attention_norm, epsilon));
    x = blocks.feed_forward(
        x, {linear(base + family.intermediate, hidden, wide), transformer.activation,
            linear(base + family.output, wide, hidden), norm(base + family.output_norm, epsilon)});
  }
  blocks.output(x);
}

}  // namespace textvec::graph
