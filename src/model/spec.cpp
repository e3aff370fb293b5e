// In: a model folder. Out: ModelSpec. See spec.h.
// The files are those of sentence-transformers and transformers; what a file leaves out has the
// value that those libraries (6.2 and 5.24) give it.
#include "model/spec.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "model/json.h"
#include "model/utf8.h"

namespace textvec::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kVocabularyMax = std::size_t{1} << 24;
constexpr std::size_t kDimensionMax = 65536;
constexpr std::size_t kLayersMax = 1024;
constexpr std::size_t kHeadsMax = 1024;
constexpr std::size_t kIntermediateMax = std::size_t{1} << 20;
constexpr std::size_t kPositionsMax = std::size_t{1} << 24;
// Cosine and sine of every position are kept as a table.
constexpr std::size_t kRotaryPositionsMax = std::size_t{1} << 20;
constexpr std::size_t kHeadSizeMax = 1024;
constexpr std::size_t kTokenTypesMax = 1024;
constexpr std::size_t kModulesMax = 64;
constexpr std::size_t kPromptsMax = 1000;
constexpr std::size_t kPathBytesMax = 1000;
// transformers writes 1e30 for "no limit"; no model takes texts this long.
constexpr double kModelLengthMax = 1e9;

struct SizeKey {
  const char* key;
  std::size_t Transformer::* member;
  std::size_t max;
};

constexpr SizeKey kBertSizes[] = {
    {"vocab_size", &Transformer::vocabulary_size, kVocabularyMax},
    {"hidden_size", &Transformer::hidden_size, kDimensionMax},
    {"num_hidden_layers", &Transformer::layers, kLayersMax},
    {"num_attention_heads", &Transformer::heads, kHeadsMax},
    {"intermediate_size", &Transformer::intermediate_size, kIntermediateMax},
    {"max_position_embeddings", &Transformer::positions_max, kPositionsMax}};

constexpr SizeKey kDistilBertSizes[] = {
    {"vocab_size", &Transformer::vocabulary_size, kVocabularyMax},
    {"dim", &Transformer::hidden_size, kDimensionMax},
    {"n_layers", &Transformer::layers, kLayersMax},
    {"n_heads", &Transformer::heads, kHeadsMax},
    {"hidden_dim", &Transformer::intermediate_size, kIntermediateMax},
    {"max_position_embeddings", &Transformer::positions_max, kPositionsMax}};

// head_dim is not among them: it may be left out.
constexpr SizeKey kDecoderSizes[] = {
    {"vocab_size", &Transformer::vocabulary_size, kVocabularyMax},
    {"hidden_size", &Transformer::hidden_size, kDimensionMax},
    {"num_hidden_layers", &Transformer::layers, kLayersMax},
    {"num_attention_heads", &Transformer::heads, kHeadsMax},
    {"intermediate_size", &Transformer::intermediate_size, kIntermediateMax},
    {"max_position_embeddings", &Transformer::positions_max, kRotaryPositionsMax}};

// What config.json of one model_type means.
struct Family {
  const char* type;
  std::span<const SizeKey> sizes;
  const char* activation_key;
  std::size_t pad_token_id;  // where config.json leaves it out
  // The first row in use of the position table is pad_token_id + 1, not 0: transformers counts
  // positions from there in create_position_ids_from_input_ids.
  bool positions_after_padding;
  bool distilled;  // no token types, and a fixed epsilon
  bool decoder;
};

constexpr Family kFamilies[] = {
    {"bert", kBertSizes, "hidden_act", 0, false, false, false},
    {"camembert", kBertSizes, "hidden_act", 1, true, false, false},  // roberta by another name
    {"distilbert", kDistilBertSizes, "activation", 0, false, true, false},
    {"qwen3", kDecoderSizes, "hidden_act", 0, false, false, true},
    {"roberta", kBertSizes, "hidden_act", 1, true, false, false},
    {"xlm-roberta", kBertSizes, "hidden_act", 1, true, false, false}};

constexpr std::string_view kActivations[] = {"gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh",
                                             "relu"};
constexpr std::string_view kSimilarities[] = {"cosine", "dot", "euclidean", "manhattan"};

const Family* find_family(std::string_view type) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& family) { return family.type == type; });
  return found == std::end(kFamilies) ? nullptr : found;
}

// Values of any length and any characters come from files.
std::string in_quotes(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, shortened(text));
  return quoted;
}

template <class Words>
std::string join(const Words& words) {
  std::string joined;
  for (const auto& word : words) {
    joined += joined.empty() ? "" : ", ";
    joined += word;
  }
  return joined;
}

template <class Words>
bool contains(const Words& words, std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

Error bad(const std::string& source, const std::string& what) {
  return {ErrorCode::BadModel, source + ": " + what};
}

Error unsupported(const std::string& source, const std::string& what) {
  return {ErrorCode::Unsupported, source + ": " + what};
}

// A module as modules.json names it.
struct Module {
  std::string type{};  // "sentence_transformers.models.Pooling"
  std::string kind{};  // "Pooling"
  std::string path{};  // relative to the model folder
};

// Reads one model folder into a ModelSpec. Each step assumes those that read() calls before it.
class SpecReader {
 public:
  explicit SpecReader(fs::path root) : root_(std::move(root)) {}

  Result<ModelSpec> read();

 private:
  Result<std::optional<Json>> read_optional(const std::string& source);
  Result<Json> read_required(const std::string& source);
  Result<void> read_modules();
  Result<Module> read_module(const Json& json, std::size_t index) const;
  Result<void> check_order() const;
  Result<void> read_config();
  Result<void> read_transformer(const JsonReader& reader, const Family& family);
  Result<void> read_encoder(const JsonReader& reader, const Family& family);
  Result<void> read_decoder(const JsonReader& reader);
  Result<bool> attends_in_full(const JsonReader& reader) const;
  Result<void> check_decoder_variant(const JsonReader& reader) const;
  Result<void> read_heads();
  void assume_pooling();
  Result<void> read_pooling(const std::string& path);
  Result<void> read_dense(const std::string& path);
  Result<void> read_normalize(const std::string& path);
  Result<void> read_limits();
  Result<std::optional<Json>> read_transformer_module(std::string& source);
  void note_what_is_not_applied(const JsonReader& reader);
  Result<void> read_tokenizer_limit();
  Result<void> read_prompts();
  Result<void> read_default_prompt(const JsonReader& reader);
  void apply_qwen3_habits();

  // The name of a file in the Transformer's own folder.
  std::string beside_config(const std::string& name) const {
    return (fs::path(transformer_path_) / name).string();
  }

  fs::path root_;
  ModelSpec spec_{};
  std::vector<Module> modules_{};
  std::string transformer_path_{};  // relative, mostly empty
  bool has_prompts_file_ = false;
  bool causal_ = false;     // config.json describes a causal language model
  std::size_t pooled_ = 0;  // components of the vector so far; 0: unknown
};

// The object in `source`, a path relative to the folder; nullopt when there is no such file.
Result<std::optional<Json>> SpecReader::read_optional(const std::string& source) {
  const fs::path file = root_ / source;
  std::error_code error;
  // A link that leads nowhere is no absent file, but a download that lacks a part.
  if (!fs::exists(fs::symlink_status(file, error))) return std::optional<Json>{};
  auto json = read_json_file(file);
  if (!json) return json.error();
  if (!json->is(Json::Kind::Object) && source != "modules.json") {
    return bad(file.string(), "the top level is no object");
  }
  spec_.files.push_back(file);
  return std::optional<Json>(std::move(*json));
}

Result<Json> SpecReader::read_required(const std::string& source) {
  auto json = read_optional(source);
  if (!json) return json.error();
  if (*json) return std::move(**json);
  return Error{ErrorCode::NotFound, "no file " + (root_ / source).string()};
}

// modules.json decides what else is read, and from where.
Result<void> SpecReader::read_modules() {
  const auto json = read_optional("modules.json");
  if (!json) return json.error();
  if (!*json) return {};
  const Json& list = **json;
  if (!list.is(Json::Kind::Array) || list.array().empty() || list.array().size() > kModulesMax) {
    return bad("modules.json",
               "the top level is no list of 1 to " + std::to_string(kModulesMax) + " modules");
  }
  for (std::size_t index = 0; index < list.array().size(); ++index) {
    auto module = read_module(list.array()[index], index);
    if (!module) return module.error();
    modules_.push_back(std::move(*module));
  }
  if (const auto ordered = check_order(); !ordered) return ordered.error();
  transformer_path_ = modules_.front().path;
  return {};
}

// Inside the model folder, whatever the system: no root, no drive, no way up.
bool stays_inside(const std::string& path) {
  const fs::path parts(path);
  return path.size() <= kPathBytesMax && !parts.has_root_path() &&
         path.find_first_of(std::string_view("\\:\0", 3)) == std::string::npos &&
         std::find(parts.begin(), parts.end(), "..") == parts.end();
}

Result<Module> SpecReader::read_module(const Json& json, std::size_t index) const {
  const JsonReader reader(json, "modules.json: module " + std::to_string(index));
  auto type = reader.string("type");
  if (!type) return type.error();
  auto path = reader.string("path");
  if (!path) return path.error();
  if (!stays_inside(*path)) {
    return bad(reader.source(),
               "path " + in_quotes(*path) + " does not stay inside the model folder");
  }
  // sentence-transformers moved its classes between releases: only the last part is stable. A type
  // of another package is code that came with the model, whatever its name.
  std::string kind = type->substr(type->rfind('.') + 1);
  constexpr std::string_view kKinds[] = {"Transformer", "Pooling", "Dense", "Normalize"};
  if (!type->starts_with("sentence_transformers.") || !contains(kKinds, kind)) {
    return unsupported(reader.source(), "type " + in_quotes(*type) +
                                            " is not one that textvec runs (" + join(kKinds) + ")");
  }
  return Module{std::move(*type), std::move(kind), std::move(*path)};
}

// Transformer, Pooling, any number of Dense, then Normalize. Normalize between them would change
// the vector's direction, and no model is known that does so.
Result<void> SpecReader::check_order() const {
  constexpr const char* kOrder =
      "; textvec runs Transformer, Pooling, Dense, Normalize in that order";
  if (modules_.front().kind != "Transformer") {
    return unsupported("modules.json", "module 0 is " + modules_.front().kind + kOrder);
  }
  if (modules_.size() < 2 || modules_[1].kind != "Pooling") {
    return unsupported("modules.json", std::string("module 1 is not Pooling") + kOrder);
  }
  bool normalized = false;
  for (std::size_t index = 2; index < modules_.size(); ++index) {
    const std::string& kind = modules_[index].kind;
    if ((kind != "Dense" && kind != "Normalize") || (kind == "Dense" && normalized)) {
      return unsupported("modules.json", "module " + std::to_string(index) + " is " + kind +
                                             " after " + modules_[index - 1].kind + kOrder);
    }
    normalized = normalized || kind == "Normalize";
  }
  return {};
}

// The value when it is there and in range, else 0: for models that textvec does not compile.
std::size_t size_if_valid(const JsonReader& reader, std::string_view key, std::size_t max) {
  const auto value = reader.size(key, 0, max);
  return value ? *value : 0;
}

bool is_causal(const JsonReader& reader) {
  const Json* names = reader.json().find("architectures");
  if (names == nullptr || !names->is(Json::Kind::Array) || names->array().empty()) return false;
  const Json& name = names->array().front();
  if (!name.is(Json::Kind::String) || !name.string().ends_with("ForCausalLM")) return false;
  const auto causal = reader.boolean_or("is_causal", true);
  return causal && *causal;
}

Result<void> SpecReader::read_config() {
  const auto json = read_optional(beside_config("config.json"));
  if (!json) return json.error();
  if (!*json) return {};
  spec_.has_config = true;
  const JsonReader reader(**json, beside_config("config.json"));
  auto type = reader.string_or("model_type", "");
  if (!type) return type.error();
  causal_ = is_causal(reader);
  Transformer& transformer = spec_.transformer;
  transformer.type = std::move(*type);
  if (const Family* family = find_family(transformer.type)) {
    return read_transformer(reader, *family);
  }
  transformer.vocabulary_size = size_if_valid(reader, "vocab_size", kVocabularyMax);
  transformer.hidden_size = size_if_valid(reader, "hidden_size", kDimensionMax);
  transformer.positions_max = size_if_valid(reader, "max_position_embeddings", kPositionsMax);
  transformer.pad_token_id = size_if_valid(reader, "pad_token_id", kVocabularyMax);
  return {};
}

Result<void> SpecReader::read_transformer(const JsonReader& reader, const Family& family) {
  Transformer& transformer = spec_.transformer;
  for (const SizeKey& size : family.sizes) {
    const auto value = reader.size(size.key, 1, size.max);
    if (!value) return value.error();
    transformer.*size.member = *value;
  }
  const auto pad =
      reader.size_or("pad_token_id", family.pad_token_id, 0, transformer.vocabulary_size - 1);
  if (!pad) return pad.error();
  transformer.pad_token_id = *pad;
  const auto done = family.decoder ? read_decoder(reader) : read_encoder(reader, family);
  spec_.known_architecture = done.has_value();
  return done;
}

// What changes the formula and not the shapes: a wrong guess would give wrong vectors silently.
Result<void> SpecReader::read_encoder(const JsonReader& reader, const Family& family) {
  Transformer& transformer = spec_.transformer;
  if (transformer.hidden_size % transformer.heads != 0) {
    return bad(reader.source(), std::to_string(transformer.heads) + " heads do not divide " +
                                    std::to_string(transformer.hidden_size) + " components");
  }
  if (family.positions_after_padding) transformer.position_offset = transformer.pad_token_id + 1;
  if (transformer.position_offset >= transformer.positions_max) {
    return bad(reader.source(),
               "max_position_embeddings is " + std::to_string(transformer.positions_max) +
                   "; positions begin at " + std::to_string(transformer.position_offset));
  }
  const auto types = reader.size_or("type_vocab_size", 2, 1, kTokenTypesMax);
  if (!types) return types.error();
  const auto epsilon = reader.number_or("layer_norm_eps", 1e-12);
  if (!epsilon) return epsilon.error();
  transformer.type_vocabulary_size = family.distilled ? 0 : *types;
  transformer.norm_epsilon = family.distilled ? 1e-12 : *epsilon;
  // No NaN comes out of JSON.
  if (transformer.norm_epsilon <= 0 || transformer.norm_epsilon >= 1) {
    return bad(reader.source(), "layer_norm_eps is " + std::to_string(transformer.norm_epsilon) +
                                    "; it takes values between 0 and 1");
  }
  auto activation = reader.string_or(family.activation_key, "gelu");
  if (!activation) return activation.error();
  if (!contains(kActivations, *activation)) {
    return unsupported(reader.source(), std::string(family.activation_key) + " is " +
                                            in_quotes(*activation) + "; textvec computes " +
                                            join(kActivations));
  }
  transformer.activation = std::move(*activation);
  const auto positions = reader.string_or("position_embedding_type", "absolute");
  if (!positions) return positions.error();
  if (*positions != "absolute") {
    return unsupported(reader.source(), "position_embedding_type is " + in_quotes(*positions) +
                                            "; textvec computes \"absolute\"");
  }
  const auto decoder = reader.boolean_or("is_decoder", false);
  if (!decoder) return decoder.error();
  if (*decoder) {
    return unsupported(reader.source(), "is_decoder is true; textvec computes encoders");
  }
  return {};
}

// transformers' Qwen3Config.
Result<void> SpecReader::read_decoder(const JsonReader& reader) {
  Transformer& transformer = spec_.transformer;
  const auto key_value_heads = reader.size("num_key_value_heads", 1, transformer.heads);
  if (!key_value_heads) return key_value_heads.error();
  if (transformer.heads % *key_value_heads != 0) {
    return bad(reader.source(), "num_key_value_heads is " + std::to_string(*key_value_heads) +
                                    ", which does not divide the " +
                                    std::to_string(transformer.heads) + " heads");
  }
  transformer.key_value_heads = *key_value_heads;
  const auto head_size = reader.size_or("head_dim", 128, 2, kHeadSizeMax);
  if (!head_size) return head_size.error();
  if (*head_size % 2 != 0) {
    return bad(reader.source(),
               "head_dim is " + std::to_string(*head_size) + "; rotary positions need it even");
  }
  transformer.head_size = *head_size;
  const auto epsilon = reader.number_or("rms_norm_eps", 1e-6);
  if (!epsilon) return epsilon.error();
  transformer.norm_epsilon = *epsilon;
  if (*epsilon <= 0 || *epsilon >= 1) {
    return bad(reader.source(),
               "rms_norm_eps is " + std::to_string(*epsilon) + "; it takes values between 0 and 1");
  }
  auto rotary = read_rotary(reader, *head_size, transformer.positions_max);
  if (!rotary) return rotary.error();
  transformer.rotary = std::move(*rotary);
  const auto bias = reader.boolean_or("attention_bias", false);
  if (!bias) return bias.error();
  transformer.attention_bias = *bias;
  return check_decoder_variant(reader);
}

// As transformers' Qwen3Config: a window that config.json leaves out is one of 4,096 tokens, and
// only layers from max_window_layers on have it.
Result<bool> SpecReader::attends_in_full(const JsonReader& reader) const {
  const std::size_t layers = spec_.transformer.layers;
  if (const Json* types = reader.json().find("layer_types")) {
    if (!types->is(Json::Kind::Array) || types->array().size() != layers) {
      return bad(reader.source(),
                 "layer_types is no list of " + std::to_string(layers) + " layers");
    }
    return std::all_of(types->array().begin(), types->array().end(), [](const Json& type) {
      return type.is(Json::Kind::String) && type.string() == "full_attention";
    });
  }
  const auto sliding = reader.boolean_or("use_sliding_window", false);
  if (!sliding) return sliding.error();
  const auto first = reader.size_or("max_window_layers", 28, 0, kLayersMax);
  if (!first) return first.error();
  const auto& keys = reader.json().object();
  const auto window = keys.find("sliding_window");
  const bool no_window = window != keys.end() && window->second.is(Json::Kind::Null);
  return !*sliding || no_window || *first >= layers;
}

Result<void> SpecReader::check_decoder_variant(const JsonReader& reader) const {
  const auto activation = reader.string_or("hidden_act", "silu");
  if (!activation) return activation.error();
  if (*activation != "silu") {
    return unsupported(reader.source(),
                       "hidden_act is " + in_quotes(*activation) + "; textvec computes \"silu\"");
  }
  const auto causal = reader.boolean_or("is_causal", true);
  if (!causal) return causal.error();
  if (!*causal) {
    return unsupported(reader.source(), "is_causal is false; textvec computes causal decoders");
  }
  const auto full = attends_in_full(reader);
  if (!full) return full.error();
  if (*full) return {};
  return unsupported(reader.source(),
                     "some layers do not attend to the whole text before them; textvec computes "
                     "\"full_attention\"");
}

// As sentence-transformers does for folders that were not saved by it - but for decoders whose
// config.json does not name the class with the language model's head, where it takes the mean,
// which no published model of this kind was trained for.
void SpecReader::assume_pooling() {
  const Family* family = find_family(spec_.transformer.type);
  const bool decoder = family != nullptr && family->decoder;
  spec_.pooling = causal_ || decoder ? Pooling::LastToken : Pooling::Mean;
  spec_.pooling_assumed = true;
  spec_.notes.push_back("no modules.json: " + std::string(to_string(spec_.pooling)) +
                        " pooling is assumed");
}

Result<void> SpecReader::read_heads() {
  pooled_ = spec_.transformer.hidden_size;
  if (modules_.empty()) assume_pooling();
  for (const Module& module : modules_) {
    Result<void> done;
    if (module.kind == "Pooling") done = read_pooling(module.path);
    if (module.kind == "Dense") done = read_dense(module.path);
    if (module.kind == "Normalize") done = read_normalize(module.path);
    if (!done) return done.error();
  }
  spec_.dimension = pooled_;
  return {};
}

// The mode by the name that newer releases write.
Result<Pooling> pooling_by_name(const std::string& source, const std::string& name) {
  if (name == "cls") return Pooling::Cls;
  if (name == "mean") return Pooling::Mean;
  if (name == "max") return Pooling::Max;
  if (name == "lasttoken") return Pooling::LastToken;
  if (name == "mean_sqrt_len_tokens") return Pooling::MeanSqrtLen;
  return unsupported(source, "pooling mode " + in_quotes(name) +
                                 " is not one that textvec computes (cls, lasttoken, max, mean, "
                                 "mean_sqrt_len_tokens)");
}

Error concatenated(const std::string& source, const std::vector<std::string>& modes) {
  return unsupported(source, "pooling modes " + in_quotes(join(modes)) +
                                 " are concatenated; textvec computes one");
}

// "pooling_mode": a name or a list of names.
Result<Pooling> new_pooling_mode(const JsonReader& reader, const Json& mode) {
  if (mode.is(Json::Kind::String)) return pooling_by_name(reader.source(), mode.string());
  std::vector<std::string> names;
  if (mode.is(Json::Kind::Array) && mode.array().size() <= kModulesMax) {
    for (const Json& name : mode.array()) {
      if (name.is(Json::Kind::String)) names.push_back(name.string());
    }
  }
  if (names.empty() || names.size() != mode.array().size()) {
    return bad(reader.source(), "pooling_mode is neither a string nor a list of strings");
  }
  if (names.size() > 1) return concatenated(reader.source(), names);
  return pooling_by_name(reader.source(), names.front());
}

// A truth value for each mode, as older releases write it. None set means mean.
Result<Pooling> old_pooling_mode(const JsonReader& reader) {
  constexpr std::pair<const char*, const char*> kModes[] = {
      {"pooling_mode_cls_token", "cls"},
      {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_tokens", "mean"},
      {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
      {"pooling_mode_weightedmean_tokens", "weightedmean"},
      {"pooling_mode_lasttoken", "lasttoken"}};
  std::vector<std::string> names;
  for (const auto& [key, name] : kModes) {
    const auto set = reader.boolean_or(key, false);
    if (!set) return set.error();
    if (*set) names.emplace_back(name);
  }
  for (const auto& [key, value] : reader.json().object()) {
    const bool known = std::any_of(std::begin(kModes), std::end(kModes),
                                   [&](const auto& mode) { return key == mode.first; });
    if (key.starts_with("pooling_mode_") && !known) {
      return unsupported(reader.source(), in_quotes(key) + " is a mode that textvec does not know");
    }
  }
  if (names.empty()) return Pooling::Mean;
  if (names.size() > 1) return concatenated(reader.source(), names);
  return pooling_by_name(reader.source(), names.front());
}

Result<void> SpecReader::read_pooling(const std::string& path) {
  const std::string source = (fs::path(path) / "config.json").string();
  const auto json = read_required(source);
  if (!json) return json.error();
  const JsonReader reader(*json, source);
  const Json* mode = json->find("pooling_mode");
  const auto pooling = mode != nullptr ? new_pooling_mode(reader, *mode) : old_pooling_mode(reader);
  if (!pooling) return pooling.error();
  spec_.pooling = *pooling;
  const auto include_prompt = reader.boolean_or("include_prompt", true);
  if (!include_prompt) return include_prompt.error();
  spec_.pool_prompt = *include_prompt;

  const char* key =
      reader.has("embedding_dimension") ? "embedding_dimension" : "word_embedding_dimension";
  const auto dimension = reader.size(key, 1, kDimensionMax);
  if (!dimension) return dimension.error();
  if (spec_.known_architecture && *dimension != spec_.transformer.hidden_size) {
    return bad(source, std::string(key) + " is " + std::to_string(*dimension) +
                           "; the transformer gives " +
                           std::to_string(spec_.transformer.hidden_size) + " components");
  }
  pooled_ = *dimension;
  return {};
}

// Dense and Normalize can be made to work on the tokens' vectors; textvec gives one vector per
// text.
Result<void> check_features(const JsonReader& reader) {
  for (const char* key : {"module_input_name", "module_output_name"}) {
    const auto name = reader.string_or(key, "sentence_embedding");
    if (!name) return name.error();
    if (*name != "sentence_embedding") {
      return unsupported(reader.source(), std::string(key) + " is " + in_quotes(*name) +
                                              "; textvec computes \"sentence_embedding\"");
    }
  }
  return {};
}

Result<DenseActivation> dense_activation(const JsonReader& reader) {
  const auto name = reader.string_or("activation_function", "torch.nn.modules.activation.Tanh");
  if (!name) return name.error();
  if (*name == "torch.nn.modules.activation.Tanh") return DenseActivation::Tanh;
  if (*name == "torch.nn.modules.linear.Identity") return DenseActivation::Identity;
  return unsupported(reader.source(), "activation_function is " + in_quotes(*name) +
                                          "; textvec computes torch.nn.modules.activation.Tanh and "
                                          "torch.nn.modules.linear.Identity");
}

Result<void> SpecReader::read_dense(const std::string& path) {
  const std::string source = (fs::path(path) / "config.json").string();
  const auto json = read_required(source);
  if (!json) return json.error();
  const JsonReader reader(*json, source);
  const auto in_features = reader.size("in_features", 1, kDimensionMax);
  if (!in_features) return in_features.error();
  const auto out_features = reader.size("out_features", 1, kDimensionMax);
  if (!out_features) return out_features.error();
  const auto bias = reader.boolean_or("bias", true);
  if (!bias) return bias.error();
  const auto residual = reader.boolean_or("use_residual", false);
  if (!residual) return residual.error();
  if (*residual) return unsupported(source, "use_residual is true; textvec computes it as false");
  if (const auto features = check_features(reader); !features) return features.error();
  const auto activation = dense_activation(reader);
  if (!activation) return activation.error();
  if (*in_features != pooled_) {
    return bad(source, "in_features is " + std::to_string(*in_features) +
                           "; the module before gives " + std::to_string(pooled_) + " components");
  }
  spec_.dense.push_back({root_ / path, *in_features, *out_features, *bias, *activation});
  pooled_ = *out_features;
  return {};
}

// The folder and its file are mostly absent: there is nothing to configure but the features.
Result<void> SpecReader::read_normalize(const std::string& path) {
  const std::string source = (fs::path(path) / "config.json").string();
  // Without a folder of its own the module would read the transformer's config.json.
  if (fs::path(path).lexically_normal() == fs::path(transformer_path_).lexically_normal()) {
    return {};
  }
  const auto json = read_optional(source);
  if (!json) return json.error();
  if (!*json) return {};
  return check_features(JsonReader(**json, source));
}

// The Transformer module's own file, which old releases named after the architecture. The first
// that says anything counts, as in sentence-transformers.
Result<std::optional<Json>> SpecReader::read_transformer_module(std::string& source) {
  for (const char* name : {"sentence_bert_config.json", "sentence_roberta_config.json",
                           "sentence_distilbert_config.json", "sentence_camembert_config.json",
                           "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
                           "sentence_xlnet_config.json"}) {
    source = beside_config(name);
    auto json = read_optional(source);
    if (!json) return json.error();
    if (*json && !(*json)->object().empty()) return json;
  }
  return std::optional<Json>{};
}

Result<void> SpecReader::read_limits() {
  std::string source;
  const auto json = read_transformer_module(source);
  if (!json) return json.error();
  const Transformer& transformer = spec_.transformer;
  const std::size_t positions = transformer.positions_max - transformer.position_offset;
  if (*json) {
    const JsonReader reader(**json, source);
    note_what_is_not_applied(reader);
    const auto lower_case = reader.boolean_or("do_lower_case", false);
    if (!lower_case) return lower_case.error();
    spec_.lower_case = *lower_case;
    const auto output = reader.string_or("module_output_name", "token_embeddings");
    if (!output) return output.error();
    if (*output != "token_embeddings") {
      return unsupported(source, "module_output_name is " + in_quotes(*output) +
                                     "; textvec pools \"token_embeddings\"");
    }
    const auto tokens_max = reader.size_or("max_seq_length", 0, 1, kPositionsMax);
    if (!tokens_max) return tokens_max.error();
    spec_.tokens_max = *tokens_max;
  }
  if (spec_.tokens_max == 0) return read_tokenizer_limit();
  if (positions != 0 && spec_.tokens_max > positions) {
    spec_.notes.push_back(source + ": max_seq_length is " + std::to_string(spec_.tokens_max) +
                          "; the model has " + std::to_string(positions) +
                          " positions, which is used");
    spec_.tokens_max = positions;
  }
  return {};
}

// Keys that change vectors in sentence-transformers, which no published model of these families is
// known to use. Empty objects change nothing, and old releases write them.
void SpecReader::note_what_is_not_applied(const JsonReader& reader) {
  for (const char* key :
       {"tokenizer_args", "processor_kwargs", "processing_kwargs", "config_args", "config_kwargs",
        "model_args", "model_kwargs", "query_length", "document_length"}) {
    const Json* value = reader.json().find(key);
    if (value == nullptr || (value->is(Json::Kind::Object) && value->object().empty())) continue;
    spec_.notes.push_back(reader.source() + ": " + key + " is not applied");
  }
}

// The smaller of tokenizer_config.json's limit and the model's positions; 0 when neither is known.
Result<void> SpecReader::read_tokenizer_limit() {
  spec_.tokens_max = spec_.transformer.positions_max - spec_.transformer.position_offset;
  const std::string source = beside_config("tokenizer_config.json");
  const auto json = read_optional(source);
  if (!json) return json.error();
  if (!*json) return {};
  const JsonReader reader(**json, source);
  // max_len is its name of before transformers 3.
  const char* key = reader.has("model_max_length") ? "model_max_length" : "max_len";
  const auto length = reader.number_or(key, kModelLengthMax);
  if (!length) return length.error();
  if (*length >= kModelLengthMax) return {};
  if (*length < 1) {
    return bad(source,
               std::string(key) + " is " + std::to_string(*length) + "; it takes at least 1");
  }
  const auto tokens_max = static_cast<std::size_t>(*length);
  if (spec_.tokens_max == 0 || tokens_max < spec_.tokens_max) spec_.tokens_max = tokens_max;
  return {};
}

Result<void> SpecReader::read_prompts() {
  const std::string source = "config_sentence_transformers.json";
  const auto json = read_optional(source);
  if (!json) return json.error();
  if (!*json) return {};
  has_prompts_file_ = true;
  const JsonReader reader(**json, source);
  if (const Json* prompts = (*json)->find("prompts")) {
    if (!prompts->is(Json::Kind::Object) || prompts->object().size() > kPromptsMax) {
      return bad(source,
                 "prompts is no object of at most " + std::to_string(kPromptsMax) + " prompts");
    }
    for (const auto& [name, prompt] : prompts->object()) {
      // null: a name without words, as sentence-transformers has it
      const auto text = JsonReader(*prompts, source + ": prompts").string_or(name, "");
      if (!text) return text.error();
      spec_.prompts.emplace(name, *text);
    }
  }
  auto similarity = reader.string_or("similarity_fn_name", "cosine");
  if (!similarity) return similarity.error();
  if (contains(kSimilarities, *similarity)) {
    spec_.similarity = std::move(*similarity);
  } else {
    spec_.notes.push_back(source + ": similarity_fn_name " + in_quotes(*similarity) +
                          " is unknown; cosine is assumed");
  }
  if (const Json* cut = (*json)->find("truncate_dim"); cut != nullptr) {
    spec_.notes.push_back(source + ": truncate_dim is not applied; ask for dimensions instead");
  }
  return read_default_prompt(reader);
}

Result<void> SpecReader::read_default_prompt(const JsonReader& reader) {
  auto name = reader.string_or("default_prompt_name", "");
  if (!name) return name.error();
  if (name->empty() || spec_.prompts.contains(*name)) {
    spec_.default_prompt = std::move(*name);
    return {};
  }
  // Every model has these two; without words they change nothing.
  if (*name == "query" || *name == "document") return {};
  return bad(reader.source(), "default_prompt_name is " + in_quotes(*name) +
                                  ", which is not among the " +
                                  std::to_string(spec_.prompts.size()) + " prompts");
}

// What Qwen3-Embedding's own files say, for folders that lack them, as exports often do: the prompt
// of its config_sentence_transformers.json, and the token that its tokenizer.json puts last.
void SpecReader::apply_qwen3_habits() {
  spec_.final_token = "<|endoftext|>";
  if (has_prompts_file_) return;
  spec_.prompts.emplace("query",
                        "Instruct: Given a web search query, retrieve relevant passages that "
                        "answer the query\nQuery:");
  spec_.notes.push_back(
      "no config_sentence_transformers.json: Qwen3-Embedding's prompt for queries is assumed");
}

Result<ModelSpec> SpecReader::read() {
  std::error_code error;
  const fs::file_status status = fs::status(root_, error);
  if (!fs::exists(status)) {
    return Error{ErrorCode::NotFound, "no model folder " + root_.string()};
  }
  if (!fs::is_directory(status)) {
    return Error{ErrorCode::NotFound, root_.string() + " is no folder; a model is a folder"};
  }
  fs::path whole = fs::absolute(root_, error).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  spec_.name = whole.filename().string();

  if (const auto done = read_modules(); !done) return done.error();
  spec_.folder = transformer_path_.empty() ? root_ : root_ / transformer_path_;
  if (const auto done = read_config(); !done) return done.error();
  if (const auto done = read_heads(); !done) return done.error();
  // Without modules.json the folder was not saved by sentence-transformers, which then asks none of
  // its own files.
  const bool saved = !modules_.empty();
  if (const auto done = saved ? read_limits() : read_tokenizer_limit(); !done) return done.error();
  // Exports of Qwen3 come with its prompts and without modules.json.
  const bool qwen3 = spec_.transformer.type == "qwen3";
  if (saved || qwen3) {
    if (const auto done = read_prompts(); !done) return done.error();
  }
  if (qwen3) apply_qwen3_habits();
  return std::move(spec_);
}

}  // namespace

Result<ModelSpec> read_spec(const fs::path& folder) { return SpecReader(folder).read(); }

const std::vector<std::string>& known_architectures() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Family& family : kFamilies) names.emplace_back(family.type);
    return names;
  }();
  return kNames;
}

}  // namespace textvec::model
