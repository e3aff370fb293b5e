// Qwen3 folders: each key of config.json at its limits, what is refused, and what is assumed where
// an export lacks sentence-transformers' files.
#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "model/spec.h"
#include "support/temporary_folder.h"

namespace textvec::model {
namespace {

// Each value is JSON text, and an empty one leaves the key out.
using Keys = std::map<std::string, std::string>;

class DecoderSpec : public ::testing::Test {
 protected:
  DecoderSpec() { write_config({}); }

  void write(const std::string& name, std::string_view text) {
    testing::write_file(folder_ / name, text);
  }

  void write_config(const Keys& changes) {
    Keys keys{{"model_type", "\"qwen3\""},
              {"vocab_size", "40"},
              {"hidden_size", "24"},
              {"num_hidden_layers", "2"},
              {"num_attention_heads", "8"},
              {"num_key_value_heads", "2"},
              {"head_dim", "16"},
              {"intermediate_size", "40"},
              {"max_position_embeddings", "64"},
              {"rope_theta", "1000000"}};
    for (const auto& [key, value] : changes) keys[key] = value;
    std::string text;
    for (const auto& [key, value] : keys) {
      if (value.empty()) continue;
      text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
    }
    write("config.json", text + "}");
  }

  ModelSpec read_good() const {
    const auto spec = read_spec(folder_.path());
    EXPECT_TRUE(spec) << spec.error().message;
    return spec ? *spec : ModelSpec{};
  }

  void expect_error(const Keys& changes, ErrorCode code,
                    std::initializer_list<std::string_view> parts) {
    write_config(changes);
    const auto spec = read_spec(folder_.path());
    ASSERT_FALSE(spec) << "wanted: " << *parts.begin();
    EXPECT_EQ(spec.error().code, code) << spec.error().message;
    for (const std::string_view part : parts) {
      EXPECT_NE(spec.error().message.find(part), std::string::npos) << spec.error().message;
    }
  }

  std::vector<float> frequencies(const Keys& changes) {
    write_config(changes);
    return read_good().transformer.rotary.inverse_frequencies;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DecoderSpec, ReadsTheSizes) {
  write_config({{"attention_bias", "true"}, {"rms_norm_eps", "0.5"}});
  const ModelSpec spec = read_good();
  EXPECT_TRUE(spec.known_architecture);
  EXPECT_EQ(spec.dimension, 24U);
  EXPECT_EQ(spec.tokens_max, 64U);
  EXPECT_EQ(spec.transformer.heads, 8U);
  EXPECT_EQ(spec.transformer.key_value_heads, 2U);
  EXPECT_EQ(spec.transformer.head_size, 16U);
  EXPECT_TRUE(spec.transformer.attention_bias);
  EXPECT_EQ(spec.transformer.norm_epsilon, 0.5);
}

TEST_F(DecoderSpec, FillsInWhatTransformersAssumes) {
  write_config({{"head_dim", ""}, {"rope_theta", ""}});
  const Transformer transformer = read_good().transformer;
  EXPECT_EQ(transformer.head_size, 128U);
  EXPECT_EQ(transformer.norm_epsilon, 1e-6);
  EXPECT_FALSE(transformer.attention_bias);
  ASSERT_EQ(transformer.rotary.inverse_frequencies.size(), 64U);
  EXPECT_EQ(transformer.rotary.inverse_frequencies[0], 1.0F);
  EXPECT_FLOAT_EQ(transformer.rotary.inverse_frequencies[32], 0.01F);  // 10000^(-1/2)
}

TEST_F(DecoderSpec, ChecksEverySizeAtItsLimits) {
  for (const char* value : {"1", "2", "4", "8"}) {
    write_config({{"num_key_value_heads", value}});
    EXPECT_EQ(std::to_string(read_good().transformer.key_value_heads), value);
  }
  for (const char* value : {"0", "9", "-1", "1.5", "\"2\""}) {
    expect_error({{"num_key_value_heads", value}}, ErrorCode::BadModel, {"num_key_value_heads"});
  }
  expect_error({{"num_key_value_heads", "3"}}, ErrorCode::BadModel,
               {"num_key_value_heads is 3", "8 heads"});
  expect_error({{"num_key_value_heads", ""}}, ErrorCode::BadModel,
               {"num_key_value_heads is missing"});
  for (const char* value : {"2", "1022", "1024"}) {
    write_config({{"head_dim", value}});
    EXPECT_EQ(std::to_string(read_good().transformer.head_size), value);
  }
  for (const char* value : {"0", "1", "1025", "1026"}) {
    expect_error({{"head_dim", value}}, ErrorCode::BadModel, {"head_dim"});
  }
  expect_error({{"head_dim", "15"}}, ErrorCode::BadModel, {"head_dim is 15", "even"});
  write_config({{"max_position_embeddings", "1048576"}});
  EXPECT_EQ(read_good().tokens_max, 1'048'576U);
  expect_error({{"max_position_embeddings", "1048577"}}, ErrorCode::BadModel,
               {"max_position_embeddings is 1048577", "1048576"});
  for (const char* value : {"0", "-1", "1"}) {
    expect_error({{"rms_norm_eps", value}}, ErrorCode::BadModel, {"rms_norm_eps"});
  }
}

TEST_F(DecoderSpec, RefusesWhatWouldGiveOtherVectors) {
  expect_error({{"hidden_act", "\"gelu\""}}, ErrorCode::Unsupported, {"hidden_act is \"gelu\""});
  expect_error({{"is_causal", "false"}}, ErrorCode::Unsupported, {"is_causal is false"});
  expect_error({{"layer_types", "[\"full_attention\",\"sliding_attention\"]"}},
               ErrorCode::Unsupported, {"full_attention"});
  for (const char* types : {"[]", "[\"full_attention\"]", "7"}) {
    expect_error({{"layer_types", types}}, ErrorCode::BadModel, {"layer_types", "2 layers"});
  }
  write_config({{"use_sliding_window", "false"},
                {"sliding_window", "32"},
                {"layer_types", "[\"full_attention\",\"full_attention\"]"}});
  EXPECT_TRUE(read_good().known_architecture);
}

// transformers: layers from max_window_layers (28) on look back sliding_window (4,096) tokens.
TEST_F(DecoderSpec, AWindowCountsOnlyWhereALayerHasIt) {
  for (const char* layers : {"1", "2", "3"}) {
    for (const char* window : {"", "32", "null"}) {
      SCOPED_TRACE(std::string(layers) + " " + window);
      const Keys changes{{"use_sliding_window", "true"},
                         {"sliding_window", window},
                         {"max_window_layers", layers}};
      if (std::string(layers) == "1" && std::string(window) != "null") {
        expect_error(changes, ErrorCode::Unsupported, {"full_attention"});
      } else {
        write_config(changes);
        EXPECT_TRUE(read_good().known_architecture);
      }
    }
  }
}

TEST_F(DecoderSpec, BothSpellingsOfRotaryPositionsAreTheSame) {
  const auto plain = frequencies({});
  EXPECT_EQ(frequencies({{"rope_theta", ""}, {"rope_parameters", R"({"rope_theta":1000000})"}}),
            plain);
  EXPECT_EQ(frequencies({{"rope_scaling", "null"}}), plain);
  EXPECT_EQ(frequencies({{"rope_scaling", "{}"}}), plain);
  const auto linear = frequencies({{"rope_scaling", R"({"type":"linear","factor":4})"}});
  EXPECT_NE(linear, plain);
  EXPECT_EQ(frequencies({{"rope_theta", ""},
                         {"rope_parameters",
                          R"({"rope_theta":1000000,"rope_type":"linear","factor":4.0})"}}),
            linear);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(linear[i], plain[i] / 4);
}

TEST_F(DecoderSpec, YarnKeepsFastComponentsAndDividesSlowOnes) {
  const auto plain = frequencies({{"head_dim", "64"}});
  write_config({{"head_dim", "64"},
                {"rope_scaling",
                 R"({"rope_type":"yarn","factor":4,"original_max_position_embeddings":16})"}});
  const Rotary yarn = read_good().transformer.rotary;
  EXPECT_FLOAT_EQ(yarn.scale, static_cast<float>(0.1 * std::log(4.0) + 1));
  EXPECT_FLOAT_EQ(yarn.inverse_frequencies.front(), plain.front());
  EXPECT_FLOAT_EQ(yarn.inverse_frequencies.back(), plain.back() / 4);
  // The factor may be left out: it is then the ratio of the lengths.
  write_config({{"head_dim", "64"},
                {"rope_scaling", R"({"rope_type":"yarn","original_max_position_embeddings":16})"}});
  EXPECT_EQ(read_good().transformer.rotary.inverse_frequencies, yarn.inverse_frequencies);
}

TEST_F(DecoderSpec, RefusesRotaryPositionsThatItDoesNotCompute) {
  expect_error({{"rope_scaling", R"({"rope_type":"longrope"})"}}, ErrorCode::Unsupported,
               {"rope_scaling", "\"longrope\"", "yarn"});
  expect_error({{"rope_scaling", R"({"type":"linear"})"}}, ErrorCode::BadModel,
               {"rope_scaling", "factor is missing"});
  expect_error({{"rope_scaling", R"({"type":"linear","factor":0.5})"}}, ErrorCode::BadModel,
               {"factor is 0.5"});
  expect_error({{"rope_scaling", R"({"type":"yarn","factor":0.5})"}}, ErrorCode::BadModel,
               {"factor is 0.5"});
  expect_error({{"rope_scaling", "7"}}, ErrorCode::BadModel, {"rope_scaling is no object"});
  expect_error({{"rope_parameters", R"({"full_attention":{"rope_theta":1000000}})"}},
               ErrorCode::Unsupported, {"rope_parameters", "layer to layer"});
  expect_error({{"rope_theta", "1"}}, ErrorCode::BadModel, {"rope_theta is 1.0"});
  expect_error({{"rope_theta", "\"x\""}}, ErrorCode::BadModel, {"rope_theta"});
  expect_error({{"partial_rotary_factor", "0.5"}}, ErrorCode::Unsupported,
               {"partial_rotary_factor is 0.5"});
}

TEST_F(DecoderSpec, AnExportWithoutSentenceTransformersFilesIsAnEmbeddingModel) {
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.pooling, Pooling::LastToken);
  EXPECT_EQ(spec.final_token, "<|endoftext|>");
  ASSERT_EQ(spec.prompts.count("query"), 1U);
  const std::string& prompt = spec.prompts.at("query");
  EXPECT_TRUE(prompt.starts_with("Instruct: ")) << prompt;
  EXPECT_TRUE(prompt.ends_with("\nQuery:")) << prompt;
  EXPECT_EQ(spec.notes.size(), 2U);
}

TEST_F(DecoderSpec, AnExportsOwnPromptsAreRead) {
  write("config_sentence_transformers.json", R"({"prompts":{"query":"Instruct: x\nQuery:"}})");
  EXPECT_EQ(read_good().prompts.at("query"), "Instruct: x\nQuery:");
}

TEST_F(DecoderSpec, ItsOwnFilesComeFirst) {
  write("modules.json", R"([{"path":"","type":"sentence_transformers.models.Transformer"},)"
                        R"({"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])");
  write("1_Pooling/config.json",
        R"({"word_embedding_dimension":24,"pooling_mode_mean_tokens":true})");
  write("config_sentence_transformers.json", R"({"prompts":{"document":""}})");
  const ModelSpec spec = read_good();
  EXPECT_EQ(spec.pooling, Pooling::Mean);
  EXPECT_EQ(spec.prompts, (std::map<std::string, std::string>{{"document", ""}}));
}

}  // namespace
}  // namespace textvec::model
