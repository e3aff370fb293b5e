// Model folders: each key of each configuration file at its limits, what is refused and in which
// words, what is assumed. What a folder means was read off sentence-transformers 6.2 and
// transformers 5.24, which were run on folders like these.
#include "model/spec.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"

namespace textvec::model {
namespace {

namespace fs = std::filesystem;

// A JSON object: each value is JSON text, and an empty one leaves the key out.
using Keys = std::map<std::string, std::string>;

std::string to_json(const Keys& keys) {
  std::string text;
  for (const auto& [key, value] : keys) {
    if (value.empty()) continue;
    text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
  }
  return text.empty() ? "{}" : text + "}";
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

Keys changed(Keys keys, const Keys& changes) {
  for (const auto& [key, value] : changes) keys[key] = value;
  return keys;
}

struct Size {
  const char* key;
  std::size_t Transformer::* member;
  std::size_t sample;
  std::size_t max;
};

using Sizes = std::vector<Size>;

const Sizes kBertSizes{{"vocab_size", &Transformer::vocabulary_size, 40, 16'777'216},
                       {"hidden_size", &Transformer::hidden_size, 16, 65'536},
                       {"num_hidden_layers", &Transformer::layers, 2, 1024},
                       {"num_attention_heads", &Transformer::heads, 4, 1024},
                       {"intermediate_size", &Transformer::intermediate_size, 24, 1'048'576},
                       {"max_position_embeddings", &Transformer::positions_max, 34, 16'777'216}};

const Sizes kDistilBertSizes{
    {"vocab_size", &Transformer::vocabulary_size, 40, 16'777'216},
    {"dim", &Transformer::hidden_size, 16, 65'536},
    {"n_layers", &Transformer::layers, 2, 1024},
    {"n_heads", &Transformer::heads, 4, 1024},
    {"hidden_dim", &Transformer::intermediate_size, 24, 1'048'576},
    {"max_position_embeddings", &Transformer::positions_max, 34, 16'777'216}};

struct Family {
  std::string type;
  const Sizes& sizes;
  std::string activation_key;
  std::size_t pad_token_id;  // transformers' default
  bool after_padding;        // positions begin behind the padding's row
  bool distilled;
};

const std::vector<Family> kFamilies{{"bert", kBertSizes, "hidden_act", 0, false, false},
                                    {"camembert", kBertSizes, "hidden_act", 1, true, false},
                                    {"distilbert", kDistilBertSizes, "activation", 0, false, true},
                                    {"roberta", kBertSizes, "hidden_act", 1, true, false},
                                    {"xlm-roberta", kBertSizes, "hidden_act", 1, true, false}};

const Family& family_of(std::string_view type) {
  return *std::find_if(kFamilies.begin(), kFamilies.end(),
                       [&](const Family& family) { return family.type == type; });
}

// What a config.json must have, and nothing else.
Keys config_of(const Family& family) {
  Keys keys{{"model_type", quoted(family.type)}};
  for (const Size& size : family.sizes) keys[size.key] = std::to_string(size.sample);
  return keys;
}

struct ModuleEntry {
  std::string type;  // the part behind the last dot of sentence_transformers' class
  std::string path;
};

const ModuleEntry kTransformer{"Transformer", ""};
const ModuleEntry kPooling{"Pooling", "1_Pooling"};
const ModuleEntry kDense{"Dense", "2_Dense"};
const ModuleEntry kNormalize{"Normalize", "3_Normalize"};

std::string to_json(const std::vector<ModuleEntry>& modules) {
  std::string text;
  for (const ModuleEntry& module : modules) {
    text += (text.empty() ? "[" : ",") +
            to_json(Keys{{"type", quoted("sentence_transformers.models." + module.type)},
                         {"path", quoted(module.path)}});
  }
  return text.empty() ? "[]" : text + "]";
}

// A BERT of 16 components and 34 positions with mean pooling; each test changes what it is about.
class ReadSpec : public ::testing::Test {
 protected:
  ReadSpec() {
    write_config({});
    write_modules({kTransformer, kPooling});
    write_pooling({{"pooling_mode_mean_tokens", "true"}});
  }

  void write(const std::string& name, std::string_view text) {
    testing::write_file(folder_ / name, text);
  }
  void write_config(const Keys& changes, const std::string& type = "bert") {
    write("config.json", to_json(changed(config_of(family_of(type)), changes)));
  }
  void write_modules(const std::vector<ModuleEntry>& modules) {
    write("modules.json", to_json(modules));
  }
  void write_pooling(const Keys& keys) {
    write("1_Pooling/config.json", to_json(changed({{"word_embedding_dimension", "16"}}, keys)));
  }
  void write_dense(const Keys& keys, const std::string& folder = "2_Dense") {
    write(folder + "/config.json",
          to_json(changed({{"in_features", "16"}, {"out_features", "8"}}, keys)));
  }
  void remove(const std::string& name) { fs::remove_all(folder_ / name); }

  Result<ModelSpec> read() const { return read_spec(folder_.path()); }

  ModelSpec read_good() const {
    const auto spec = read();
    EXPECT_TRUE(spec) << spec.error().message;
    return spec ? *spec : ModelSpec{};
  }

  void expect_error(ErrorCode code, std::initializer_list<std::string_view> parts) const {
    const auto spec = read();
    ASSERT_FALSE(spec) << "wanted: " << *parts.begin();
    EXPECT_EQ(spec.error().code, code) << spec.error().message;
    for (const std::string_view part : parts) {
      EXPECT_NE(spec.error().message.find(part), std::string::npos)
          << spec.error().message << "\nlacks: " << part;
    }
  }

  testing::TemporaryFolder folder_;
};

TEST(KnownArchitectures, AreSorted) {
  EXPECT_EQ(known_architectures(), (std::vector<std::string>{"bert", "camembert", "distilbert",
                                                             "qwen3", "roberta", "xlm-roberta"}));
}

TEST_F(ReadSpec, ReadsTheSizesOfEveryFamily) {
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(family.type);
    write_config({}, family.type);
    const ModelSpec spec = read_good();
    EXPECT_TRUE(spec.has_config);
    EXPECT_TRUE(spec.known_architecture);
    EXPECT_EQ(spec.transformer.type, family.type);
    for (const Size& size : family.sizes) {
      EXPECT_EQ(spec.transformer.*size.member, size.sample) << size.key;
    }
    EXPECT_EQ(spec.dimension, 16U);
  }
}

TEST_F(ReadSpec, FillsInWhatTransformersAssumes) {
  for (const Family& family : kFamilies) {
    for (const char* left_out : {"", "null"}) {
      SCOPED_TRACE(family.type + " " + left_out);
      write_config({{"pad_token_id", left_out},
                    {"layer_norm_eps", left_out},
                    {"type_vocab_size", left_out},
                    {family.activation_key, left_out},
                    {"position_embedding_type", left_out},
                    {"is_decoder", left_out}},
                   family.type);
      const ModelSpec spec = read_good();
      EXPECT_EQ(spec.transformer.pad_token_id, family.pad_token_id);
      EXPECT_EQ(spec.transformer.position_offset,
                family.after_padding ? family.pad_token_id + 1 : 0U);
      EXPECT_EQ(spec.transformer.norm_epsilon, 1e-12);
      EXPECT_EQ(spec.transformer.type_vocabulary_size, family.distilled ? 0U : 2U);
      EXPECT_EQ(spec.transformer.activation, "gelu");
    }
  }
}

TEST_F(ReadSpec, TakesWhatConfigJsonSays) {
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(family.type);
    write_config({{"pad_token_id", "7"},
                  {"layer_norm_eps", "1e-05"},
                  {"type_vocab_size", "5"},
                  {family.activation_key, quoted("relu")},
                  {"position_embedding_type", quoted("absolute")},
                  {"is_decoder", "false"}},
                 family.type);
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.transformer.pad_token_id, 7U);
    EXPECT_EQ(spec.transformer.position_offset, family.after_padding ? 8U : 0U);
    // DistilBertModel has its epsilon in the code, and no token types, whatever the file says.
    EXPECT_EQ(spec.transformer.norm_epsilon, family.distilled ? 1e-12 : 1e-05);
    EXPECT_EQ(spec.transformer.type_vocabulary_size, family.distilled ? 0U : 5U);
    EXPECT_EQ(spec.transformer.activation, "relu");
  }
}

TEST_F(ReadSpec, ChecksEverySizeAtItsLimits) {
  remove("modules.json");  // so that no pooling has to follow the hidden size
  for (const Family& family : kFamilies) {
    for (const Size& size : family.sizes) {
      SCOPED_TRACE(family.type + " " + size.key);
      const bool heads = size.member == &Transformer::heads;
      const auto write_size = [&](std::size_t value) {
        Keys keys{{family.sizes[3].key, "1"}, {"pad_token_id", "0"}};
        // So many heads divide so many components.
        if (heads && value > 0) keys[family.sizes[1].key] = std::to_string(value);
        keys[size.key] = std::to_string(value);
        write_config(keys, family.type);
      };
      // Padding, id 0, has a row of the position table to itself.
      const bool one_row = size.member == &Transformer::positions_max && family.after_padding;
      for (const std::size_t value : {std::size_t{one_row ? 2U : 1U}, size.max - 1, size.max}) {
        write_size(value);
        EXPECT_EQ(read_good().transformer.*size.member, value);
      }
      for (const std::size_t value : {std::size_t{0}, size.max + 1}) {
        write_size(value);
        expect_error(ErrorCode::BadModel,
                     {std::string("config.json: ") + size.key + " is " + std::to_string(value) +
                      "; it takes 1 to " + std::to_string(size.max)});
      }
    }
  }
}

TEST_F(ReadSpec, NeedsEverySizeAsAnInteger) {
  for (const Family& family : kFamilies) {
    for (const Size& size : family.sizes) {
      SCOPED_TRACE(family.type + " " + size.key);
      const std::string name = std::string("config.json: ") + size.key;
      for (const char* value : {"", "null"}) {
        write_config({{size.key, value}}, family.type);
        expect_error(ErrorCode::BadModel, {name + " is missing"});
      }
      for (const char* value : {"\"4\"", "4.0", "4e0", "true", "[4]", "{}", "1e30",
                                "18446744073709551616", "9223372036854775808"}) {
        write_config({{size.key, value}}, family.type);
        expect_error(ErrorCode::BadModel, {name, "it takes an integer of 1 to"});
      }
      for (const char* value : {"-1", "-9223372036854775808", "9223372036854775807"}) {
        write_config({{size.key, value}}, family.type);
        expect_error(ErrorCode::BadModel, {name + " is " + value + "; it takes 1 to"});
      }
    }
  }
}

TEST_F(ReadSpec, WantsHeadsThatDivideTheHiddenSize) {
  for (const char* heads : {"1", "2", "8", "16"}) {
    write_config({{"num_attention_heads", heads}});
    EXPECT_TRUE(read_good().known_architecture) << heads;
  }
  for (const char* heads : {"3", "15", "17", "32"}) {
    write_config({{"num_attention_heads", heads}});
    expect_error(ErrorCode::BadModel,
                 {"config.json: " + std::string(heads) + " heads do not divide 16 components"});
  }
}

TEST_F(ReadSpec, WantsThePaddingInsideTheVocabulary) {
  for (const char* pad : {"0", "38", "39"}) {
    write_config({{"pad_token_id", pad}});
    EXPECT_EQ(std::to_string(read_good().transformer.pad_token_id), pad);
  }
  write_config({{"pad_token_id", "40"}});
  expect_error(ErrorCode::BadModel, {"config.json: pad_token_id is 40; it takes 0 to 39"});
  write_config({{"pad_token_id", "-1"}});
  expect_error(ErrorCode::BadModel, {"config.json: pad_token_id is -1; it takes 0 to 39"});
  write_config({{"pad_token_id", "\"0\""}});
  expect_error(ErrorCode::BadModel, {"config.json: pad_token_id is a string"});
}

TEST_F(ReadSpec, WantsAPositionBehindThePadding) {
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(family.type);
    const auto read_positions = [&](const char* positions) {
      write_config({{"max_position_embeddings", positions}, {"pad_token_id", "4"}}, family.type);
      return read();
    };
    EXPECT_EQ(read_positions("6")->tokens_max, family.after_padding ? 1U : 6U);
    if (!family.after_padding) {
      EXPECT_EQ(read_positions("5")->tokens_max, 5U);
      continue;
    }
    for (const char* positions : {"5", "4"}) {
      EXPECT_FALSE(read_positions(positions));
      expect_error(ErrorCode::BadModel, {"config.json: max_position_embeddings is " +
                                         std::string(positions) + "; positions begin at 5"});
    }
  }
}

TEST_F(ReadSpec, LimitsTheTokenTypes) {
  for (const char* types : {"1", "1023", "1024"}) {
    write_config({{"type_vocab_size", types}});
    EXPECT_EQ(std::to_string(read_good().transformer.type_vocabulary_size), types);
  }
  for (const char* types : {"0", "1025"}) {
    write_config({{"type_vocab_size", types}});
    expect_error(ErrorCode::BadModel, {"config.json: type_vocab_size is " + std::string(types) +
                                       "; it takes 1 to 1024"});
  }
}

TEST_F(ReadSpec, WantsAnEpsilonBetweenZeroAndOne) {
  for (const double epsilon : {1e-300, 1e-12, 1e-5, 0.5, 0.9999999999999999}) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.17g", epsilon);
    write_config({{"layer_norm_eps", text}});
    EXPECT_EQ(read_good().transformer.norm_epsilon, epsilon);
  }
  for (const char* epsilon : {"0", "0.0", "-1e-12", "1", "1.0", "1e300"}) {
    write_config({{"layer_norm_eps", epsilon}});
    expect_error(ErrorCode::BadModel, {"config.json: layer_norm_eps is ", "between 0 and 1"});
  }
  write_config({{"layer_norm_eps", "\"1e-12\""}});
  expect_error(ErrorCode::BadModel, {"config.json: layer_norm_eps is a string"});
}

TEST_F(ReadSpec, KnowsTheActivationsThatItComputes) {
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(family.type);
    for (const char* name : {"gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "relu"}) {
      write_config({{family.activation_key, quoted(name)}}, family.type);
      EXPECT_EQ(read_good().transformer.activation, name);
    }
    for (const char* name :
         {"silu", "swish", "tanh", "gelu_10", "quick_gelu", "GELU", "gelu ", ""}) {
      write_config({{family.activation_key, quoted(name)}}, family.type);
      expect_error(ErrorCode::Unsupported, {"config.json: " + family.activation_key + " is " +
                                                quoted(name) + "; textvec computes",
                                            "gelu_pytorch_tanh, relu"});
    }
    write_config({{family.activation_key, "1"}}, family.type);
    expect_error(ErrorCode::BadModel, {"config.json: " + family.activation_key + " is an integer"});
  }
}

// Each family has its own key; the other's means nothing to it.
TEST_F(ReadSpec, ReadsNoOtherFamilysActivation) {
  write_config({{"activation", quoted("silu")}});
  EXPECT_EQ(read_good().transformer.activation, "gelu");
  write_config({{"hidden_act", quoted("silu")}}, "distilbert");
  EXPECT_EQ(read_good().transformer.activation, "gelu");
}

TEST_F(ReadSpec, RefusesVariantsThatItWouldComputeWrongly) {
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(family.type);
    for (const char* positions : {"relative_key", "relative_key_query", ""}) {
      write_config({{"position_embedding_type", quoted(positions)}}, family.type);
      expect_error(ErrorCode::Unsupported, {"config.json: position_embedding_type is " +
                                            quoted(positions) + "; textvec computes \"absolute\""});
    }
    write_config({{"is_decoder", "true"}}, family.type);
    expect_error(ErrorCode::Unsupported, {"config.json: is_decoder is true"});
    for (const auto& [key, value] : {std::pair("position_embedding_type", "1"),
                                     std::pair("is_decoder", "1"), std::pair("is_decoder", "[]")}) {
      write_config({{key, value}}, family.type);
      expect_error(ErrorCode::BadModel, {std::string("config.json: ") + key + " is an"});
    }
  }
}

// A value from a file may be megabytes long; its message is not, and holds no half character.
TEST_F(ReadSpec, ShowsTheBeginningOfALongValue) {
  const auto message = [&](const std::string& value) {
    write_config({{"hidden_act", quoted(value)}});
    const auto spec = read();
    return spec ? std::string() : spec.error().message;
  };
  const std::string a199(199, 'a');
  EXPECT_NE(message(a199 + "b").find(quoted(a199 + "b")), std::string::npos);
  EXPECT_NE(message(a199 + "bc").find(quoted(a199 + "b...")), std::string::npos);
  EXPECT_NE(message(a199 + "\xC3\xA9").find(quoted(a199 + "...")), std::string::npos);
  const std::string a196(196, 'a');
  EXPECT_NE(message(a196 + "\xF0\x9F\x98\x80").find(quoted(a196 + "\xF0\x9F\x98\x80")),
            std::string::npos);
  EXPECT_NE(message(a196 + "a\xF0\x9F\x98\x80").find(quoted(a196 + "a...")), std::string::npos);
  EXPECT_LT(message(std::string(1'000'000, 'a')).size(), 500U);
}

TEST_F(ReadSpec, LeavesAnUnknownArchitectureToAnOnnxFile) {
  for (const char* type : {"\"mpnet\"", "\"qwen2\"", "\"BERT\"", "\"bert \"", "\"\"", "", "null"}) {
    SCOPED_TRACE(type);
    write_config({{"model_type", type}, {"pad_token_id", "3"}, {"hidden_act", "7"}});
    const ModelSpec spec = read_good();
    EXPECT_TRUE(spec.has_config);
    EXPECT_FALSE(spec.known_architecture);
    EXPECT_EQ(spec.transformer.vocabulary_size, 40U);
    EXPECT_EQ(spec.transformer.hidden_size, 16U);
    EXPECT_EQ(spec.transformer.positions_max, 34U);
    EXPECT_EQ(spec.transformer.pad_token_id, 3U);
    EXPECT_EQ(spec.transformer.position_offset, 0U);
    EXPECT_EQ(spec.dimension, 16U);
    EXPECT_EQ(spec.tokens_max, 34U);
  }
  write_config({{"model_type", quoted("mpnet")}});
  EXPECT_EQ(read_good().transformer.type, "mpnet");
  write_config({{"model_type", "7"}});
  expect_error(ErrorCode::BadModel, {"config.json: model_type is an integer"});
}

TEST_F(ReadSpec, TakesNoSenselessNumberOfAnUnknownArchitecture) {
  for (const char* value : {"", "null", "\"12\"", "-1", "1.5", "99999999999", "[]"}) {
    SCOPED_TRACE(value);
    write_config({{"model_type", quoted("xlnet")},
                  {"vocab_size", value},
                  {"hidden_size", value},
                  {"max_position_embeddings", value},
                  {"pad_token_id", value}});
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.transformer.vocabulary_size, 0U);
    EXPECT_EQ(spec.transformer.hidden_size, 0U);
    EXPECT_EQ(spec.transformer.positions_max, 0U);
    EXPECT_EQ(spec.transformer.pad_token_id, 0U);
    EXPECT_EQ(spec.dimension, 16U) << "the pooling's";
    EXPECT_EQ(spec.tokens_max, 0U);
  }
}

TEST_F(ReadSpec, DoesWithoutAConfig) {
  remove("config.json");
  const ModelSpec spec = read_good();
  EXPECT_FALSE(spec.has_config);
  EXPECT_FALSE(spec.known_architecture);
  EXPECT_EQ(spec.transformer.type, "");
  EXPECT_EQ(spec.dimension, 16U);
  EXPECT_EQ(spec.tokens_max, 0U);
}

TEST_F(ReadSpec, RunsModulesInOneOrder) {
  write_dense({});
  write_dense({{"in_features", "8"}, {"out_features", "4"}}, "4_Dense");
  const ModuleEntry second_dense{"Dense", "4_Dense"};
  const std::pair<std::vector<ModuleEntry>, std::size_t> good[] = {
      {{kTransformer, kPooling}, 16},
      {{kTransformer, kPooling, kNormalize}, 16},
      {{kTransformer, kPooling, kNormalize, kNormalize}, 16},
      {{kTransformer, kPooling, kDense}, 8},
      {{kTransformer, kPooling, kDense, kNormalize}, 8},
      {{kTransformer, kPooling, kDense, second_dense, kNormalize}, 4}};
  for (const auto& [modules, dimension] : good) {
    write_modules(modules);
    EXPECT_EQ(read_good().dimension, dimension) << to_json(modules);
  }
  const std::vector<ModuleEntry> bad[] = {{kPooling},
                                          {kDense, kPooling},
                                          {kPooling, kTransformer},
                                          {kTransformer},
                                          {kTransformer, kTransformer},
                                          {kTransformer, kNormalize},
                                          {kTransformer, kDense, kPooling},
                                          {kTransformer, kPooling, kPooling},
                                          {kTransformer, kPooling, kTransformer},
                                          {kTransformer, kPooling, kNormalize, kDense},
                                          {kTransformer, kPooling, kDense, kTransformer}};
  for (const auto& modules : bad) {
    SCOPED_TRACE(to_json(modules));
    write_modules(modules);
    expect_error(ErrorCode::Unsupported,
                 {"modules.json: module ", "Transformer, Pooling, Dense, Normalize in that order"});
  }
}

TEST_F(ReadSpec, KnowsAClassByItsLastName) {
  // Releases before 6 and since, and by way of a package's own name.
  for (const char* pooling :
       {"sentence_transformers.models.Pooling", "sentence_transformers.models.Pooling.Pooling",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}) {
    write("modules.json",
          R"([{"type":"sentence_transformers.base.modules.transformer.Transformer","path":""},)"
          R"({"type":")" +
              std::string(pooling) + R"(","path":"1_Pooling"}])");
    EXPECT_EQ(read_good().dimension, 16U) << pooling;
  }
  for (const char* type :
       {"Pooling", "pylate.models.Pooling", "modeling_nomic.Pooling", "sentence_transformers",
        "sentence_transformers.", "sentence_transformersx.Pooling", "",
        "sentence_transformers.models.pooling", "sentence_transformers.models.CNN",
        "sentence_transformers.models.StaticEmbedding", "sentence_transformers.models.LayerNorm",
        "sentence_transformers.models.WeightedLayerPooling",
        "sentence_transformers.models.Poolings"}) {
    SCOPED_TRACE(type);
    write("modules.json", R"([{"type":"sentence_transformers.models.Transformer","path":""},)"
                          R"({"type":")" +
                              std::string(type) + R"(","path":"1_Pooling"}])");
    expect_error(ErrorCode::Unsupported,
                 {"modules.json: module 1: type " + quoted(type) + " is not one that textvec runs",
                  "Transformer, Pooling, Dense, Normalize"});
  }
}

TEST_F(ReadSpec, KeepsAModulesPathInsideTheFolder) {
  // JSON text, so that a backslash is written twice.
  for (const char* path :
       {"..", "../x", "../../etc", "x/../../y", "x/../y", "x/..", "./..", "/", "//", "/etc", "//x",
        "\\\\", "..\\\\x", "x\\\\..\\\\y", "C:", "C:\\\\x", "C:x", "\\u0000", "x\\u0000y"}) {
    for (const std::size_t index : {std::size_t{0}, std::size_t{1}}) {
      SCOPED_TRACE(path);
      std::vector<ModuleEntry> modules{kTransformer, kPooling};
      modules[index].path = path;
      write_modules(modules);
      expect_error(ErrorCode::BadModel, {"modules.json: module " + std::to_string(index) + ": path",
                                         "does not stay inside the model folder"});
    }
  }
  for (const char* path : {"1_Pooling", "./1_Pooling", "1_Pooling/", "x/1_Pooling", "..x", "x..y",
                           "...", "1_Pooling/./"}) {
    SCOPED_TRACE(path);
    write_modules({kTransformer, {"Pooling", path}});
    write(std::string(path) + "/config.json", R"({"word_embedding_dimension":16})");
    EXPECT_EQ(read_good().dimension, 16U);
  }
}

TEST_F(ReadSpec, LimitsAModulesPathToAThousandBytes) {
  std::string path;
  while (path.size() < 1000) path += std::string(99, 'p') + "/";
  for (const std::size_t size : {std::size_t{999}, std::size_t{1000}}) {
    write_modules({{"Transformer", path.substr(0, size)}, kPooling});
    EXPECT_FALSE(read_good().has_config);
  }
  write_modules({{"Transformer", path + "p"}, kPooling});
  expect_error(ErrorCode::BadModel, {"modules.json: module 0: path", "does not stay inside"});
}

TEST_F(ReadSpec, WantsOneToSixtyFourModules) {
  const auto write_count = [&](std::size_t count) {
    std::vector<ModuleEntry> modules{kTransformer, kPooling};
    modules.resize(count, kNormalize);
    write_modules(modules);
  };
  for (const std::size_t count : {std::size_t{63}, std::size_t{64}}) {
    write_count(count);
    EXPECT_EQ(read_good().dimension, 16U) << count;
  }
  write_count(65);
  expect_error(ErrorCode::BadModel, {"modules.json: the top level is no list of 1 to 64 modules"});
  for (const char* text : {"[]", "{}", "null", "7", "\"x\""}) {
    write("modules.json", text);
    expect_error(ErrorCode::BadModel,
                 {"modules.json: the top level is no list of 1 to 64 modules"});
  }
}

TEST_F(ReadSpec, NeedsATypeAndAPathOfEachModule) {
  constexpr const char* kType = R"("type":"sentence_transformers.models.Transformer")";
  const std::pair<std::string, const char*> cases[] = {
      {"{}", "modules.json: module 0: type is missing"},
      {"7", "modules.json: module 0: type is missing"},
      {"[]", "modules.json: module 0: type is missing"},
      {R"({"type":null,"path":""})", "modules.json: module 0: type is missing"},
      {R"({"type":7,"path":""})", "modules.json: module 0: type is an integer"},
      {std::string("{") + kType + "}", "modules.json: module 0: path is missing"},
      {std::string("{") + kType + R"(,"path":null})", "modules.json: module 0: path is missing"},
      {std::string("{") + kType + R"(,"path":[]})", "modules.json: module 0: path is an array"}};
  for (const auto& [module, message] : cases) {
    write("modules.json", "[" + module + "]");
    expect_error(ErrorCode::BadModel, {message});
  }
}

// Old releases put the transformer into a folder of its own.
TEST_F(ReadSpec, FindsTheTransformerInItsFolder) {
  write_modules({{"Transformer", "0_Transformer"}, kPooling});
  write("0_Transformer/config.json",
        to_json(changed(config_of(family_of("roberta")), {{"max_position_embeddings", "22"}})));
  write("0_Transformer/tokenizer_config.json", R"({"model_max_length":11})");
  write("tokenizer_config.json", R"({"model_max_length":7})");
  write("config_sentence_transformers.json", R"({"prompts":{"query":"q: "}})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.folder, folder_ / "0_Transformer");
  EXPECT_EQ(spec.name, folder_.path().filename());
  EXPECT_EQ(spec.transformer.type, "roberta");
  EXPECT_EQ(spec.tokens_max, 11U);
  EXPECT_EQ(spec.prompts.size(), 1U) << "of the model, not of its transformer";
  write("0_Transformer/sentence_bert_config.json", R"({"max_seq_length":9})");
  write("sentence_bert_config.json", R"({"max_seq_length":5})");
  EXPECT_EQ(read_good().tokens_max, 9U);
  write("0_Transformer/config.json", R"({"model_type":"bert"})");
  expect_error(ErrorCode::BadModel, {"0_Transformer/config.json: vocab_size is missing"});
}

TEST_F(ReadSpec, PoolsByTheFlagThatIsSet) {
  const std::pair<const char*, Pooling> modes[] = {
      {"pooling_mode_cls_token", Pooling::Cls},
      {"pooling_mode_max_tokens", Pooling::Max},
      {"pooling_mode_mean_tokens", Pooling::Mean},
      {"pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrtLen},
      {"pooling_mode_lasttoken", Pooling::LastToken}};
  Keys none;
  for (const auto& [key, pooling] : modes) none[key] = "false";
  none["pooling_mode_weightedmean_tokens"] = "false";
  for (const auto& [key, pooling] : modes) {
    for (const Keys& others : {Keys{}, none}) {
      write_pooling(changed(others, {{key, "true"}}));
      const ModelSpec spec = read_good();
      EXPECT_EQ(spec.pooling, pooling) << key;
      EXPECT_FALSE(spec.pooling_assumed);
      EXPECT_TRUE(spec.notes.empty());
    }
    write_pooling({{key, "1"}});
    expect_error(ErrorCode::BadModel, {"1_Pooling/config.json: " + std::string(key)});
  }
  for (const Keys& keys : {Keys{}, none}) {
    write_pooling(keys);
    EXPECT_EQ(read_good().pooling, Pooling::Mean) << "sentence-transformers' default";
  }
  write_pooling({{"pooling_mode_weightedmean_tokens", "true"}});
  expect_error(ErrorCode::Unsupported, {"1_Pooling/config.json: pooling mode \"weightedmean\"",
                                        "cls, lasttoken, max, mean, mean_sqrt_len_tokens"});
}

// A later release may add a mode; to leave it out would be to pool another way.
TEST_F(ReadSpec, RefusesAPoolingFlagThatItDoesNotKnow) {
  for (const char* value : {"true", "false", "1"}) {
    write_pooling({{"pooling_mode_mean_tokens", "true"}, {"pooling_mode_median_tokens", value}});
    expect_error(ErrorCode::Unsupported,
                 {"1_Pooling/config.json: \"pooling_mode_median_tokens\" is a mode that"});
  }
}

TEST_F(ReadSpec, RefusesPoolingsThatAreConcatenated) {
  write_pooling({{"pooling_mode_cls_token", "true"}, {"pooling_mode_max_tokens", "true"}});
  expect_error(ErrorCode::Unsupported, {"1_Pooling/config.json: pooling modes \"cls, max\" are "
                                        "concatenated; textvec computes one"});
  write_pooling({{"pooling_mode", R"(["mean","lasttoken"])"}});
  expect_error(ErrorCode::Unsupported, {"1_Pooling/config.json: pooling modes \"mean, lasttoken\" "
                                        "are concatenated"});
}

TEST_F(ReadSpec, PoolsByTheModesName) {
  const std::pair<const char*, Pooling> modes[] = {{"cls", Pooling::Cls},
                                                   {"max", Pooling::Max},
                                                   {"mean", Pooling::Mean},
                                                   {"mean_sqrt_len_tokens", Pooling::MeanSqrtLen},
                                                   {"lasttoken", Pooling::LastToken}};
  for (const auto& [name, pooling] : modes) {
    for (const std::string& mode : {quoted(name), "[" + quoted(name) + "]"}) {
      // As sentence-transformers 6 writes it; the old flags then mean nothing.
      write("1_Pooling/config.json", R"({"embedding_dimension":16,"include_prompt":true,)"
                                     R"("pooling_mode_weightedmean_tokens":true,"pooling_mode":)" +
                                         mode + "}");
      EXPECT_EQ(read_good().pooling, pooling) << mode;
    }
  }
  for (const char* name : {"weightedmean", "Mean", "median", ""}) {
    for (const std::string& mode : {quoted(name), "[" + quoted(name) + "]"}) {
      write_pooling({{"pooling_mode", mode}});
      expect_error(ErrorCode::Unsupported, {"1_Pooling/config.json: pooling mode " + quoted(name) +
                                            " is not one that textvec computes"});
    }
  }
  std::string many = "[\"mean\"";
  for (int count = 1; count < 64; ++count) many += ",\"mean\"";
  write_pooling({{"pooling_mode", many + "]"}});
  expect_error(ErrorCode::Unsupported, {"1_Pooling/config.json: pooling modes"});
  for (const std::string& mode :
       {std::string("7"), std::string("true"), std::string("{}"), std::string("[]"),
        std::string("[7]"), std::string("[\"mean\",null]"), many + ",\"mean\"]"}) {
    write_pooling({{"pooling_mode", mode}});
    expect_error(ErrorCode::BadModel, {"1_Pooling/config.json: pooling_mode is neither a string"});
  }
}

TEST_F(ReadSpec, WantsThePoolingsDimensionToBeTheTransformers) {
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"}) {
    const std::string source = std::string("1_Pooling/config.json: ") + key;
    const auto write_dimension = [&, name = key](const std::string& value) {
      write("1_Pooling/config.json", to_json(Keys{{name, value}, {"pooling_mode", "\"cls\""}}));
    };
    for (const char* dimension : {"15", "17"}) {
      write_dimension(dimension);
      expect_error(ErrorCode::BadModel,
                   {source + " is " + dimension + "; the transformer gives 16 components"});
    }
    write_dimension("0");
    expect_error(ErrorCode::BadModel, {source + " is 0; it takes 1 to 65536"});
    write_dimension("16.0");
    expect_error(ErrorCode::BadModel, {source + " is a number"});
    write_dimension("16");
    EXPECT_EQ(read_good().dimension, 16U);
  }
  write("1_Pooling/config.json", "{}");
  expect_error(ErrorCode::BadModel, {"1_Pooling/config.json: word_embedding_dimension is missing"});
  write("1_Pooling/config.json", R"({"embedding_dimension":16,"word_embedding_dimension":5})");
  EXPECT_EQ(read_good().dimension, 16U) << "the newer name counts";
}

TEST_F(ReadSpec, TakesThePoolingsWordForAnUnknownArchitecture) {
  write_config({{"model_type", quoted("mpnet")}});
  for (const char* dimension : {"1", "17", "65535", "65536"}) {
    write_pooling({{"word_embedding_dimension", dimension}});
    EXPECT_EQ(std::to_string(read_good().dimension), dimension);
  }
  write_pooling({{"word_embedding_dimension", "65537"}});
  expect_error(ErrorCode::BadModel, {"word_embedding_dimension is 65537; it takes 1 to 65536"});
}

TEST_F(ReadSpec, ReadsWhetherThePromptIsPooled) {
  for (const auto& [value, pooled] : {std::pair("", true), std::pair("null", true),
                                      std::pair("true", true), std::pair("false", false)}) {
    write_pooling({{"include_prompt", value}});
    EXPECT_EQ(read_good().pool_prompt, pooled) << value;
  }
  write_pooling({{"include_prompt", "0"}});
  expect_error(ErrorCode::BadModel, {"1_Pooling/config.json: include_prompt is an integer"});
}

TEST_F(ReadSpec, NeedsThePoolingsFile) {
  remove("1_Pooling");
  expect_error(ErrorCode::NotFound, {(folder_ / "1_Pooling/config.json").string()});
}

TEST_F(ReadSpec, AssumesTheMeanWithoutModules) {
  remove("modules.json");
  write_pooling({{"pooling_mode", quoted("cls")}});  // nobody names this folder
  const std::pair<const char*, const char*> causal[] = {{"", ""},
                                                        {"null", ""},
                                                        {"[]", ""},
                                                        {"7", ""},
                                                        {"[7]", ""},
                                                        {R"("BertForCausalLM")", ""},
                                                        {R"(["BertModel"])", ""},
                                                        {R"(["BertModel","BertForCausalLM"])", ""},
                                                        {R"(["BertForMaskedLM"])", ""},
                                                        {R"(["BertForCausalLMHead"])", ""},
                                                        {R"(["BertForCausalLM"])", "false"}};
  for (const auto& [architectures, is_causal] : causal) {
    SCOPED_TRACE(architectures);
    write_config({{"architectures", architectures}, {"is_causal", is_causal}});
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.pooling, Pooling::Mean);
    EXPECT_TRUE(spec.pooling_assumed);
    EXPECT_EQ(spec.dimension, 16U);
    EXPECT_EQ(spec.notes, std::vector<std::string>{"no modules.json: mean pooling is assumed"});
  }
  for (const char* is_causal : {"", "true"}) {
    write_config({{"architectures", R"(["BertForCausalLM"])"}, {"is_causal", is_causal}});
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.pooling, Pooling::LastToken);
    EXPECT_TRUE(spec.pooling_assumed);
    EXPECT_EQ(spec.notes,
              std::vector<std::string>{"no modules.json: last-token pooling is assumed"});
  }
}

TEST_F(ReadSpec, ReadsAChainOfDenseModules) {
  write_modules({kTransformer, kPooling, kDense, {"Dense", "x/Dense"}});
  write_dense({{"bias", "false"},
               {"activation_function", quoted("torch.nn.modules.linear.Identity")},
               {"use_residual", "false"},
               {"module_input_name", quoted("sentence_embedding")},
               {"module_output_name", "null"}});
  write_dense({{"in_features", "8"}, {"out_features", "65536"}}, "x/Dense");
  const ModelSpec spec = read_good();
  ASSERT_EQ(spec.dense.size(), 2U);
  EXPECT_EQ(spec.dense[0].folder, folder_ / "2_Dense");
  EXPECT_EQ(spec.dense[0].in_features, 16U);
  EXPECT_EQ(spec.dense[0].out_features, 8U);
  EXPECT_FALSE(spec.dense[0].bias);
  EXPECT_EQ(spec.dense[0].activation, DenseActivation::Identity);
  EXPECT_EQ(spec.dense[1].folder, folder_ / "x/Dense");
  EXPECT_EQ(spec.dense[1].in_features, 8U);
  EXPECT_EQ(spec.dense[1].out_features, 65536U);
  EXPECT_TRUE(spec.dense[1].bias) << "sentence-transformers' default";
  EXPECT_EQ(spec.dense[1].activation, DenseActivation::Tanh) << "sentence-transformers' default";
  EXPECT_EQ(spec.dimension, 65536U);
}

TEST_F(ReadSpec, WantsEachDenseToTakeWhatTheOneBeforeGives) {
  write_modules({kTransformer, kPooling, kDense, {"Dense", "3_Dense"}});
  for (const char* features : {"15", "17"}) {
    write_dense({{"in_features", features}});
    expect_error(ErrorCode::BadModel,
                 {"2_Dense/config.json: in_features is " + std::string(features) +
                  "; the module before gives 16 components"});
  }
  write_dense({});
  for (const char* features : {"7", "9", "16"}) {
    write_dense({{"in_features", features}}, "3_Dense");
    expect_error(ErrorCode::BadModel,
                 {"3_Dense/config.json: in_features is " + std::string(features) +
                  "; the module before gives 8 components"});
  }
}

TEST_F(ReadSpec, ChecksEachKeyOfADenseModule) {
  write_modules({kTransformer, kPooling, kDense});
  for (const char* key : {"in_features", "out_features"}) {
    const std::string name = std::string("2_Dense/config.json: ") + key;
    write_dense({{key, ""}});
    expect_error(ErrorCode::BadModel, {name + " is missing"});
    write_dense({{key, "0"}});
    expect_error(ErrorCode::BadModel, {name + " is 0; it takes 1 to 65536"});
    write_dense({{key, "65537"}});
    expect_error(ErrorCode::BadModel, {name + " is 65537; it takes 1 to 65536"});
    write_dense({{key, "\"16\""}});
    expect_error(ErrorCode::BadModel, {name + " is a string"});
  }
  for (const char* features : {"1", "65535", "65536"}) {
    write_dense({{"out_features", features}});
    EXPECT_EQ(std::to_string(read_good().dimension), features);
  }
  for (const char* key :
       {"bias", "use_residual", "activation_function", "module_input_name", "module_output_name"}) {
    write_dense({{key, "1"}});
    expect_error(ErrorCode::BadModel, {std::string("2_Dense/config.json: ") + key + " is an int"});
  }
  write_dense({{"use_residual", "true"}});
  expect_error(ErrorCode::Unsupported, {"2_Dense/config.json: use_residual is true"});
  remove("2_Dense");
  expect_error(ErrorCode::NotFound, {(folder_ / "2_Dense/config.json").string()});
}

TEST_F(ReadSpec, KnowsTheActivationsOfDenseModules) {
  write_modules({kTransformer, kPooling, kDense});
  write_dense({{"activation_function", quoted("torch.nn.modules.activation.Tanh")}});
  EXPECT_EQ(read_good().dense.at(0).activation, DenseActivation::Tanh);
  for (const char* name :
       {"torch.nn.modules.activation.ReLU", "torch.nn.modules.activation.GELU",
        "torch.nn.modules.activation.tanh", "torch.tanh", "my_model.Tanh", "Tanh", ""}) {
    write_dense({{"activation_function", quoted(name)}});
    expect_error(ErrorCode::Unsupported,
                 {"2_Dense/config.json: activation_function is " + quoted(name),
                  "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"});
  }
}

// On "token_embeddings" these modules would do something else, by the same name.
TEST_F(ReadSpec, RunsDenseAndNormalizeOnThePooledVectorOnly) {
  write_modules({kTransformer, kPooling, kDense, kNormalize});
  for (const char* key : {"module_input_name", "module_output_name"}) {
    const std::string message =
        std::string("/config.json: ") + key + " is \"token_embeddings\"; textvec computes";
    write_dense({{key, quoted("token_embeddings")}});
    expect_error(ErrorCode::Unsupported, {"2_Dense" + message});
    write_dense({});
    write("3_Normalize/config.json", to_json(Keys{{key, quoted("token_embeddings")}}));
    expect_error(ErrorCode::Unsupported, {"3_Normalize" + message});
    write("3_Normalize/config.json", to_json(Keys{{key, "[]"}}));
    expect_error(ErrorCode::BadModel, {std::string("3_Normalize/config.json: ") + key});
    write("3_Normalize/config.json", to_json(Keys{{key, quoted("sentence_embedding")}}));
    EXPECT_EQ(read_good().dimension, 8U);
  }
}

TEST_F(ReadSpec, NeedsNoFileOfNormalize) {
  write_modules({kTransformer, kPooling, kNormalize});
  EXPECT_EQ(read_good().dimension, 16U);
  write("3_Normalize/config.json", "{}");
  EXPECT_EQ(read_good().dimension, 16U);
  // A Normalize without a folder must not take the transformer's file for its own.
  write_config({{"module_input_name", quoted("token_embeddings")}});
  write_modules({kTransformer, kPooling, {"Normalize", ""}});
  EXPECT_EQ(read_good().dimension, 16U);
}

TEST_F(ReadSpec, TakesTheLimitOfTheTransformersModule) {
  write("tokenizer_config.json", R"({"model_max_length":7})");
  for (const std::size_t limit : {1U, 20U, 33U, 34U}) {
    write("sentence_bert_config.json", "{\"max_seq_length\":" + std::to_string(limit) + "}");
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.tokens_max, limit);
    EXPECT_TRUE(spec.notes.empty());
  }
  for (const char* text : {"{\"max_seq_length\":null}", "{\"do_lower_case\":false}"}) {
    write("sentence_bert_config.json", text);
    EXPECT_EQ(read_good().tokens_max, 7U) << text;
  }
  for (const char* value : {"0", "-1", "16777217", "32.0", "\"32\"", "true"}) {
    write("sentence_bert_config.json", "{\"max_seq_length\":" + std::string(value) + "}");
    expect_error(ErrorCode::BadModel,
                 {"sentence_bert_config.json: max_seq_length is ", "1 to 16777216"});
  }
}

TEST_F(ReadSpec, CapsTheLimitAtThePositionsAndSaysSo) {
  const std::pair<const char*, std::size_t> families[] = {{"bert", 34}, {"roberta", 32}};
  for (const auto& [type, positions] : families) {
    write_config({}, type);
    for (const std::size_t limit : {positions - 1, positions}) {
      write("sentence_bert_config.json", "{\"max_seq_length\":" + std::to_string(limit) + "}");
      const ModelSpec spec = read_good();
      EXPECT_EQ(spec.tokens_max, limit);
      EXPECT_TRUE(spec.notes.empty());
    }
    for (const std::size_t limit : {positions + 1, std::size_t{16'777'216}}) {
      write("sentence_bert_config.json", "{\"max_seq_length\":" + std::to_string(limit) + "}");
      const ModelSpec spec = read_good();
      EXPECT_EQ(spec.tokens_max, positions);
      EXPECT_EQ(spec.notes,
                std::vector<std::string>{"sentence_bert_config.json: max_seq_length is " +
                                         std::to_string(limit) + "; the model has " +
                                         std::to_string(positions) + " positions, which is used"});
    }
  }
}

TEST_F(ReadSpec, KnowsNoPositionsOfAnUnknownArchitecture) {
  write_config({{"model_type", quoted("xlnet")}, {"max_position_embeddings", ""}});
  for (const std::size_t limit : {1U, 16'777'215U, 16'777'216U}) {
    write("sentence_bert_config.json", "{\"max_seq_length\":" + std::to_string(limit) + "}");
    EXPECT_EQ(read_good().tokens_max, limit);
  }
}

TEST_F(ReadSpec, FindsTheTransformersModuleUnderItsOldNames) {
  const std::vector<std::string> names{
      "sentence_bert_config.json",       "sentence_roberta_config.json",
      "sentence_distilbert_config.json", "sentence_camembert_config.json",
      "sentence_albert_config.json",     "sentence_xlm-roberta_config.json",
      "sentence_xlnet_config.json"};
  // From the last to the first: each that is added hides the ones before.
  for (std::size_t index = names.size(); index-- > 0;) {
    write(names[index], "{\"max_seq_length\":" + std::to_string(10 + index) + "}");
    EXPECT_EQ(read_good().tokens_max, 10 + index) << names[index];
  }
  // An empty one says nothing, and the next is asked.
  for (std::size_t index = 0; index + 1 < names.size(); ++index) {
    write(names[index], "{}");
    EXPECT_EQ(read_good().tokens_max, 11 + index) << names[index];
  }
  write(names.back(), R"({"max_seq_length":0})");
  expect_error(ErrorCode::BadModel, {"sentence_xlnet_config.json: max_seq_length is 0"});
}

TEST_F(ReadSpec, ReadsWhetherTextsAreLowered) {
  for (const auto& [text, lowered] :
       {std::pair("{}", false), std::pair("{\"do_lower_case\":null}", false),
        std::pair("{\"do_lower_case\":false}", false),
        std::pair("{\"do_lower_case\":true}", true)}) {
    write("sentence_bert_config.json", text);
    EXPECT_EQ(read_good().lower_case, lowered) << text;
  }
  write("sentence_bert_config.json", "{\"do_lower_case\":\"true\"}");
  expect_error(ErrorCode::BadModel, {"sentence_bert_config.json: do_lower_case is a string"});
}

TEST_F(ReadSpec, PoolsTheTokensVectorsOnly) {
  // As sentence-transformers 6 writes the file.
  constexpr std::string_view kStart =
      R"({"transformer_task":"feature-extraction","modality_config":{"text":)"
      R"({"method":"forward","method_output_name":"last_hidden_state"}},"module_output_name":)";
  write("sentence_bert_config.json", std::string(kStart) + "\"token_embeddings\"}");
  EXPECT_EQ(read_good().tokens_max, 34U);
  write("sentence_bert_config.json", std::string(kStart) + "\"sentence_embedding\"}");
  expect_error(ErrorCode::Unsupported,
               {"sentence_bert_config.json: module_output_name is \"sentence_embedding\""});
  write("sentence_bert_config.json", std::string(kStart) + "1}");
  expect_error(ErrorCode::BadModel, {"sentence_bert_config.json: module_output_name is an int"});
}

TEST_F(ReadSpec, TakesTheSmallerOfPositionsAndTheTokenizersLimit) {
  const std::pair<const char*, std::size_t> cases[] = {
      {"1", 1},           {"33", 33},
      {"34", 34},         {"35", 34},
      {"33.0", 33},       {"999999999", 34},
      {"1000000000", 34},  // from here on it means "no limit"
      {"1e30", 34},       {"1000000000000000019884624838656", 34},
      {"null", 34},       {"", 34}};
  for (const auto& [value, limit] : cases) {
    write("tokenizer_config.json", to_json(Keys{{"model_max_length", value}}));
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.tokens_max, limit) << value;
    EXPECT_TRUE(spec.notes.empty());
  }
  write_config({}, "roberta");
  write("tokenizer_config.json", "{}");
  EXPECT_EQ(read_good().tokens_max, 32U);
  remove("tokenizer_config.json");
  EXPECT_EQ(read_good().tokens_max, 32U);
}

TEST_F(ReadSpec, TakesTheTokenizersLimitWhereNothingElseIsKnown) {
  write_config({{"model_type", quoted("xlnet")}, {"max_position_embeddings", "-1"}});
  const std::pair<const char*, std::size_t> cases[] = {
      {"512", 512}, {"999999999", 999'999'999}, {"1000000000", 0}, {"1e30", 0}, {"", 0}};
  for (const auto& [value, limit] : cases) {
    write("tokenizer_config.json", to_json(Keys{{"model_max_length", value}}));
    EXPECT_EQ(read_good().tokens_max, limit) << value;
  }
}

TEST_F(ReadSpec, WantsATokenizersLimitOfAtLeastOne) {
  for (const char* value : {"0", "-1", "0.5", "-1e30", "0.0"}) {
    write("tokenizer_config.json", to_json(Keys{{"model_max_length", value}}));
    expect_error(ErrorCode::BadModel,
                 {"tokenizer_config.json: model_max_length is ", "it takes at least 1"});
  }
  for (const char* value : {"\"512\"", "true", "[]"}) {
    write("tokenizer_config.json", to_json(Keys{{"model_max_length", value}}));
    expect_error(ErrorCode::BadModel, {"tokenizer_config.json: model_max_length is a"});
  }
}

TEST_F(ReadSpec, ReadsPrompts) {
  constexpr const char* kFile = "config_sentence_transformers.json";
  EXPECT_TRUE(read_good().prompts.empty());
  for (const char* text : {"{}", R"({"prompts":null})", R"({"prompts":{}})"}) {
    write(kFile, text);
    EXPECT_TRUE(read_good().prompts.empty()) << text;
  }
  write(kFile, R"({"prompts":{"query":"query: ","passage":"\u00e9\n","none":null,"":"x"},)"
               R"("default_prompt_name":"passage"})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.prompts,
            (std::map<std::string, std::string>{
                {"", "x"}, {"none", ""}, {"passage", "\xC3\xA9\n"}, {"query", "query: "}}));
  EXPECT_EQ(spec.default_prompt, "passage");
  for (const char* value : {"[]", "7", "\"query: \""}) {
    write(kFile, "{\"prompts\":" + std::string(value) + "}");
    expect_error(ErrorCode::BadModel,
                 {"config_sentence_transformers.json: prompts is no object of at most 1000"});
  }
  write(kFile, R"({"prompts":{"query":["a"]}})");
  expect_error(ErrorCode::BadModel,
               {"config_sentence_transformers.json: prompts: query is an array"});
}

TEST_F(ReadSpec, TakesAThousandPrompts) {
  const auto write_count = [&](std::size_t count) {
    Keys prompts;
    for (std::size_t index = 0; index < count; ++index) {
      prompts["p" + std::to_string(index)] = "\"x\"";
    }
    write("config_sentence_transformers.json", to_json(Keys{{"prompts", to_json(prompts)}}));
  };
  for (const std::size_t count : {std::size_t{999}, std::size_t{1000}}) {
    write_count(count);
    EXPECT_EQ(read_good().prompts.size(), count);
  }
  write_count(1001);
  expect_error(ErrorCode::BadModel, {"prompts is no object of at most 1000 prompts"});
}

TEST_F(ReadSpec, WantsADefaultPromptThatExists) {
  constexpr const char* kFile = "config_sentence_transformers.json";
  const auto write_default = [&](const std::string& name, const std::string& prompts) {
    write(kFile, to_json(Keys{{"default_prompt_name", name}, {"prompts", prompts}}));
  };
  for (const char* name : {"", "null", "\"\""}) {
    write_default(name, R"({"a":"x"})");
    EXPECT_EQ(read_good().default_prompt, "") << name;
  }
  write_default("\"a\"", R"({"a":null})");
  EXPECT_EQ(read_good().default_prompt, "a");
  // sentence-transformers gives every model these two, without words.
  for (const char* name : {"query", "document"}) {
    for (const char* prompts : {"", "{}", R"({"a":"x"})"}) {
      write_default(quoted(name), prompts);
      EXPECT_EQ(read_good().default_prompt, "") << name;
    }
    write_default(quoted(name), "{" + quoted(name) + ":\"x\"}");
    EXPECT_EQ(read_good().default_prompt, name);
  }
  write_default("\"b\"", R"({"a":"x"})");
  expect_error(ErrorCode::BadModel, {"config_sentence_transformers.json: default_prompt_name is "
                                     "\"b\", which is not among the 1 prompts"});
  write_default("\"passage\"", "");
  expect_error(ErrorCode::BadModel, {"default_prompt_name is \"passage\""});
  write_default("7", "{}");
  expect_error(ErrorCode::BadModel, {"default_prompt_name is an integer"});
}

TEST_F(ReadSpec, KnowsTheSimilarities) {
  EXPECT_EQ(read_good().similarity, "cosine");
  const auto write_similarity = [&](const std::string& value) {
    write("config_sentence_transformers.json", to_json(Keys{{"similarity_fn_name", value}}));
  };
  for (const char* name : {"cosine", "dot", "euclidean", "manhattan"}) {
    write_similarity(quoted(name));
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.similarity, name);
    EXPECT_TRUE(spec.notes.empty());
  }
  for (const char* value : {"", "null"}) {
    write_similarity(value);
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.similarity, "cosine");
    EXPECT_TRUE(spec.notes.empty());
  }
  for (const char* name : {"maxsim", "Cosine", ""}) {
    write_similarity(quoted(name));
    const ModelSpec spec = read_good();
    EXPECT_EQ(spec.similarity, "cosine");
    EXPECT_EQ(spec.notes,
              std::vector<std::string>{"config_sentence_transformers.json: similarity_fn_name " +
                                       quoted(name) + " is unknown; cosine is assumed"});
  }
  write_similarity("[]");
  expect_error(ErrorCode::BadModel,
               {"config_sentence_transformers.json: similarity_fn_name is an array"});
}

TEST_F(ReadSpec, SaysThatACutIsNotApplied) {
  write("config_sentence_transformers.json", R"({"truncate_dim":8})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.dimension, 16U);
  ASSERT_EQ(spec.notes.size(), 1U);
  EXPECT_NE(spec.notes[0].find("truncate_dim is not applied"), std::string::npos);
  write("config_sentence_transformers.json", R"({"truncate_dim":null})");
  EXPECT_TRUE(read_good().notes.empty());
}

// Without modules.json it builds its own two modules and asks neither of these files.
TEST_F(ReadSpec, WithoutModulesNoOtherFileOfSentenceTransformersCounts) {
  remove("modules.json");
  write("tokenizer_config.json", R"({"model_max_length":30})");
  write("sentence_bert_config.json", R"({"max_seq_length":9,"do_lower_case":true})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.tokens_max, 30U);
  EXPECT_FALSE(spec.lower_case);
}

TEST_F(ReadSpec, WithoutModulesNoPromptCounts) {
  remove("modules.json");
  write("config_sentence_transformers.json",
        R"({"prompts":{"a":"A: "},"default_prompt_name":"a","similarity_fn_name":"dot"})");
  const ModelSpec spec = read_good();
  EXPECT_TRUE(spec.prompts.empty());
  EXPECT_EQ(spec.default_prompt, "") << "every text would be given words that it has not there";
  EXPECT_EQ(spec.similarity, "cosine");
}

// The name that transformers before 3.0 gave it, and which it still reads.
TEST_F(ReadSpec, KnowsTheTokenizersLimitByItsOldName) {
  write("tokenizer_config.json", R"({"max_len":20})");
  EXPECT_EQ(read_good().tokens_max, 20U);
  write("tokenizer_config.json", R"({"max_len":20,"model_max_length":25})");
  EXPECT_EQ(read_good().tokens_max, 25U);
  write("tokenizer_config.json", R"({"max_len":0})");
  expect_error(ErrorCode::BadModel, {"tokenizer_config.json: max_len is 0", "at least 1"});
  write("tokenizer_config.json", R"({"max_len":"20"})");
  expect_error(ErrorCode::BadModel, {"tokenizer_config.json: max_len is a string"});
}

// These keys cut texts or change the model in sentence-transformers: to say nothing of them would
// give other vectors silently.
TEST_F(ReadSpec, IgnoresNoKeyThatChangesVectors) {
  const std::pair<const char*, const char*> keys[] = {
      {"tokenizer_args", R"({"model_max_length":20})"},
      {"processor_kwargs", R"({"model_max_length":20})"},
      {"processing_kwargs", R"({"text":{"max_length":20}})"},
      {"query_length", "20"},
      {"document_length", "20"},
      {"config_args", R"({"hidden_act":"relu"})"},
      {"config_kwargs", R"({"hidden_act":"relu"})"},
      {"model_args", R"({"attn_implementation":"eager"})"},
      {"model_kwargs", R"({"attn_implementation":"eager"})"}};
  for (const auto& [key, value] : keys) {
    write("sentence_bert_config.json", to_json(Keys{{key, value}}));
    EXPECT_EQ(read_good().notes,
              std::vector<std::string>{std::string("sentence_bert_config.json: ") + key +
                                       " is not applied"});
  }
  // Empty ones change nothing, and releases before 6 write them.
  write("sentence_bert_config.json",
        R"({"max_seq_length":20,"tokenizer_args":{},"config_args":{},"model_args":{}})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.tokens_max, 20U);
  EXPECT_TRUE(spec.notes.empty());
}

// Every file that read_spec knows, in a folder that has them all.
class AllFiles : public ReadSpec {
 protected:
  AllFiles() {
    write_modules({kTransformer, kPooling, kDense, kNormalize});
    write_dense({});
    write("3_Normalize/config.json", R"({"module_input_name":"sentence_embedding"})");
    write("sentence_bert_config.json", R"({"do_lower_case":true})");
    write("config_sentence_transformers.json", R"({"prompts":{"query":"q: "}})");
    write("tokenizer_config.json", R"({"model_max_length":30})");
  }

  static constexpr const char* kNames[] = {"modules.json",
                                           "config.json",
                                           "1_Pooling/config.json",
                                           "2_Dense/config.json",
                                           "3_Normalize/config.json",
                                           "sentence_bert_config.json",
                                           "config_sentence_transformers.json",
                                           "tokenizer_config.json"};
};

TEST_F(AllFiles, AreListed) {
  std::vector<fs::path> wanted;
  for (const char* name : kNames) wanted.push_back(folder_ / name);
  ModelSpec spec = read_good();
  std::sort(wanted.begin(), wanted.end());
  std::sort(spec.files.begin(), spec.files.end());
  EXPECT_EQ(spec.files, wanted);
  EXPECT_EQ(spec.folder, folder_.path());
  EXPECT_EQ(spec.tokens_max, 30U);
  EXPECT_TRUE(spec.lower_case);
}

TEST_F(AllFiles, AreRefusedWhenCutAnywhere) {
  for (const char* name : kNames) {
    const std::string whole = testing::read_file(folder_ / name);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      write(name, whole.substr(0, size));
      const auto spec = read();
      ASSERT_FALSE(spec) << name << " cut to " << size;
      EXPECT_EQ(spec.error().code, ErrorCode::BadModel);
      EXPECT_NE(spec.error().message.find((folder_ / name).string()), std::string::npos)
          << spec.error().message;
    }
    write(name, whole);
    EXPECT_TRUE(read()) << name;
  }
}

TEST_F(AllFiles, HoldObjects) {
  for (const char* name : kNames) {
    const std::string whole = testing::read_file(folder_ / name);
    for (const char* text : {"null", "7", "\"x\"", "[]", "true"}) {
      write(name, text);
      expect_error(ErrorCode::BadModel, {name, ": the top level is no "});
    }
    for (const std::string& text : {"\xEF\xBB\xBF" + whole, whole + "x", "// x\n" + whole}) {
      write(name, text);
      expect_error(ErrorCode::BadModel, {name, "is no valid JSON"});
    }
    write(name, whole);
  }
}

// A pipe would block whoever opens it, and a link that leads nowhere is a download that lacks a
// part: neither is the same as no file.
TEST_F(AllFiles, AreFiles) {
  for (const char* name : kNames) {
    const fs::path file = folder_ / name;
    const std::string whole = testing::read_file(file);
    const std::pair<const char*, void (*)(const fs::path&)> makers[] = {
        {"folder", [](const fs::path& path) { fs::create_directory(path); }},
        {"pipe", [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); }},
        {"link to nothing", [](const fs::path& path) { fs::create_symlink("nothing", path); }},
        {"link to a folder", [](const fs::path& path) { fs::create_symlink(".", path); }},
        {"link to itself",
         [](const fs::path& path) { fs::create_symlink(path.filename(), path); }}};
    for (const auto& [what, make] : makers) {
      SCOPED_TRACE(std::string(name) + " as a " + what);
      fs::remove(file);
      make(file);
      expect_error(ErrorCode::NotFound, {file.string()});
    }
    // As in the Hugging Face cache, where every file is a link into a folder of blobs.
    fs::remove(file);
    testing::write_file(folder_ / "blobs/x", whole);
    fs::create_symlink(folder_ / "blobs/x", file);
    EXPECT_TRUE(read()) << name;
    fs::remove(file);
    testing::write_file(file, whole);
  }
}

TEST_F(AllFiles, HaveAtMost64MiB) {
  constexpr std::size_t kMax = std::size_t{64} << 20;
  const fs::path file = folder_ / "tokenizer_config.json";
  testing::write_file(file, "{}" + std::string(kMax - 3, ' '));
  EXPECT_EQ(read_good().tokens_max, 34U);
  testing::write_file(file, "{}" + std::string(kMax - 2, ' '));
  EXPECT_EQ(read_good().tokens_max, 34U);
  testing::write_file(file, "{}" + std::string(kMax - 1, ' '));
  expect_error(ErrorCode::BadModel, {file.string() + " has 67108865 bytes; at most 67108864"});
}

TEST(ReadSpecFolder, IsAFolder) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "file", "{}");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("nothing", folder / "link");
  for (const char* name : {"absent", "file", "pipe", "link", "file/below"}) {
    const auto spec = read_spec(folder / name);
    ASSERT_FALSE(spec) << name;
    EXPECT_EQ(spec.error().code, ErrorCode::NotFound);
    EXPECT_NE(spec.error().message.find((folder / name).string()), std::string::npos)
        << spec.error().message;
  }
  const auto spec = read_spec({});
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code, ErrorCode::NotFound);
}

// Nothing in it: no error here, because an ONNX file beside it may run.
TEST(ReadSpecFolder, MayBeEmpty) {
  const testing::TemporaryFolder folder;
  const auto spec = read_spec(folder.path());
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_FALSE(spec->has_config);
  EXPECT_FALSE(spec->known_architecture);
  EXPECT_TRUE(spec->pooling_assumed);
  EXPECT_EQ(spec->dimension, 0U);
  EXPECT_EQ(spec->tokens_max, 0U);
  EXPECT_TRUE(spec->files.empty());
}

TEST(ReadSpecFolder, GivesItsNameHoweverItIsWritten) {
  const testing::TemporaryFolder folder;
  fs::create_directories(folder / "my model/x");
  for (const char* path : {"my model", "my model/", "my model//", "my model/.", "./my model",
                           "my model/x/..", "my model/x/../"}) {
    const auto spec = read_spec(folder / path);
    ASSERT_TRUE(spec) << spec.error().message;
    EXPECT_EQ(spec->name, "my model") << path;
    EXPECT_EQ(spec->folder, folder / path) << "as given";
  }
}

}  // namespace
}  // namespace textvec::model
