// In: the configuration files of a model folder; each begins with a line "--- NAME", and a NAME
// that is not listed here is left out. Property: read_spec gives an error that says something, or a
// spec that keeps every promise of spec.h and names nothing outside the folder.
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "fuzz/check.h"
#include "fuzz/scratch.h"
#include "fuzz/utf8.h"
#include "model/spec.h"

namespace textvec::fuzz {
namespace {

namespace fs = std::filesystem;
using model::ModelSpec;
using model::Transformer;

constexpr std::array<std::string_view, 13> kNames{"config.json",
                                                  "modules.json",
                                                  "config_sentence_transformers.json",
                                                  "sentence_bert_config.json",
                                                  "sentence_roberta_config.json",
                                                  "tokenizer_config.json",
                                                  "0_Transformer/config.json",
                                                  "0_Transformer/sentence_bert_config.json",
                                                  "0_Transformer/tokenizer_config.json",
                                                  "1_Pooling/config.json",
                                                  "2_Dense/config.json",
                                                  "3_Dense/config.json",
                                                  "3_Normalize/config.json"};
constexpr std::string_view kMarker = "--- ";

// Takes the first section off `rest`, its marker included.
std::string_view next_section(std::string_view& rest) {
  const std::size_t next = rest.find("\n" + std::string(kMarker));
  const std::string_view section = rest.substr(0, next);
  rest.remove_prefix(next == std::string_view::npos ? rest.size() : next + 1);
  return section;
}

void write_folder(const fs::path& folder, std::string_view rest) {
  std::error_code error;
  fs::remove_all(folder, error);
  fs::create_directory(folder);
  while (!rest.empty()) {
    std::string_view section = next_section(rest);
    if (!section.starts_with(kMarker)) continue;
    section.remove_prefix(kMarker.size());
    const std::size_t line = std::min(section.find('\n'), section.size());
    const std::string_view name = section.substr(0, line);
    if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) continue;
    testing::write_file(folder / name, section.substr(std::min(line + 1, section.size())));
  }
}

// A model folder, and a file beside it that only a path which leads out would find.
const fs::path& model_folder() {
  static const fs::path kFolder = [] {
    testing::write_file(scratch() / "outside/config.json", R"({"embedding_dimension":384})");
    return scratch() / "model";
  }();
  return kFolder;
}

void check_inside(const fs::path& folder, const fs::path& path) {
  const fs::path relative = path.lexically_normal().lexically_relative(folder.lexically_normal());
  check(!relative.empty() && *relative.begin() != "..", "a path stays inside the model folder");
}

void check_transformer(const Transformer& transformer) {
  const auto& known = model::known_architectures();
  check(std::find(known.begin(), known.end(), transformer.type) != known.end(),
        "a known architecture is one of the list");
  for (const std::size_t size :
       {transformer.vocabulary_size, transformer.hidden_size, transformer.layers, transformer.heads,
        transformer.intermediate_size, transformer.positions_max}) {
    check(size != 0, "a known architecture has sizes");
  }
  check(transformer.hidden_size % transformer.heads == 0, "the heads divide the hidden size");
  check(transformer.pad_token_id < transformer.vocabulary_size, "padding is a token");
  check(transformer.position_offset < transformer.positions_max, "a text has a position");
  check(transformer.norm_epsilon > 0 && transformer.norm_epsilon < 1, "epsilon is a small number");
  check(!transformer.activation.empty(), "a known architecture has an activation");
  check((transformer.type_vocabulary_size == 0) == (transformer.type == "distilbert"),
        "only distilbert has no token types");
}

void check_dense(const ModelSpec& spec) {
  std::size_t width = spec.dense.empty() ? spec.dimension : spec.dense.front().in_features;
  for (const auto& dense : spec.dense) {
    check(dense.in_features == width && dense.out_features != 0, "dense layers fit together");
    width = dense.out_features;
  }
  check(width == spec.dimension, "the last layer gives the dimension");
}

void check_prompts(const ModelSpec& spec) {
  check(spec.prompts.size() <= 1000, "there are at most 1000 prompts");
  check(spec.default_prompt.empty() || spec.prompts.contains(spec.default_prompt),
        "the default prompt is a prompt");
  for (const auto& [name, prompt] : spec.prompts) {
    check(is_utf8(name) && is_utf8(prompt), "a prompt is UTF-8");
  }
}

void check_spec(const fs::path& folder, const ModelSpec& spec) {
  check(spec.name == folder.filename(), "the name is the folder's own");
  check(spec.pooling != Pooling::FromModel, "the pooling is known");
  check_inside(folder, spec.folder);
  for (const auto& dense : spec.dense) check_inside(folder, dense.folder);
  for (const auto& file : spec.files) {
    check_inside(folder, file);
    check(fs::is_regular_file(file), "a file that was read is there");
  }
  if (spec.known_architecture) {
    check(spec.has_config && spec.dimension != 0, "a known architecture has a dimension");
    check_transformer(spec.transformer);
    check(spec.tokens_max != 0 &&
              spec.tokens_max <= spec.transformer.positions_max - spec.transformer.position_offset,
          "a text fits the positions");
  }
  check_dense(spec);
  check_prompts(spec);
  const std::array<std::string_view, 4> similarities{"cosine", "dot", "euclidean", "manhattan"};
  check(std::find(similarities.begin(), similarities.end(), spec.similarity) != similarities.end(),
        "the similarity is one that is known");
  for (const std::string_view note : spec.notes) check(!note.empty(), "a note says something");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fs::path& folder = model_folder();
  write_folder(folder, {reinterpret_cast<const char*>(data), size});
  const auto spec = model::read_spec(folder);
  if (spec) {
    check_spec(folder, *spec);
  } else {
    check_error(spec.error(), {ErrorCode::NotFound, ErrorCode::BadModel, ErrorCode::Unsupported});
    check(is_utf8(spec.error().message), "a message is UTF-8");
  }
  return 0;
}

}  // namespace textvec::fuzz
