// Compiling: a graph is written once and found again, by a key of all that shapes it and of nothing
// else; what is damaged is made anew; what cannot be stored stays in memory.
#include "graph/compile.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec::graph {
namespace {

namespace fs = std::filesystem;

using testing::read_file;
using testing::TinyModel;
using testing::TinyShape;
using testing::write_file;

// Which file it is and when it was written: another write of the same bytes shows.
std::pair<ino_t, fs::file_time_type> identity(const fs::path& file) {
  struct stat status{};
  EXPECT_EQ(::stat(file.c_str(), &status), 0) << file;
  return {status.st_ino, fs::last_write_time(file)};
}

// A new file in the old one's place, so that the clock's steps cannot hide the change.
void replace_file(const fs::path& file, std::string_view bytes) {
  const fs::path fresh = file.string() + ".new";
  write_file(fresh, bytes);
  fs::rename(fresh, file);
}

void replace_text(const fs::path& file, const std::string& before, const std::string& after) {
  std::string text = read_file(file);
  const std::size_t position = text.find(before);
  ASSERT_NE(position, std::string::npos) << before << " in " << file;
  replace_file(file, text.replace(position, before.size(), after));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Compile : public ::testing::Test {
 protected:
  Compile() { TinyModel().write(model_); }

  // Everything read anew, as a new process would.
  Result<OnnxModel> run(Target target = Target::Fused, Precision precision = Precision::F32) {
    return run_in(model_, cache_, target, precision);
  }
  Result<OnnxModel> run_in(const fs::path& model, const fs::path& cache,
                           Target target = Target::Fused, Precision precision = Precision::F32) {
    return with_model(model, [&](const auto& spec, const auto& weights) {
      return compile(spec, weights, target, precision, cache, log());
    });
  }
  Result<OnnxModel> run_to(const fs::path& folder, Target target = Target::Fused,
                           Precision precision = Precision::F32) {
    return with_model(model_, [&](const auto& spec, const auto& weights) {
      return compile_to(spec, weights, target, precision, folder);
    });
  }
  template <class Function>
  static Result<OnnxModel> with_model(const fs::path& model, const Function& function) {
    const auto spec = model::read_spec(model);
    if (!spec) return spec.error();
    const auto weights = model::Weights::open(model);
    if (!weights) return weights.error();
    return function(*spec, *weights);
  }

  // The lines but for the progress, which depends on the machine's speed.
  Log log() {
    return [this](std::string_view line) {
      if (!line.starts_with("compiling: ")) lines_.emplace_back(line);
    };
  }
  std::vector<std::string> take_lines() { return std::exchange(lines_, {}); }

  // The folder of the result, whose name is the key.
  fs::path entry() {
    const auto model = run();
    EXPECT_TRUE(model) << model.error().message;
    return model ? model->file.parent_path() : fs::path();
  }

  std::size_t entries() const {
    std::error_code error;
    const fs::directory_iterator items(cache_ / "graphs", error);
    return static_cast<std::size_t>(std::distance(begin(items), end(items)));
  }

  void expect_error(const Result<OnnxModel>& model, ErrorCode code, std::string_view part) {
    ASSERT_FALSE(model) << "wanted: " << part;
    EXPECT_EQ(model.error().code, code) << model.error().message;
    EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
  }

  const testing::TemporaryFolder folder_;
  const fs::path model_ = folder_ / "model";
  const fs::path cache_ = folder_ / "cache";
  const std::vector<std::string> compiling_{"compiling model for target fused, f32"};
  std::vector<std::string> lines_{};
};

onnx::ModelProto parse(const std::string& bytes) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(bytes));
  return model;
}

std::size_t count_nodes(const fs::path& file, std::string_view operation) {
  const onnx::ModelProto model = parse(read_file(file));
  return static_cast<std::size_t>(
      std::count_if(model.graph().node().begin(), model.graph().node().end(),
                    [&](const auto& node) { return node.op_type() == operation; }));
}

onnx::AttributeProto attribute(const onnx::NodeProto& node, std::string_view name) {
  const auto found = std::find_if(node.attribute().begin(), node.attribute().end(),
                                  [&](const auto& attribute) { return attribute.name() == name; });
  EXPECT_NE(found, node.attribute().end()) << name;
  return found == node.attribute().end() ? onnx::AttributeProto() : *found;
}

// Where the rest is rounded to 8 bits.
TEST_F(Compile, RoundsAttentionOfInt8Alone) {
  for (const auto& [precision, coarse] :
       {std::pair(Precision::F32, 0), std::pair(Precision::Int8, 1)}) {
    const auto model = run(Target::Fused, precision);
    ASSERT_TRUE(model) << model.error().message;
    const onnx::ModelProto proto = parse(read_file(model->file));
    std::size_t attentions = 0;
    for (const auto& node : proto.graph().node()) {
      if (node.op_type() != "Attention") continue;
      ++attentions;
      EXPECT_EQ(attribute(node, "coarse").i(), coarse);
    }
    EXPECT_EQ(attentions, TinyShape().layers);
  }
}

TEST_F(Compile, WritesAGraphOnceAndFindsItAgain) {
  const auto first = run();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(take_lines(), compiling_);
  EXPECT_EQ(first->file.filename(), "model.onnx");
  EXPECT_EQ(first->file.parent_path().parent_path(), cache_ / "graphs");
  EXPECT_TRUE(first->model.empty());
  EXPECT_TRUE(first->data.empty());
  EXPECT_EQ(count_nodes(first->file, "Attention"), TinyShape().layers);

  const fs::path data = first->file.parent_path() / "model.onnx.data";
  const auto before = std::pair(identity(first->file), identity(data));
  for (int round = 0; round < 3; ++round) {
    const auto next = run();
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(next->file, first->file);
    EXPECT_EQ(std::pair(identity(next->file), identity(data)), before) << "written again";
  }
  EXPECT_EQ(take_lines(), std::vector<std::string>{});
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Compile, TakesTheSamePrecisionUnderBothNames) {
  const auto automatic = run(Target::Fused, Precision::Auto);
  ASSERT_TRUE(automatic) << automatic.error().message;
  EXPECT_EQ(take_lines(), compiling_);
  EXPECT_EQ(run(Target::Fused, Precision::F32)->file, automatic->file);
  EXPECT_EQ(take_lines(), std::vector<std::string>{});
}

TEST_F(Compile, NeedsNoLog) {
  const auto model = with_model(model_, [&](const auto& spec, const auto& weights) {
    return compile(spec, weights, Target::Fused, Precision::F32, cache_, {});
  });
  EXPECT_TRUE(model) << model.error().message;
  write_file(folder_ / "file", "");
  const auto in_memory = with_model(model_, [&](const auto& spec, const auto& weights) {
    return compile(spec, weights, Target::Fused, Precision::F32, folder_ / "file", {});
  });
  EXPECT_TRUE(in_memory) << in_memory.error().message;
}

TEST_F(Compile, HasAnotherKeyForWhateverShapesTheGraph) {
  TinyModel other_weights;
  other_weights.tensors().at("encoder.layer.1.output.dense.bias").values.back() += 1;
  const std::string other = testing::to_safetensors(other_weights.tensors());
  const fs::path config = model_ / "config.json";
  const std::pair<const char*, std::function<void()>> changes[] = {
      {"one weight", [&] { replace_file(model_ / "model.safetensors", other); }},
      {"another activation",
       [&] { replace_text(config, R"("hidden_act":"gelu")", R"("hidden_act":"relu")"); }},
      {"another activation of the same formula",
       [&] { replace_text(config, R"("hidden_act":"gelu")", R"("hidden_act":"gelu_new")"); }},
      {"epsilon", [&] { replace_text(config, "1e-12", "1e-05"); }},
      // The next double: no digit of it may get lost on the way into the key.
      {"epsilon's last bit", [&] { replace_text(config, "1e-12", "1.0000000000000002e-12"); }},
      {"heads",
       [&] { replace_text(config, R"("num_attention_heads":4)", R"("num_attention_heads":2)"); }},
      {"family", [&] { replace_text(config, R"("bert")", R"("roberta")"); }},
      {"family and the first position", [&] {
         replace_text(config, R"("bert")", R"("roberta")");
         replace_text(config, R"("pad_token_id":0)", R"("pad_token_id":1)");
       }}};
  std::map<fs::path, std::string> keys{{entry(), "nothing"}};
  take_lines();
  for (const auto& [what, change] : changes) {
    TinyModel().write(model_);
    change();
    const auto [found, added] = keys.emplace(entry(), what);
    EXPECT_TRUE(added) << what << " has the key of " << found->second;
    EXPECT_EQ(take_lines(), compiling_) << what;
  }
  EXPECT_EQ(entries(), keys.size()) << "each beside the others";
}

TEST_F(Compile, HasTheSameKeyForAllElse) {
  const fs::path first = entry();
  take_lines();
  const std::string weights = read_file(model_ / "model.safetensors");
  const std::pair<const char*, std::function<void()>> changes[] = {
      {"a new file", [&] { write_file(model_ / "README.md", "# A model"); }},
      {"tokenizer", [&] { write_file(model_ / "tokenizer.json", "{}"); }},
      {"limit of tokens",
       [&] { write_file(model_ / "sentence_bert_config.json", R"({"max_seq_length":8})"); }},
      {"pooling",
       [&] {
         write_file(model_ / "1_Pooling/config.json",
                    R"({"embedding_dimension":16,"pooling_mode":"cls"})");
       }},
      {"prompts",
       [&] {
         write_file(model_ / "config_sentence_transformers.json", R"({"prompts":{"query":"q"}})");
       }},
      {"a key that means nothing",
       [&] { replace_text(model_ / "config.json", "{", R"({"_name_or_path":"x",)"); }},
      {"the same weights, written again",
       [&] { replace_file(model_ / "model.safetensors", weights); }},
      {"no modules.json", [&] { fs::remove(model_ / "modules.json"); }}};
  for (const auto& [what, change] : changes) {
    change();
    EXPECT_EQ(entry(), first) << what;
  }
  // Another folder is another name, but the same model.
  fs::copy(model_, folder_ / "copy", fs::copy_options::recursive);
  EXPECT_EQ(run_in(folder_ / "copy", cache_)->file.parent_path(), first);
  EXPECT_EQ(take_lines(), std::vector<std::string>{}) << "nothing was compiled again";
}

// Only the first graph's activation is gelu: a wrong graph under a right key would be seen here.
TEST_F(Compile, WritesTheGraphThatTheConfigurationAsksFor) {
  struct Function {
    const char* configured;
    const char* standard;  // ONNX Runtime's operator
    const char* own;       // the attribute of textvec's
  };
  const Function functions[] = {{"gelu", "BiasGelu", "gelu"},
                                {"gelu_new", "FastGelu", "gelu_tanh"},
                                {"gelu_fast", "FastGelu", "gelu_tanh"},
                                {"gelu_pytorch_tanh", "FastGelu", "gelu_tanh"},
                                {"relu", "Relu", "relu"}};
  for (const auto& [configured, standard, own] : functions) {
    TinyShape shape;
    shape.activation = configured;
    TinyModel(shape).write(model_);
    for (const auto& [target, precision] :
         {std::pair(Target::Fused, Precision::F32), std::pair(Target::Fused, Precision::Int8),
          std::pair(Target::Standard, Precision::F32)}) {
      const auto model = run(target, precision);
      ASSERT_TRUE(model) << model.error().message;
      const std::string_view wanted = target == Target::Fused ? "FeedForward" : standard;
      for (const std::string_view each : {"FeedForward", "BiasGelu", "FastGelu", "Relu", "Gelu"}) {
        EXPECT_EQ(count_nodes(model->file, each), each == wanted ? shape.layers : 0U)
            << configured << " as " << each;
      }
      const onnx::ModelProto proto = parse(read_file(model->file));
      for (const auto& node : proto.graph().node()) {
        if (node.op_type() != "FeedForward") continue;
        EXPECT_EQ(node.domain(), kTextvec);
        EXPECT_EQ(attribute(node, "function").s(), own);
      }
    }
  }
  replace_text(model_ / "config.json", "1e-12", "0.25");
  const auto model = run();
  ASSERT_TRUE(model) << model.error().message;
  std::size_t norms = 0;
  const onnx::ModelProto proto = parse(read_file(model->file));
  for (const auto& node : proto.graph().node()) {
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() != "epsilon") continue;
      EXPECT_EQ(attribute.f(), 0.25F) << node.op_type();
      ++norms;
    }
  }
  EXPECT_EQ(norms, 1 + 2 * TinyShape().layers);
}

TEST_F(Compile, ReadsShardsAsOneFile) {
  const auto whole = run();
  ASSERT_TRUE(whole) << whole.error().message;
  const TinyModel tiny;
  testing::TinyTensors parts[2];
  std::string map;
  for (const auto& [name, tensor] : tiny.tensors()) {
    const std::size_t part = parts[0].size() > parts[1].size() ? 1 : 0;
    parts[part].emplace(name, tensor);
    map += (map.empty() ? "{\"" : ",\"") + name + "\":\"" + std::to_string(part) + ".safetensors\"";
  }
  fs::remove(model_ / "model.safetensors");
  write_file(model_ / "0.safetensors", testing::to_safetensors(parts[0]));
  write_file(model_ / "1.safetensors", testing::to_safetensors(parts[1]));
  write_file(model_ / "model.safetensors.index.json", "{\"weight_map\":" + map + "}}");
  const auto sharded = run();
  ASSERT_TRUE(sharded) << sharded.error().message;
  EXPECT_EQ(read_file(sharded->file), read_file(whole->file));
  EXPECT_EQ(read_file(sharded->file.parent_path() / "model.onnx.data"),
            read_file(whole->file.parent_path() / "model.onnx.data"));

  // A change in either shard is a change.
  for (auto& part : parts) {
    part.begin()->second.values.front() += 1;
    replace_file(model_ / (&part == parts ? "0.safetensors" : "1.safetensors"),
                 testing::to_safetensors(part));
    take_lines();
    EXPECT_TRUE(run());
    EXPECT_EQ(take_lines(), compiling_);
  }
}

TEST_F(Compile, MakesADamagedEntryAnew) {
  const fs::path first = entry();
  std::map<std::string, std::string> whole;
  for (const char* name : {"model.onnx", "model.onnx.data", "manifest.json"}) {
    whole[name] = read_file(first / name);
  }
  const std::pair<const char*, std::function<void(const fs::path&, std::string)>> damages[] = {
      {"removed", [](const fs::path& file, const std::string&) { fs::remove(file); }},
      {"empty", [](const fs::path& file, const std::string&) { replace_file(file, ""); }},
      {"cut by a byte",
       [](const fs::path& file, std::string bytes) {
         bytes.pop_back();
         replace_file(file, bytes);
       }},
      {"one bit",
       [](const fs::path& file, std::string bytes) {
         char& byte = bytes[bytes.size() / 2];
         byte = static_cast<char>(static_cast<unsigned char>(byte) ^ 1U);
         replace_file(file, bytes);
       }},
      {"a folder",
       [](const fs::path& file, const std::string&) {
         fs::remove(file);
         fs::create_directories(file / "x");
       }},
      {"a link to nothing", [](const fs::path& file, const std::string&) {
         fs::remove(file);
         fs::create_symlink("nothing", file);
       }}};
  for (const auto& [name, bytes] : whole) {
    for (const auto& [what, damage] : damages) {
      SCOPED_TRACE(name + ": " + what);
      // The manifest ends with a newline that means nothing.
      if (name == "manifest.json" && std::string_view(what) == "cut by a byte") continue;
      take_lines();
      damage(first / name, bytes);
      EXPECT_EQ(entry(), first);
      EXPECT_EQ(take_lines(), compiling_);
      EXPECT_EQ(read_file(first / "model.onnx"), whole["model.onnx"]);
      EXPECT_EQ(read_file(first / "model.onnx.data"), whole["model.onnx.data"]);
      EXPECT_EQ(entry(), first);
      EXPECT_EQ(take_lines(), std::vector<std::string>{}) << "whole again";
    }
  }
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Compile, ServesManyAtOnce) {
  std::vector<Result<OnnxModel>> models(4, Error{});
  {
    std::vector<std::jthread> threads;
    for (auto& model : models) {
      threads.emplace_back([&] {
        model = with_model(model_, [&](const auto& spec, const auto& weights) {
          return compile(spec, weights, Target::Fused, Precision::F32, cache_, {});
        });
      });
    }
  }
  const fs::path first = entry();
  EXPECT_EQ(lines_, std::vector<std::string>{});
  for (const auto& model : models) {
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->file, first / "model.onnx");
  }
  EXPECT_EQ(entries(), 1U) << "no temporary folder stays";
}

TEST_F(Compile, BuildsInMemoryWhereTheCacheCannotBeWritten) {
  const auto stored = run();
  ASSERT_TRUE(stored) << stored.error().message;
  const std::string model = read_file(stored->file);
  const std::string data = read_file(stored->file.parent_path() / "model.onnx.data");
  write_file(folder_ / "file", "");
  write_file(folder_ / "half/graphs", "");
  for (const char* place : {"file", "file/below", "half"}) {
    SCOPED_TRACE(place);
    for (int round = 0; round < 2; ++round) {
      take_lines();
      const auto built = run_in(model_, folder_ / place);
      ASSERT_TRUE(built) << built.error().message;
      EXPECT_TRUE(built->file.empty());
      EXPECT_EQ(built->model, model);
      EXPECT_EQ(built->data_name, "model.onnx.data");
      EXPECT_EQ(text_of(built->data), data);
      ASSERT_EQ(lines_.size(), 2U);
      EXPECT_EQ(lines_[0], compiling_[0]);
      EXPECT_NE(lines_[1].find((folder_ / place / "graphs").string()), std::string::npos)
          << lines_[1];
      EXPECT_TRUE(lines_[1].ends_with("; the graph is built in memory")) << lines_[1];
    }
  }
}

TEST_F(Compile, RefusesWhatIsNotInThisVersion) {
  for (const Precision precision :
       {Precision::Auto, Precision::F32, Precision::F16, Precision::Int8}) {
    expect_error(run(Target::Static, precision), ErrorCode::Unsupported, "target static");
    expect_error(run_to(folder_ / "out", Target::Static, precision), ErrorCode::Unsupported,
                 "target static");
  }
  expect_error(run(Target::Fused, Precision::F16), ErrorCode::Unsupported,
               "precision f16 is not in this version; use f32 or int8");
  expect_error(run_to(folder_ / "out", Target::Fused, Precision::F16), ErrorCode::Unsupported,
               "precision f16");
  EXPECT_FALSE(fs::exists(cache_));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_EQ(lines_, std::vector<std::string>{});
}

// Its tensors may well have bert's names and shapes, as mpnet's embeddings do: a graph of those
// alone would run and give wrong vectors.
TEST_F(Compile, RefusesAnArchitectureThatItDoesNotKnow) {
  for (const std::string& type :
       {std::string("mpnet"), std::string("modernbert"), std::string("BERT")}) {
    SCOPED_TRACE(type);
    TinyModel().write(model_);
    replace_text(model_ / "config.json", R"("bert")", "\"" + type + "\"");
    expect_error(run(), ErrorCode::Unsupported, type);
    expect_error(run_to(folder_ / "out"), ErrorCode::Unsupported, type);
  }
  EXPECT_EQ(entries(), 0U);
}

TEST_F(Compile, NamesTheTensorThatDoesNotFit) {
  constexpr const char* kName = "encoder.layer.1.attention.self.value.weight";
  TinyModel tiny;
  tiny.tensors().erase(kName);
  tiny.write(model_);
  const auto expect_nothing_written = [&] {
    EXPECT_EQ(entries(), 0U);
    EXPECT_FALSE(fs::exists(folder_ / "out/model.onnx"));
    EXPECT_FALSE(fs::exists(folder_ / "out/model.onnx.data"));
    EXPECT_EQ(lines_, std::vector<std::string>{});
  };
  expect_error(run(), ErrorCode::BadModel, kName);
  expect_error(run_to(folder_ / "out"), ErrorCode::BadModel, kName);
  expect_nothing_written();
  TinyModel().write(model_);
  replace_text(model_ / "config.json", R"("intermediate_size":24)", R"("intermediate_size":23)");
  expect_error(run(), ErrorCode::BadModel,
               "\"encoder.layer.0.intermediate.dense.weight\" has shape [24, 16]; the "
               "configuration wants [23, 16]");
  expect_error(run_to(folder_ / "out"), ErrorCode::BadModel, "[24, 16]");
  expect_nothing_written();
}

TEST_F(Compile, SaysWhenTheWeightsAreGone) {
  const auto spec = model::read_spec(model_);
  const auto weights = model::Weights::open(model_);
  ASSERT_TRUE(spec && weights);
  fs::remove(model_ / "model.safetensors");
  expect_error(compile(*spec, *weights, Target::Fused, Precision::F32, cache_, log()),
               ErrorCode::NotFound, (model_ / "model.safetensors").string());
}

// The key is a hash of the file as it is now, and the graph of the file that was opened: whoever
// opens the new file must not find the old graph under its key.
TEST_F(Compile, KeepsNoGraphOfWeightsThatWereReplacedMeanwhile) {
  TinyModel other;
  for (float& value : other.tensors().at("embeddings.word_embeddings.weight").values) value += 1;
  const std::string file = (model_ / "model.safetensors").string();
  expect_error(with_model(model_,
                          [&](const auto& spec, const auto& weights) {
                            replace_file(file, testing::to_safetensors(other.tensors()));
                            return compile(spec, weights, Target::Fused, Precision::F32, cache_,
                                           log());
                          }),
               ErrorCode::BadModel, file + ": was changed while it was being read");
  EXPECT_EQ(entries(), 0U);
  const auto model = run();
  ASSERT_TRUE(model) << model.error().message;
  const auto wanted = run_in(model_, folder_ / "other cache");
  ASSERT_TRUE(wanted) << wanted.error().message;
  EXPECT_TRUE(read_file(model->file.parent_path() / "model.onnx.data") ==
              read_file(wanted->file.parent_path() / "model.onnx.data"))
      << "the old weights under the key of the new";
}

TEST_F(Compile, BuildsInMemoryWithoutACacheFolder) {
  const auto stored = run();
  const auto built = run_in(model_, {});
  ASSERT_TRUE(stored && built);
  EXPECT_TRUE(built->file.empty());
  EXPECT_EQ(built->model, read_file(stored->file));
  EXPECT_EQ(text_of(built->data), read_file(stored->file.parent_path() / "model.onnx.data"));
  EXPECT_FALSE(fs::exists("graphs")) << "an empty folder is not the working folder";
}

TEST_F(Compile, ToAFolderWritesBothFiles) {
  const fs::path out = folder_ / "new/and/deep";
  const auto model = run_to(out);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->file, out / "model.onnx");
  EXPECT_TRUE(model->model.empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(out), {}), 2);
}

// What runs here may have operators that only textvec knows; what others get in f32 may not.
TEST_F(Compile, ToAFolderWritesWhatOthersRun) {
  const auto has_own_operators = [](const OnnxModel& model) {
    return read_file(model.file).find("weight_type") != std::string::npos;
  };
  const auto here = run();
  const auto elsewhere = run_to(folder_ / "out");
  ASSERT_TRUE(here && elsewhere);
  EXPECT_TRUE(has_own_operators(*here));
  EXPECT_FALSE(has_own_operators(*elsewhere));
  const auto rounded = run_to(folder_ / "out", Target::Fused, Precision::Int8);
  ASSERT_TRUE(rounded);
  EXPECT_TRUE(has_own_operators(*rounded));
}

TEST_F(Compile, EachPrecisionHasItsOwnPlaceInTheCache) {
  const auto exact = run();
  const auto rounded = run(Target::Fused, Precision::Int8);
  ASSERT_TRUE(exact && rounded);
  EXPECT_NE(exact->file, rounded->file);
  EXPECT_EQ(run(Target::Fused, Precision::Int8)->file, rounded->file);
  EXPECT_EQ(lines_, (std::vector<std::string>{"compiling model for target fused, f32",
                                              "compiling model for target fused, int8"}));
}

TEST_F(Compile, ToAFolderReplacesAnOlderModel) {
  const fs::path out = folder_ / "out";
  write_file(out / "README.md", "mine");
  ASSERT_TRUE(run_to(out));
  const std::string old_data = read_file(out / "model.onnx.data");
  const auto before = std::pair(identity(out / "model.onnx"), identity(out / "model.onnx.data"));
  // Somebody who runs the older model: its files must not change under them.
  std::ifstream reader(out / "model.onnx.data", std::ios::binary);

  TinyShape shape;
  shape.layers = 1;
  TinyModel(shape).write(model_);
  const auto model = run_to(out);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(count_nodes(model->file, "MultiHeadAttention"), 1U);
  EXPECT_LT(fs::file_size(out / "model.onnx.data"), old_data.size());
  EXPECT_NE(identity(out / "model.onnx").first, before.first.first);
  EXPECT_NE(identity(out / "model.onnx.data").first, before.second.first);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), old_data);
  EXPECT_EQ(read_file(out / "README.md"), "mine");
}

TEST_F(Compile, ToAFolderFollowsNoLink) {
  write_file(folder_ / "precious", "mine");
  for (const char* name : {"model.onnx", "model.onnx.data"}) {
    const fs::path out = folder_ / (std::string("out-") + name);
    fs::create_directory(out);
    fs::create_symlink(folder_ / "precious", out / name);
    const auto model = run_to(out);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_FALSE(fs::is_symlink(out / name));
    EXPECT_EQ(read_file(folder_ / "precious"), "mine");
  }
}

TEST_F(Compile, ToAFolderKeepsTheOlderModelWhenThereIsNoNewOne) {
  const fs::path out = folder_ / "out";
  ASSERT_TRUE(run_to(out));
  const auto before = std::pair(identity(out / "model.onnx"), identity(out / "model.onnx.data"));
  EXPECT_FALSE(run_to(out, Target::Static));
  replace_text(model_ / "config.json", R"("intermediate_size":24)", R"("intermediate_size":23)");
  EXPECT_FALSE(run_to(out));
  EXPECT_EQ(std::pair(identity(out / "model.onnx"), identity(out / "model.onnx.data")), before);
}

TEST_F(Compile, ToAFolderThatCannotBeWrittenLeavesNoHalf) {
  write_file(folder_ / "file", "");
  for (const char* place : {"file", "file/below"}) {
    expect_error(run_to(folder_ / place), ErrorCode::Internal, (folder_ / place).string());
  }
  // A folder with something in it is not removed, and nothing can be written in its place.
  for (const auto& [name, other] :
       {std::pair("model.onnx", "model.onnx.data"), std::pair("model.onnx.data", "model.onnx")}) {
    const fs::path out = folder_ / (std::string("out-") + name);
    write_file(out / name / "precious", "mine");
    expect_error(run_to(out), ErrorCode::Internal, (out / name).string());
    EXPECT_FALSE(fs::exists(out / other)) << other;
    EXPECT_EQ(read_file(out / name / "precious"), "mine");
  }
}

}  // namespace
}  // namespace textvec::graph
