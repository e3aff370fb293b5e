// The public API on a tiny real model: real files, real tokenizer, real runtime.
#include "textvec/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <limits>
#include <numeric>
#include <thread>

#include "support/slow_bert.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec {
namespace {

using testing::SlowBert;
using testing::TemporaryFolder;
using testing::TinyModel;

struct Tiny {
  TemporaryFolder folder{};
  TinyModel model{};

  explicit Tiny(const std::string& pooling = "pooling_mode_mean_tokens") {
    model.write(folder / "model", pooling);
  }
  LoadOptions options() const {
    LoadOptions options;
    options.cache_folder = folder / "cache";
    options.threads = 1;
    return options;
  }
  Result<Engine> load() const { return Engine::load((folder / "model").string(), options()); }
  Engine engine() const { return load().value(); }
};

std::string words(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += (i == 0 ? "w" : " w") + std::to_string(4 + i % 36);
  return text;
}

double norm(std::span<const float> row) {
  return std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0));
}

TEST(Engine, GivesTheMeanOfTheHiddenStates) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const auto embeddings = engine.embed("w5 w6");
  ASSERT_TRUE(embeddings) << embeddings.error().message;
  const auto states = SlowBert(tiny.model).run({2, 5, 6, 3});
  std::vector<double> mean(states.front().size(), 0.0);
  for (const auto& row : states) {
    for (std::size_t i = 0; i < row.size(); ++i) mean[i] += row[i] / 4;
  }
  double length = 0;
  for (const double value : mean) length += value * value;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    EXPECT_NEAR(embeddings->row(0)[i], mean[i] / std::sqrt(length), 2e-6);
  }
  EXPECT_EQ(embeddings->tokens.front(), 4U);
}

TEST(Engine, GivesTheHiddenStatesOfTokens) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::vector<std::string> texts{"w5 w6", "w7", words(100)};
  const auto vectors = engine.token_vectors(texts);
  ASSERT_TRUE(vectors) << vectors.error().message;
  EXPECT_EQ(vectors->texts(), 3U);
  EXPECT_EQ(vectors->dimension, engine.info().hidden_size);
  EXPECT_EQ(vectors->tokens, (std::vector<std::uint32_t>{4, 3, 32}));
  EXPECT_EQ(vectors->truncated, (std::vector<std::uint8_t>{0, 0, 1}));
  EXPECT_EQ(vectors->values.size(), 39 * vectors->dimension);
  const std::vector<std::vector<std::uint32_t>> ids{{2, 5, 6, 3}, {2, 7, 3}};
  for (std::size_t text = 0; text < ids.size(); ++text) {
    const auto states = SlowBert(tiny.model).run(ids[text]);
    const auto given = vectors->text(text);
    ASSERT_EQ(given.size(), states.size() * vectors->dimension);
    for (std::size_t i = 0; i < given.size(); ++i) {
      EXPECT_NEAR(given[i], states[i / vectors->dimension][i % vectors->dimension], 1e-5);
    }
  }
}

TEST(Engine, TokenVectorsOfManyTextsAreThoseOfEach) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  std::vector<std::string> texts(1100);  // more than a part
  for (std::size_t i = 0; i < texts.size(); ++i) texts[i] = words(1 + i % 3);
  const auto all = engine.token_vectors(texts);
  ASSERT_TRUE(all);
  for (const std::size_t i :
       {std::size_t{0}, std::size_t{1023}, std::size_t{1024}, texts.size() - 1}) {
    const auto one = engine.token_vectors(std::vector<std::string>{texts[i]});
    ASSERT_TRUE(one);
    ASSERT_EQ(all->text(i).size(), one->values.size());
    for (std::size_t k = 0; k < one->values.size(); ++k) {
      EXPECT_NEAR(all->text(i)[k], one->values[k], 1e-5);
    }
  }
}

TEST(Engine, TokenVectorsAreAdmittedBeforeTheyRun) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  std::size_t asked = 0;
  const auto submit = [&](const std::vector<std::string>& texts, bool admits) {
    std::promise<Result<TokenVectors>> promise;
    engine.submit_token_vectors(
        texts, {},
        [&](std::size_t tokens) -> Result<void> {
          asked = tokens;
          if (admits) return {};
          return Error{ErrorCode::Overloaded, "no room"};
        },
        [&](Result<TokenVectors> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  };
  EXPECT_TRUE(submit({"w5 w6", "w7"}, true));
  EXPECT_EQ(asked, 7U);
  const auto refused = submit({"w5"}, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::Overloaded);
  asked = 0;
  EXPECT_EQ(submit({"w5", "\xff"}, true).error().text, 1U);
  EXPECT_EQ(asked, 0U);
}

TEST(Engine, WhatDoesNotGoWithTokenVectorsIsAnError) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::vector<std::string> texts{"w5"};
  EmbedOptions options;
  options.dimensions = 4;
  EXPECT_EQ(engine.token_vectors(texts, options).error().code, ErrorCode::InvalidArgument);
  options = {};
  options.too_long = TooLong::Chunk;
  EXPECT_EQ(engine.token_vectors(texts, options).error().code, ErrorCode::InvalidArgument);
  options = {};
  options.bad_text = BadText::Report;
  const auto reported = engine.token_vectors(std::vector<std::string>{"\xff", "w5"}, options);
  ASSERT_TRUE(reported);
  EXPECT_EQ(reported->failures.size(), 1U);
  EXPECT_EQ(reported->tokens, (std::vector<std::uint32_t>{0, 3}));
  EXPECT_EQ(reported->text(1).size(), 3 * reported->dimension);
}

TEST(Engine, InfoSaysWhatRuns) {
  const Tiny tiny("pooling_mode_cls_token");
  const Engine engine = tiny.engine();
  const ModelInfo& info = engine.info();
  EXPECT_EQ(info.architecture, "bert");
  EXPECT_EQ(info.dimension, 16U);
  EXPECT_EQ(info.tokens_max, 32U);
  EXPECT_EQ(info.vocabulary_size, 40U);
  EXPECT_EQ(info.pooling, Pooling::Cls);
  EXPECT_EQ(info.path, GraphPath::Fused);
  EXPECT_TRUE(std::filesystem::exists(info.graph_file));
  EXPECT_EQ(info.threads, 1U);
  EXPECT_EQ(info.provider, Provider::Cpu);
}

TEST(Engine, AGraphFromTheCacheGivesTheSameVectors) {
  const Tiny tiny;
  const auto first = tiny.engine().embed("w5 w6");
  const Engine again = tiny.engine();
  const auto second = again.embed("w5 w6");
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->values, second->values);
}

TEST(Engine, ADamagedCacheIsMadeAnew) {
  const Tiny tiny;
  const Engine first = tiny.engine();
  std::string bytes = testing::read_file(first.info().graph_file + ".data");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x40);
  // Another file in its place: the first engine has the old one mapped.
  testing::write_file(tiny.folder / "damaged", bytes);
  std::filesystem::rename(tiny.folder / "damaged", first.info().graph_file + ".data");
  const Engine second = tiny.engine();
  EXPECT_EQ(first.embed("w5 w6").value().values, second.embed("w5 w6").value().values);
}

TEST(Engine, ATextIsTheSameAloneInABatchAndReversed) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 64; ++i) texts.push_back(words(1 + i * 7 % 30));
  const auto together = engine.embed(texts);
  const auto reversed = engine.embed(std::vector<std::string>(texts.rbegin(), texts.rend()));
  ASSERT_TRUE(together);
  ASSERT_TRUE(reversed);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto alone = engine.embed(texts[i]);
    ASSERT_TRUE(alone);
    for (std::size_t j = 0; j < 16; ++j) {
      EXPECT_NEAR(alone->row(0)[j], together->row(i)[j], 1e-6);
      EXPECT_NEAR(alone->row(0)[j], reversed->row(63 - i)[j], 1e-6);
    }
  }
}

TEST(Engine, TruncatesAboveTheLimitAndSaysSo) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  for (const auto& [count, truncated] : {std::pair{29U, 0}, {30U, 0}, {31U, 1}}) {
    const auto embeddings = engine.embed(words(count));  // and two special tokens
    ASSERT_TRUE(embeddings);
    EXPECT_EQ(embeddings->tokens.front(), std::min(count + 2, 32U));
    EXPECT_EQ(embeddings->truncated.front(), truncated);
  }
  EmbedOptions refuse;
  refuse.too_long = TooLong::Refuse;
  EXPECT_TRUE(engine.embed(words(30), refuse));
  const auto refused = engine.embed(words(31), refuse);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InputTooLong);
  EXPECT_NE(refused.error().message.find("33"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("32"), std::string::npos);
}

TEST(Engine, DimensionsFromOneToNative) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const auto whole = engine.embed("w5 w6").value();
  for (const std::size_t dimensions : {1U, 15U, 16U}) {
    EmbedOptions options;
    options.dimensions = dimensions;
    const auto cut = engine.embed("w5 w6", options);
    ASSERT_TRUE(cut);
    EXPECT_EQ(cut->dimension, dimensions);
    EXPECT_NEAR(norm(cut->row(0)), 1.0, 1e-6);
    EXPECT_NEAR(cut->row(0)[0] / whole.row(0)[0], 1 / norm(whole.row(0).first(dimensions)), 1e-5);
  }
  for (const std::size_t dimensions : {0U, 17U}) {
    EmbedOptions options;
    options.dimensions = dimensions;
    const auto refused = engine.embed("w5", options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(refused.error().message.find("1 to 16"), std::string::npos);
  }
}

TEST(Engine, ABadTextNamesItsIndexAndItsNeighboursLive) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::vector<std::string> texts{"w5", "w6 \xff", "w7"};
  const auto failed = engine.embed(texts);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(failed.error().text, 1U);
  EXPECT_NE(failed.error().message.find("byte 3"), std::string::npos) << failed.error().message;
  EmbedOptions report;
  report.bad_text = BadText::Report;
  const auto reported = engine.embed(texts, report);
  ASSERT_TRUE(reported);
  ASSERT_EQ(reported->failures.size(), 1U);
  EXPECT_NEAR(norm(reported->row(2)), 1.0, 1e-6);
}

TEST(Engine, TheByteLimitOfATextIsExact) {
  const Tiny tiny;
  LoadOptions options = tiny.options();
  options.text_bytes_max = 10;
  const Engine engine = Engine::load((tiny.folder / "model").string(), options).value();
  EXPECT_TRUE(engine.embed("w5 w6 w7 9"));
  const auto refused = engine.embed("w5 w6 w7 99");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(refused.error().message.find("10"), std::string::npos) << refused.error().message;
}

TEST(Engine, EmptyListsAndEmptyTexts) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const auto none = engine.embed(std::span<const std::string>());
  ASSERT_TRUE(none);
  EXPECT_EQ(none->rows(), 0U);
  EXPECT_EQ(engine.submit({}).get().value().rows(), 0U);
  const auto empty = engine.embed("");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->tokens.front(), 2U);
}

// A tokenizer without special tokens: there is nothing that cls, last-token or max could read.
TEST(Engine, ATextWithoutTokensIsRefusedAndItsNeighboursLive) {
  const Tiny tiny;
  std::string tokenizer = tiny.model.tokenizer();
  const std::size_t begin = tokenizer.find(R"("post_processor":)");
  const std::size_t end = tokenizer.find(R"(,"decoder")");
  tokenizer.replace(begin, end - begin, R"("post_processor":null)");
  testing::write_file(tiny.folder / "model/tokenizer.json", tokenizer);
  for (const Pooling pooling :
       {Pooling::Cls, Pooling::LastToken, Pooling::Max, Pooling::Mean, Pooling::MeanSqrtLen}) {
    LoadOptions options = tiny.options();
    options.pooling = pooling;
    const Engine engine = Engine::load((tiny.folder / "model").string(), options).value();
    const auto alone = engine.embed("");
    ASSERT_FALSE(alone);
    EXPECT_EQ(alone.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(alone.error().message, "the text has no tokens");
    EmbedOptions report;
    report.bad_text = BadText::Report;
    const std::vector<std::string> texts{"w5", "", "w6"};
    const auto reported = engine.embed(texts, report);
    ASSERT_TRUE(reported) << reported.error().message;
    ASSERT_EQ(reported->failures.size(), 1U);
    EXPECT_EQ(reported->failures.front().text, 1U);
    EXPECT_NEAR(norm(reported->row(2)), 1.0, 1e-6);
    EXPECT_TRUE(engine.health());
  }
}

TEST(Engine, HealthTakesAnyLimit) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  EXPECT_TRUE(engine.health(std::chrono::milliseconds::max()));
  EXPECT_EQ(engine.health(std::chrono::milliseconds(-1)).error().code, ErrorCode::TimedOut);
  EXPECT_EQ(engine.health(std::chrono::milliseconds::min()).error().code, ErrorCode::TimedOut);
}

TEST(Engine, TokenisingHeedsTheDeadlineAndTheStop) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::vector<std::string> texts{"w5"};
  EmbedOptions late;
  late.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(engine.tokenize(texts, late).error().code, ErrorCode::TimedOut);
  EXPECT_FALSE(engine.tokenize(texts, late).error().text);
  std::stop_source stop;
  stop.request_stop();
  EmbedOptions stopped;
  stopped.stop = stop.get_token();
  EXPECT_EQ(engine.tokenize(texts, stopped).error().code, ErrorCode::Cancelled);
}

TEST(EngineLoad, AnOnnxFileHasThePrecisionThatItHas) {
  const Tiny tiny;
  const std::filesystem::path graph = tiny.engine().info().graph_file;
  std::filesystem::create_directories(tiny.folder / "as-is");
  std::filesystem::copy_file(graph, tiny.folder / "as-is/model.onnx");
  std::filesystem::copy_file(graph.string() + ".data", tiny.folder / "as-is/model.onnx.data");
  testing::write_file(tiny.folder / "as-is/tokenizer.json", tiny.model.tokenizer());
  LoadOptions options = tiny.options();
  options.precision = Precision::Int8;
  EXPECT_EQ(Engine::load((tiny.folder / "as-is").string(), options).error().code,
            ErrorCode::Unsupported);
  options.precision = Precision::F32;
  EXPECT_TRUE(Engine::load((tiny.folder / "as-is").string(), options));
}

TEST(Engine, ManyTextsNeedNoMoreRoomThanTheQueueHas) {
  const Tiny tiny;
  LoadOptions options = tiny.options();
  options.queue_texts_max = 100;
  const Engine engine = Engine::load((tiny.folder / "model").string(), options).value();
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 5000; ++i) texts.push_back("w" + std::to_string(4 + i % 36));
  const auto embeddings = engine.embed(texts);
  ASSERT_TRUE(embeddings);
  ASSERT_EQ(embeddings->rows(), texts.size());
  const auto expected = engine.embed("w7").value();
  for (std::size_t j = 0; j < 16; ++j) {
    EXPECT_NEAR(embeddings->row(36 * 100 + 3)[j], expected.row(0)[j], 1e-6);
  }
  EXPECT_EQ(engine.submit(texts).get().error().code, ErrorCode::InvalidArgument);
}

TEST(Engine, SubmitAnswersOverloadedWhenTheQueueIsFull) {
  const Tiny tiny;
  LoadOptions options = tiny.options();
  options.queue_texts_max = 4;
  const Engine engine = Engine::load((tiny.folder / "model").string(), options).value();
  std::vector<std::future<Result<Embeddings>>> answers;
  for (int i = 0; i < 2000; ++i) answers.push_back(engine.submit({"w5", "w6", "w7"}));
  std::size_t refused = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (result) continue;
    EXPECT_EQ(result.error().code, ErrorCode::Overloaded);
    ++refused;
  }
  EXPECT_GT(refused, 0U);
  EXPECT_LT(refused, answers.size());
}

TEST(Engine, AStopAndAPastDeadlineEndACall) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  std::stop_source stop;
  stop.request_stop();
  EmbedOptions stopped;
  stopped.stop = stop.get_token();
  EXPECT_EQ(engine.embed("w5", stopped).error().code, ErrorCode::Cancelled);
  EmbedOptions late;
  late.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(engine.embed("w5", late).error().code, ErrorCode::TimedOut);
}

TEST(Engine, HealthRunsAText) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const auto health = engine.health();
  ASSERT_TRUE(health) << health.error().message;
  EXPECT_GT(health->latency.count(), 0);
}

TEST(Engine, AnEngineCanBeMovedAndSharedBetweenThreads) {
  const Tiny tiny;
  Engine first = tiny.engine();
  const Engine engine = std::move(first);
  const auto expected = engine.embed("w5 w6 w7").value();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto embeddings = engine.embed("w5 w6 w7");
        ASSERT_TRUE(embeddings);
        for (std::size_t j = 0; j < 16; ++j) {
          EXPECT_NEAR(embeddings->row(0)[j], expected.row(0)[j], 1e-6);
        }
      }
    });
  }
}

TEST(Engine, ClosingWithWorkQueuedAnswersEverybody) {
  const Tiny tiny;
  std::vector<std::future<Result<Embeddings>>> answers;
  {
    const Engine engine = tiny.engine();
    for (int i = 0; i < 200; ++i) answers.push_back(engine.submit({words(30), words(29)}));
  }
  for (auto& answer : answers) {
    const auto result = answer.get();
    EXPECT_TRUE(result || result.error().code == ErrorCode::Cancelled);
  }
}

TEST(EngineLoad, NamesWhatIsMissing) {
  const Tiny tiny;
  for (const char* file : {"tokenizer.json", "model.safetensors", "1_Pooling/config.json"}) {
    const auto path = tiny.folder / "model" / file;
    const std::string content = testing::read_file(path);
    std::filesystem::remove(path);
    const auto engine = tiny.load();
    ASSERT_FALSE(engine) << file;
    EXPECT_EQ(engine.error().code, ErrorCode::NotFound) << engine.error().message;
    EXPECT_NE(engine.error().message.find(std::filesystem::path(file).filename().string()),
              std::string::npos)
        << engine.error().message;
    testing::write_file(path, content);
  }
  EXPECT_TRUE(tiny.load());
  const auto nowhere = Engine::load((tiny.folder / "nowhere").string(), tiny.options());
  EXPECT_EQ(nowhere.error().code, ErrorCode::NotFound);
}

TEST(EngineLoad, ATokenizerOfALargerVocabularyIsRefused) {
  const Tiny tiny;
  testing::TinyShape larger;
  larger.vocabulary_size = 41;
  testing::write_file(tiny.folder / "model/tokenizer.json", TinyModel(larger).tokenizer());
  const auto engine = tiny.load();
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::BadModel);
  EXPECT_NE(engine.error().message.find("40"), std::string::npos) << engine.error().message;
}

TEST(EngineLoad, AnUnknownArchitectureSaysWhichAreKnown) {
  const Tiny tiny;
  testing::write_file(tiny.folder / "model/config.json",
                      R"({"model_type":"mamba","hidden_size":16,"vocab_size":40})");
  const auto engine = tiny.load();
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::Unsupported);
  for (const char* word : {"mamba", "bert", "xlm-roberta", "ONNX"}) {
    EXPECT_NE(engine.error().message.find(word), std::string::npos) << engine.error().message;
  }
}

TEST(EngineLoad, WeightsThatGiveNoNumberNameTheText) {
  Tiny tiny;
  for (float& value : tiny.model.tensors().at("embeddings.word_embeddings.weight").values) {
    value = std::numeric_limits<float>::quiet_NaN();
  }
  tiny.model.write(tiny.folder / "model");
  const Engine engine = tiny.engine();
  const auto result = engine.embed("w5");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::NonFinite);
  EXPECT_EQ(result.error().text, 0U);
}

TEST(EngineLoad, LimitsOfTheOptionsAreExact) {
  const Tiny tiny;
  LoadOptions options = tiny.options();
  options.batch_tokens_max = (std::size_t{1} << 20) + 1;
  const auto above = Engine::load((tiny.folder / "model").string(), options);
  ASSERT_FALSE(above);
  EXPECT_EQ(above.error().code, ErrorCode::InvalidArgument);
  for (const std::size_t value : {std::size_t{0}, std::size_t{1}, std::size_t{1} << 20}) {
    options.batch_tokens_max = value;
    const auto engine = Engine::load((tiny.folder / "model").string(), options);
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ(engine->info().batch_tokens_max, value == 0 ? 1024 : value);
  }
  for (const unsigned value : {0U, 1U, 3U}) {
    options.workers = value;
    const auto engine = Engine::load((tiny.folder / "model").string(), options);
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ(engine->info().workers, std::max(1U, value));
  }
  options.workers = 1025;
  const auto many = Engine::load((tiny.folder / "model").string(), options);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().message, "workers is 1025; it takes 0 to 1024");
}

TEST(EngineLoad, ARequiredProviderThatIsNotThereIsAnError) {
  const Tiny tiny;
  LoadOptions options = tiny.options();
  options.provider = Provider::CoreMl;
  const Engine fallen_back = Engine::load((tiny.folder / "model").string(), options).value();
  EXPECT_FALSE(fallen_back.info().provider_note.empty());
  options.require_provider = true;
  const auto engine = Engine::load((tiny.folder / "model").string(), options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::Provider);
}

TEST(EngineLoad, OptionsOfAProviderAreChecked) {
  const Tiny tiny;
  const auto code_of = [&](const LoadOptions& options) {
    const auto engine = Engine::load((tiny.folder / "model").string(), options);
    return engine ? ErrorCode::Internal : engine.error().code;
  };
  LoadOptions options = tiny.options();
  options.provider_options = {{"MLComputeUnits", "ALL"}};
  EXPECT_EQ(code_of(options), ErrorCode::InvalidArgument);
  options.provider = Provider::CoreMl;
  options.require_provider = true;
  EXPECT_EQ(code_of(options), ErrorCode::Provider);  // taken, and not on this machine
  options.provider_options = {{"MLComputeUnits", "Half"}};
  EXPECT_EQ(code_of(options), ErrorCode::InvalidArgument);
  options = tiny.options();
  options.provider_library = "/nowhere";
  EXPECT_EQ(code_of(options), ErrorCode::InvalidArgument);
  for (const int seconds : {-1, 0, 3601}) {
    options = tiny.options();
    options.trial_limit = std::chrono::seconds(seconds);
    EXPECT_EQ(code_of(options), ErrorCode::InvalidArgument) << seconds;
  }
  for (const int seconds : {1, 3600}) {
    options.trial_limit = std::chrono::seconds(seconds);
    EXPECT_TRUE(Engine::load((tiny.folder / "model").string(), options)) << seconds;
  }
}

TEST(EngineLoad, WithoutAProgramNoProviderIsTried) {
  const Tiny tiny;
  // Found as a file, and never loaded unless it is required: it is no library.
  const auto library = tiny.folder / "libonnxruntime_providers_openvino_plugin.so";
  testing::write_file(library, "no library");
  LoadOptions options = tiny.options();
  options.provider = Provider::OpenVino;
  options.provider_library = library;
  std::vector<std::string> lines;
  options.log = [&](std::string_view line) { lines.emplace_back(line); };
  for (const auto& [program, word] :
       {std::pair{"", "no textvec program is named"}, std::pair{"textvec", "absolute path"},
        std::pair{"/nowhere/textvec", "/nowhere/textvec"}}) {
    options.trial_program = program;
    lines.clear();
    const Engine engine = Engine::load((tiny.folder / "model").string(), options).value();
    EXPECT_EQ(engine.info().provider, Provider::Cpu);
    EXPECT_NE(engine.info().provider_note.find(word), std::string::npos)
        << engine.info().provider_note;
    EXPECT_EQ(std::count(lines.begin(), lines.end(), engine.info().provider_note), 1);
    EXPECT_TRUE(engine.embed("w5 w6"));
  }
  options.trial_program.clear();
  options.require_provider = true;
  const auto required = Engine::load((tiny.folder / "model").string(), options);
  ASSERT_FALSE(required);
  EXPECT_EQ(required.error().code, ErrorCode::Provider);
  EXPECT_NE(required.error().message.find("openvino"), std::string::npos);
}

TEST(EngineLoad, ACompiledGraphRunsAsIs) {
  const Tiny tiny;
  const Engine fused = tiny.engine();
  // The compiled graph is an ordinary ONNX file: beside a tokenizer it is a model of its own.
  std::filesystem::create_directories(tiny.folder / "as-is");
  const std::filesystem::path graph = fused.info().graph_file;
  std::filesystem::copy_file(graph, tiny.folder / "as-is/model.onnx");
  std::filesystem::copy_file(graph.string() + ".data", tiny.folder / "as-is/model.onnx.data");
  testing::write_file(tiny.folder / "as-is/tokenizer.json", tiny.model.tokenizer());
  const Engine as_is = Engine::load((tiny.folder / "as-is").string(), tiny.options()).value();
  EXPECT_EQ(as_is.info().path, GraphPath::AsIs);
  EXPECT_EQ(as_is.info().dimension, 16U);
  EXPECT_EQ(as_is.info().tokens_max, 512U);
  EXPECT_FALSE(as_is.info().notes.empty());
  EXPECT_EQ(as_is.embed("w5 w6").value().values, fused.embed("w5 w6").value().values);
  const Engine by_file =
      Engine::load((tiny.folder / "as-is/model.onnx").string(), tiny.options()).value();
  EXPECT_EQ(by_file.embed("w5 w6").value().values, fused.embed("w5 w6").value().values);
}

TEST(EnginePrompts, RolesNamesAndTheDefault) {
  const Tiny tiny;
  testing::write_file(tiny.folder / "model/config_sentence_transformers.json",
                      R"({"prompts":{"query":"w10 ","passage":"w11 ","other":"w12 "},)"
                      R"("default_prompt_name":"other"})");
  const Engine engine = tiny.engine();
  const auto ids = [&](const EmbedOptions& options) {
    const std::vector<std::string> texts{"w5"};
    return engine.tokenize(texts, options).value().front();
  };
  EmbedOptions options;
  EXPECT_EQ(ids(options), (std::vector<std::uint32_t>{2, 12, 5, 3}));
  options.role = Role::Query;
  EXPECT_EQ(ids(options), (std::vector<std::uint32_t>{2, 10, 5, 3}));
  options.role = Role::Document;
  EXPECT_EQ(ids(options), (std::vector<std::uint32_t>{2, 11, 5, 3}));
  options.role = Role::Unspecified;
  options.prompt = "passage";
  EXPECT_EQ(ids(options), (std::vector<std::uint32_t>{2, 11, 5, 3}));
  options.prompt = "nonesuch";
  const auto unknown = engine.embed("w5", options);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(unknown.error().message.find("other, passage, query"), std::string::npos)
      << unknown.error().message;
  options.role = Role::Query;
  EXPECT_FALSE(engine.embed("w5", options)) << "a role and a prompt are two answers";
}

TEST(EnginePrompts, AnInstructionReplacesTheTask) {
  const Tiny tiny;
  testing::write_file(tiny.folder / "model/config_sentence_transformers.json",
                      R"({"prompts":{"query":"Instruct: w20 w21\nQuery: "}})");
  const Engine engine = tiny.engine();
  EmbedOptions options;
  options.instruction = "w30";
  const std::vector<std::string> texts{"w5"};
  // "Instruct:" and "Query:" are unknown words: id 1.
  EXPECT_EQ(engine.tokenize(texts, options).value().front(),
            (std::vector<std::uint32_t>{2, 1, 30, 1, 5, 3}));
  options.role = Role::Document;
  EXPECT_FALSE(engine.embed("w5", options));
  const Tiny plain;
  options.role = Role::Query;
  EXPECT_EQ(plain.engine().embed("w5", options).error().code, ErrorCode::Unsupported);
}

}  // namespace
}  // namespace textvec
