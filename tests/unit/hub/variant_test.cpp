// Which files of a repository are chosen: by what it has, what is asked for, and the memory.
#include "hub/variant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace textvec::hub {
namespace {

using Paths = std::vector<std::string>;
constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

// Small files of 1 KiB; weights by name.
std::vector<RemoteFile> files_of(const Paths& paths) {
  std::vector<RemoteFile> files;
  for (const std::string& path : paths) {
    std::uint64_t bytes = 1024;
    if (path.find("onnx") != std::string::npos) bytes = 100 * kMebibyte;
    if (path.find("quantized") != std::string::npos) bytes = 25 * kMebibyte;
    if (path.find("q4") != std::string::npos) bytes = 15 * kMebibyte;
    files.push_back({path, bytes, std::string(40, 'a')});
  }
  return files;
}

Paths chosen(const Choice& choice) {
  Paths paths;
  for (const RemoteFile& file : choice.files) paths.push_back(file.path);
  std::sort(paths.begin(), paths.end());
  return paths;
}

Choice choose(const Paths& paths, const std::string& architecture, Wanted wanted = {}) {
  auto choice = choose_files(files_of(paths), architecture, wanted);
  EXPECT_TRUE(choice) << choice.error().message;
  return choice ? *choice : Choice{};
}

// What sentence-transformers/all-MiniLM-L6-v2 holds on the hub.
const Paths kMiniLm{".gitattributes",
                    "1_Pooling/config.json",
                    "README.md",
                    "config.json",
                    "config_sentence_transformers.json",
                    "data_config.json",
                    "model.safetensors",
                    "modules.json",
                    "onnx/model.onnx",
                    "onnx/model_O1.onnx",
                    "onnx/model_qint8_arm64.onnx",
                    "onnx/model_quint8_avx2.onnx",
                    "openvino/openvino_model.bin",
                    "openvino/openvino_model.xml",
                    "pytorch_model.bin",
                    "rust_model.ot",
                    "sentence_bert_config.json",
                    "special_tokens_map.json",
                    "tf_model.h5",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "train_script.py",
                    "vocab.txt"};
const Paths kMiniLmSmall{"1_Pooling/config.json",
                         "config.json",
                         "config_sentence_transformers.json",
                         "modules.json",
                         "sentence_bert_config.json",
                         "special_tokens_map.json",
                         "tokenizer.json",
                         "tokenizer_config.json"};

Paths with(Paths paths, const Paths& more) {
  paths.insert(paths.end(), more.begin(), more.end());
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST(ChooseFiles, TakesWhatACompiledModelNeedsAndNoCode) {
  const Choice choice = choose(kMiniLm, "bert");
  EXPECT_EQ(choice.variant, Variant::Safetensors);
  EXPECT_NE(choice.reason.find("bert"), std::string::npos);
  EXPECT_EQ(choice.onnx_file, "");
  EXPECT_EQ(chosen(choice), with(kMiniLmSmall, {"model.safetensors"}));
}

TEST(ChooseFiles, TakesShardsWithTheirIndex) {
  const Choice choice =
      choose({"config.json", "tokenizer.json", "model.safetensors.index.json",
              "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.bin",
              "other.safetensors", "sub/model-00001-of-00002.safetensors",
              "2_Dense/model.safetensors", "2_Dense/config.json", "2_Dense/pytorch_model.bin"},
             "qwen3");
  EXPECT_EQ(chosen(choice),
            (Paths{"2_Dense/config.json", "2_Dense/model.safetensors", "config.json",
                   "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                   "model.safetensors.index.json", "tokenizer.json"}));
}

TEST(ChooseFiles, TakesAnOnnxFileWithItsData) {
  const Paths exports{"config.json",
                      "tokenizer.json",
                      "onnx/model.onnx",
                      "onnx/model.onnx_data",
                      "onnx/model.onnx_data_1",
                      "onnx/model.onnx_data.py",
                      "onnx/model.onnx_database",
                      "onnx/model.onnx.sh",
                      "onnx/model_fp16.onnx",
                      "onnx/model_fp16.onnx.data",
                      "onnx/model_fp16.onnx.data.bin",
                      "onnx/model_quantized.onnx",
                      "onnx/model_q4.onnx",
                      "onnx/model_q4f16.onnx"};
  const struct {
    Variant variant;
    Paths files;
  } wanted[] = {
      {Variant::Fp32, {"onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1"}},
      {Variant::Fp16, {"onnx/model_fp16.onnx", "onnx/model_fp16.onnx.data"}},
      {Variant::Q8, {"onnx/model_quantized.onnx"}},
      {Variant::Q4, {"onnx/model_q4.onnx"}}};
  for (const auto& [variant, files] : wanted) {
    const Choice choice = choose(exports, "unknown", {variant, 0});
    EXPECT_EQ(choice.variant, variant);
    EXPECT_EQ(choice.reason, "");
    EXPECT_EQ(choice.onnx_file, files.front());
    EXPECT_EQ(chosen(choice), with({"config.json", "tokenizer.json"}, files));
  }
}

TEST(ChooseFiles, AutoTakesTheBestThatHalfOfTheMemoryHolds) {
  const Paths exports{"tokenizer.json", "onnx/model.onnx", "onnx/model_quantized.onnx",
                      "onnx/model_fp16.onnx", "onnx/model_q4.onnx"};
  const std::pair<std::uint64_t, Variant> memories[] = {{0, Variant::Fp32},  // unknown
                                                        {200 * kMebibyte, Variant::Fp32},
                                                        {200 * kMebibyte - 1, Variant::Q8},
                                                        {50 * kMebibyte, Variant::Q8},
                                                        {50 * kMebibyte - 1, Variant::Q4},
                                                        {1, Variant::Q4}};
  for (const auto& [memory, variant] : memories) {
    EXPECT_EQ(choose(exports, "unknown", {Variant::Auto, memory}).variant, variant) << memory;
  }
  // Sixteen-bit floats only where there is nothing else.
  EXPECT_EQ(choose({"tokenizer.json", "model_fp16.onnx"}, "", {}).variant, Variant::Fp16);
  // Weights that textvec does not compile are no use to it.
  EXPECT_EQ(choose({"tokenizer.json", "model.safetensors", "onnx/model.onnx"}, "mpnet", {}).variant,
            Variant::Fp32);
}

TEST(ChooseFiles, SaysWhatThereIs) {
  const auto error = [](const Paths& paths, Variant variant) {
    const auto choice = choose_files(files_of(paths), "bert", {variant, 0});
    EXPECT_FALSE(choice);
    return choice ? Error{} : choice.error();
  };
  EXPECT_EQ(error(kMiniLm, Variant::Q4).code, ErrorCode::Unsupported);
  EXPECT_NE(error(kMiniLm, Variant::Q4).message.find("has safetensors, fp32, q8"),
            std::string::npos);
  EXPECT_NE(error({"config.json", "tokenizer.json", "pytorch_model.bin"}, Variant::Auto)
                .message.find("pickled weights only"),
            std::string::npos);
  EXPECT_NE(error({"README.md"}, Variant::Auto).message.find("no weights"), std::string::npos);
  EXPECT_NE(error({"config.json", "model.safetensors", "vocab.txt"}, Variant::Auto)
                .message.find("no tokenizer.json"),
            std::string::npos);
}

TEST(ChooseFiles, HasLimits) {
  std::vector<RemoteFile> files = files_of({"config.json", "tokenizer.json", "model.safetensors"});
  files.back().bytes = std::uint64_t{1} << 41;
  EXPECT_EQ(choose_files(files, "bert", {}).error().code, ErrorCode::BadModel);
  files.back().bytes -= 2048;
  EXPECT_TRUE(choose_files(files, "bert", {}));
  for (int i = 0; i < 1997; ++i) {
    files.push_back({std::to_string(i) + "_M/config.json", 0, std::string(40, 'a')});
  }
  EXPECT_TRUE(choose_files(files, "bert", {}));
  files.push_back({"1_N/config.json", 0, std::string(40, 'a')});
  EXPECT_EQ(choose_files(files, "bert", {}).error().code, ErrorCode::BadModel);
}

}  // namespace
}  // namespace textvec::hub
