// Texts that are too long, in windows: on the tiny model, each expected vector is the mean of what
// the engine gives for the windows as texts of their own, worked out here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/temporary_folder.h"
#include "support/tiny_model.h"
#include "textvec/engine.h"

namespace textvec {
namespace {

using testing::TemporaryFolder;
using testing::TinyModel;

constexpr std::size_t kTokensMax = 32;
constexpr std::size_t kRoom = kTokensMax - 2;  // beside [CLS] and [SEP]

struct Tiny {
  TemporaryFolder folder{};

  explicit Tiny(const std::string& prompts = "{}") {
    TinyModel().write(folder / "model");
    testing::write_file(folder / "model/config_sentence_transformers.json",
                        R"({"prompts":)" + prompts + "}");
  }
  Engine engine(std::size_t queue_texts_max = 4096) const {
    LoadOptions options;
    options.cache_folder = folder / "cache";
    options.threads = 1;
    options.queue_texts_max = queue_texts_max;
    return Engine::load((folder / "model").string(), options).value();
  }
};

std::string word(std::size_t index) { return "w" + std::to_string(4 + index * 7 % 36); }

// Words [begin, end) of an endless text, each a token.
std::string words(std::size_t begin, std::size_t end) {
  std::string text;
  for (std::size_t i = begin; i < end; ++i) text += (i == begin ? "" : " ") + word(i);
  return text;
}

EmbedOptions chunked(std::optional<std::size_t> overlap = std::nullopt) {
  EmbedOptions options;
  options.too_long = TooLong::Chunk;
  options.chunk_overlap = overlap;
  return options;
}

struct Part {
  std::size_t begin = 0;  // words
  std::size_t end = 0;
};

// By the formula of options.h.
std::vector<double> mean_of(const Engine& engine, const std::vector<Part>& parts,
                            EmbedOptions options) {
  options.too_long = TooLong::Refuse;
  options.dimensions = std::nullopt;
  std::vector<double> sum(engine.info().dimension, 0.0);
  double tokens = 0;
  for (const Part& part : parts) {
    const auto vector = engine.embed(words(part.begin, part.end), options).value();
    const auto count = static_cast<double>(part.end - part.begin);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += count * vector.row(0)[i];
    tokens += count;
  }
  for (double& value : sum) value /= tokens;
  return sum;
}

std::vector<double> unit(std::vector<double> vector) {
  double squares = 0;
  for (const double value : vector) squares += value * value;
  for (double& value : vector) value /= std::sqrt(squares);
  return vector;
}

void expect_near(std::span<const float> row, const std::vector<double>& expected) {
  ASSERT_EQ(row.size(), expected.size());
  for (std::size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(row[i], expected[i], 2e-6);
}

std::vector<Part> parts_of(const Embeddings& embeddings, const std::string& text) {
  std::vector<Part> parts;
  std::size_t end = 0;
  for (const Chunk& chunk : embeddings.chunks.at(0)) {
    const std::string bytes = text.substr(chunk.begin_byte, chunk.end_byte - chunk.begin_byte);
    std::size_t begin = static_cast<std::size_t>(std::count(
        text.begin(), text.begin() + static_cast<std::ptrdiff_t>(chunk.begin_byte), ' '));
    end = begin + chunk.tokens;
    // A part's bytes reach to where the next word begins.
    EXPECT_EQ(bytes, words(begin, end) + (chunk.end_byte < text.size() ? " " : ""));
    parts.push_back({begin, end});
  }
  return parts;
}

TEST(Chunk, ATextThatFitsHasTheSameBits) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, kRoom - 1, kRoom}) {
    const std::string text = words(0, count);
    const auto plain = engine.embed(text).value();
    const auto split = engine.embed(text, chunked()).value();
    EXPECT_EQ(split.values, plain.values) << count;
    EXPECT_EQ(split.tokens, plain.tokens);
    ASSERT_EQ(split.chunks.size(), 1U);
    EXPECT_EQ(split.chunks[0],
              (std::vector<Chunk>{{0, text.size(), static_cast<std::uint32_t>(count)}}));
    EXPECT_TRUE(plain.chunks.empty());
  }
}

TEST(Chunk, ALongerTextHasTheWeightedMeanOfItsWindows) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::string text = words(0, kRoom + 1);
  const auto split = engine.embed(text, chunked()).value();
  const std::vector<Part> parts{{0, 30}, {27, 31}};  // an eighth of 30 is 3
  expect_near(split.row(0), unit(mean_of(engine, parts, {})));
  ASSERT_EQ(parts_of(split, text).size(), 2U);
  EXPECT_EQ(split.chunks[0][0].tokens, 30U);
  EXPECT_EQ(split.chunks[0][1].tokens, 4U);
  EXPECT_EQ(split.tokens[0], kRoom + 3);
  EXPECT_EQ(split.truncated[0], 0);
  // And not that of the text cut off.
  EXPECT_NE(split.values, engine.embed(text).value().values);
}

TEST(Chunk, OverlapsFromNoneToAllButOne) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::string text = words(0, 95);
  for (const auto& [overlap, windows] :
       {std::pair<std::size_t, std::size_t>{0, 4}, {1, 4}, {15, 6}, {kRoom - 1, 66}}) {
    const auto split = engine.embed(text, chunked(overlap));
    ASSERT_TRUE(split) << split.error().message;
    const std::vector<Part> parts = parts_of(*split, text);
    ASSERT_EQ(parts.size(), windows);
    EXPECT_EQ(parts.front().begin, 0U);
    EXPECT_EQ(parts.back().end, 95U);
    for (std::size_t i = 1; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].begin + overlap, parts[i - 1].end);
    }
    expect_near(split->row(0), unit(mean_of(engine, parts, {})));
  }
  const auto refused = engine.embed(text, chunked(kRoom));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(refused.error().message, "chunk_overlap is 30; windows of 32 tokens take 0 to 29");
  EXPECT_FALSE(engine.tokenize({}, chunked(kRoom))) << "before any text is looked at";
}

TEST(Chunk, WindowsFromOneTokenToAllTheModelTakes) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::string text = words(0, 40);
  EmbedOptions options = chunked(0);
  for (const auto& [tokens, windows] :
       {std::pair<std::size_t, std::size_t>{3, 40}, {12, 4}, {32, 2}}) {
    options.chunk_tokens = tokens;
    const auto split = engine.embed(text, options);
    ASSERT_TRUE(split) << split.error().message;
    const auto parts = parts_of(*split, text);
    EXPECT_EQ(parts.size(), windows);
    expect_near(split->row(0), unit(mean_of(engine, parts, {})));
  }
  options.chunk_tokens = 2;
  const auto none = engine.embed(text, options);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(none.error().message.find("at least 3"), std::string::npos) << none.error().message;
  options.chunk_tokens = 33;
  const auto above = engine.embed(text, options);
  ASSERT_FALSE(above);
  EXPECT_EQ(above.error().code, ErrorCode::InvalidArgument);
  EXPECT_EQ(above.error().message, "chunk_tokens is 33; the model takes 32");
}

TEST(Chunk, DimensionsAreCutFromTheMeanOfWholeVectors) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked(3);
  options.dimensions = 5;
  const auto split = engine.embed(words(0, 80), options).value();
  auto expected = mean_of(engine, {{0, 30}, {27, 57}, {54, 80}}, {});
  expected.resize(5);
  expect_near(split.row(0), unit(expected));
}

TEST(Chunk, WithoutNormalisingItIsTheMeanOfTheModelsVectors) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked(3);
  options.normalize = false;
  const auto split = engine.embed(words(0, 80), options).value();
  EmbedOptions plain;
  plain.normalize = false;
  expect_near(split.row(0), mean_of(engine, {{0, 30}, {27, 57}, {54, 80}}, plain));
}

TEST(Chunk, APromptStandsBeforeEveryWindow) {
  const Tiny tiny(R"({"query":"w10 w11 "})");
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked(4);
  options.role = Role::Query;
  const std::string text = words(0, 60);
  const auto split = engine.embed(text, options).value();
  const std::vector<Part> parts{{0, 28}, {24, 52}, {48, 60}};  // room for 28 beside the prompt
  EXPECT_EQ(parts_of(split, text).size(), 3U);
  EmbedOptions query;
  query.role = Role::Query;
  expect_near(split.row(0), unit(mean_of(engine, parts, query)));
  options.chunk_overlap = 28;
  EXPECT_EQ(engine.embed(text, options).error().message,
            "chunk_overlap is 28; windows of 32 tokens take 0 to 27");
}

// As in sentence-transformers, whose Pooling has include_prompt.
TEST(Chunk, APromptThatIsNotPooledIsNotPooledInAnyWindow) {
  const Tiny tiny(R"({"query":"w10 w11 "})");
  testing::write_file(
      tiny.folder / "model/1_Pooling/config.json",
      R"({"word_embedding_dimension":16,"pooling_mode_mean_tokens":true,"include_prompt":false})");
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked(4);
  options.role = Role::Query;
  const auto split = engine.embed(words(0, 60), options);
  ASSERT_TRUE(split) << split.error().message;
  EmbedOptions query;
  query.role = Role::Query;
  expect_near(split->row(0), unit(mean_of(engine, {{0, 28}, {24, 52}, {48, 60}}, query)));
}

TEST(Chunk, APromptOfAsManyTokensAsAWindowIsRefused) {
  std::string prompt;
  for (std::size_t i = 0; i < kRoom; ++i) prompt += "w10 ";
  const Tiny tiny("{\"query\":\"" + prompt + "\",\"shorter\":\"" + prompt.substr(4) + "\"}");
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked();
  options.prompt = "query";
  const auto refused = engine.embed("w5", options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(refused.error().message.find("32"), std::string::npos) << refused.error().message;
  options.prompt = "shorter";  // by one: a window holds one word
  const auto split = engine.embed("w5 w6", options);
  ASSERT_TRUE(split) << split.error().message;
  EXPECT_EQ(split->chunks[0].size(), 2U);
}

TEST(Chunk, ItsOptionsGoWithNoOtherPolicy) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  for (const TooLong too_long : {TooLong::Truncate, TooLong::Refuse}) {
    EmbedOptions options;
    options.too_long = too_long;
    options.chunk_overlap = 1;
    EXPECT_EQ(engine.embed("w5", options).error().code, ErrorCode::InvalidArgument);
    options.chunk_overlap = std::nullopt;
    options.chunk_tokens = 20;
    EXPECT_EQ(engine.embed("w5", options).error().code, ErrorCode::InvalidArgument);
  }
}

TEST(Chunk, ABadTextFailsAloneAmongLongAndShortOnes) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  EmbedOptions options = chunked(0);
  options.bad_text = BadText::Report;
  const std::string long_text = words(0, 90);
  const std::vector<std::string> texts{"w5", long_text, "w6 \xff", long_text + " w7", "w8"};
  const auto answer = engine.embed(texts, options).value();
  ASSERT_EQ(answer.failures.size(), 1U);
  EXPECT_EQ(answer.failures[0].text, 2U);
  std::vector<std::size_t> windows;
  for (const auto& chunks : answer.chunks) windows.push_back(chunks.size());
  EXPECT_EQ(windows, (std::vector<std::size_t>{1, 3, 0, 4, 1}));
  expect_near(answer.row(1), unit(mean_of(engine, {{0, 30}, {30, 60}, {60, 90}}, {})));
  const auto last = engine.embed("w8").value();
  expect_near(answer.row(4), {last.values.begin(), last.values.end()});
}

// 600 texts of 5 windows: more than one call of the worker's, and more than the queue takes.
TEST(Chunk, ManyLongTextsWaitForRoomInTheQueue) {
  const Tiny tiny;
  const Engine engine = tiny.engine(10);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 600; ++i) texts.push_back(words(i, i + 150));
  const auto answer = engine.embed(texts, chunked(0));
  ASSERT_TRUE(answer) << answer.error().message;
  ASSERT_EQ(answer->rows(), texts.size());
  ASSERT_EQ(answer->chunks.size(), texts.size());
  for (const std::size_t row : {0U, 204U, 205U, 599U}) {
    std::vector<Part> parts;
    for (std::size_t i = row; i < row + 150; i += kRoom) parts.push_back({i, i + kRoom});
    expect_near(answer->row(row), unit(mean_of(engine, parts, {})));
    EXPECT_EQ(answer->chunks[row].size(), 5U);
    EXPECT_EQ(answer->tokens[row], 152U);
  }
}

TEST(Chunk, OneTextOfMoreWindowsThanTheQueueTakes) {
  const Tiny tiny;
  const Engine engine = tiny.engine(4);
  EmbedOptions options = chunked(0);
  options.chunk_tokens = 3;
  const auto blocking = engine.embed(words(0, 200), options);
  ASSERT_TRUE(blocking) << blocking.error().message;
  EXPECT_EQ(blocking->chunks[0].size(), 200U);
  const auto submitted = engine.submit({words(0, 200)}, options).get();
  ASSERT_TRUE(submitted) << submitted.error().message;
  EXPECT_EQ(submitted->chunks, blocking->chunks);
}

TEST(Chunk, TheLimitOfWindowsIsExact) {
  const Tiny tiny;
  const Engine engine = tiny.engine(4);
  EmbedOptions options = chunked(0);
  options.chunk_tokens = 3;
  EXPECT_EQ(engine.embed(words(0, 4096), options).value().chunks[0].size(), 4096U);
  const auto refused = engine.embed(words(0, 4097), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::InputTooLong);
  EXPECT_EQ(refused.error().text, 0U);
  EXPECT_NE(refused.error().message.find("4097"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("4096"), std::string::npos);
  // Of a call that does not wait for room: two texts that are too many together.
  const auto too_many = engine.submit({words(0, 4096), "w5"}, options).get();
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().code, ErrorCode::InvalidArgument);
  EXPECT_NE(too_many.error().message.find("4096"), std::string::npos) << too_many.error().message;
}

TEST(Chunk, TokenizeGivesTheWholeText) {
  const Tiny tiny;
  const Engine engine = tiny.engine();
  const std::vector<std::string> texts{words(0, 100)};
  const auto ids = engine.tokenize(texts, chunked()).value().front();
  EXPECT_EQ(ids.size(), 102U);
  EXPECT_EQ(ids[1], 4U);
  EXPECT_EQ(ids[100], 4 + 99U * 7 % 36);
}

}  // namespace
}  // namespace textvec
