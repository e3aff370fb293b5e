// What OpenAI's, TEI's and Ollama's bodies ask for, and replies in their words.
#include "server/dialects.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>

#include "model/json.h"

namespace textvec::server {
namespace {

Served served() {
  Served served;
  served.info.dimension = 8;
  served.info.tokens_max = 16;
  served.info.prompts = {{"query", "q: "}, {"passage", "p: "}};
  served.name = "owner/name";
  served.aliases = {"other"};
  served.texts_max = 4;
  return served;
}

template <class Read>
std::string problem_of(Read read, const std::string& json) {
  Body body(json);
  read(body, served());
  if (!body.problem()) return {};
  return body.problem()->field + ": " + body.problem()->error.message;
}

EmbedRequest openai(const std::string& json) {
  Body body(json);
  EmbedRequest request = read_openai_embed(body, served());
  EXPECT_FALSE(body.problem()) << body.problem()->error.message;
  return request;
}

EmbedRequest tei(const std::string& json) {
  Body body(json);
  EmbedRequest request = read_tei_embed(body, served());
  EXPECT_FALSE(body.problem()) << body.problem()->error.message;
  return request;
}

TEST(OpenAi, DefaultsToFloatsCutOffOnTheRight) {
  const EmbedRequest request = openai(R"({"input":"a","model":"owner/name","user":"u"})");
  EXPECT_FALSE(request.base64);
  EXPECT_TRUE(request.options.normalize);
  EXPECT_EQ(request.options.too_long, TooLong::Truncate);
  EXPECT_EQ(request.options.truncation_side, TruncationSide::Right);
  EXPECT_EQ(request.options.role, Role::Unspecified);
  EXPECT_FALSE(request.options.dimensions);
}

TEST(OpenAi, TakesEveryMember) {
  const EmbedRequest request = openai(
      R"({"input":["a"],"model":"other","encoding_format":"base64","dimensions":4,
          "prompt_name":"passage","truncate":false,"truncation_direction":"Left","normalize":false})");
  EXPECT_TRUE(request.base64);
  EXPECT_EQ(request.options.dimensions, 4U);
  EXPECT_EQ(request.options.prompt, "passage");
  EXPECT_EQ(request.options.too_long, TooLong::Refuse);
  EXPECT_EQ(request.options.truncation_side, TruncationSide::Left);
  EXPECT_FALSE(request.options.normalize);
}

TEST(OpenAi, InputTypesAreRoles) {
  const auto role = [](const std::string& type) {
    return openai(R"({"input":"a","input_type":")" + type + "\"}").options.role;
  };
  EXPECT_EQ(role("query"), Role::Query);
  EXPECT_EQ(role("search_query"), Role::Query);
  EXPECT_EQ(role("document"), Role::Document);
  EXPECT_EQ(role("search_document"), Role::Document);
  EXPECT_EQ(role("passage"), Role::Document);
  const EmbedRequest task = openai(R"({"input":"a","input_type":"query","instruction":"find"})");
  EXPECT_EQ(task.options.instruction, "find");
}

TEST(OpenAi, NamesWhatIsWrong) {
  const auto problem = [](const std::string& members) {
    return problem_of(read_openai_embed, R"({"input":"a",)" + members + "}");
  };
  EXPECT_EQ(problem(R"("encoding_format":"hex")"),
            "encoding_format: is \"hex\"; it takes one of float, base64");
  EXPECT_EQ(problem(R"("dimensions":0)"), "dimensions: is 0; it takes 1 to 8");
  EXPECT_EQ(problem(R"("dimensions":8)"), "");
  EXPECT_EQ(problem(R"("dimensions":9)"), "dimensions: is 9; it takes 1 to 8");
  EXPECT_EQ(problem(R"("prompt_name":"x")"),
            "prompt_name: names no prompt of the model; it has passage, query");
  EXPECT_EQ(problem(R"("truncation_direction":"up")").find("truncation_direction: "), 0U);
  EXPECT_EQ(problem(R"("input_type":"x")").find("input_type: "), 0U);
  EXPECT_EQ(problem(R"("user":[])"), "user: is an array; it takes a string");
  EXPECT_NE(problem(R"("prompt_name":"query","input_type":"query")"), "");
  EXPECT_NE(problem(R"("instruction":"a","input_type":"document")"), "");
  EXPECT_NE(problem(R"("instruction":"a","prompt_name":"query")"), "");
  EXPECT_EQ(problem_of(read_openai_embed, R"({"input":""})"), "input: is an empty text");
  EXPECT_EQ(problem_of(read_openai_embed, R"({"input":["a",""]})"), "input[1]: is an empty text");
  EXPECT_EQ(problem_of(read_openai_embed, R"({"input":" "})"), "");
}

TEST(OpenAi, AnswersToNamesAndAliases) {
  Served any = served();
  EXPECT_TRUE(any.answers_to("owner/name"));
  EXPECT_TRUE(any.answers_to("other"));
  EXPECT_FALSE(any.answers_to("name"));
  any.aliases = {"*"};
  EXPECT_TRUE(any.answers_to("../../etc/passwd"));
}

TEST(Tei, TakesEveryMember) {
  const EmbedRequest request = tei(
      R"({"inputs":[1,2],"truncate":false,"truncation_direction":"left","normalize":false,"dimensions":2})");
  EXPECT_EQ(request.inputs.ids.size(), 1U);
  EXPECT_EQ(request.options.too_long, TooLong::Refuse);
  EXPECT_EQ(request.options.truncation_side, TruncationSide::Left);
  EXPECT_FALSE(request.options.normalize);
  EXPECT_EQ(request.options.dimensions, 2U);
  EXPECT_TRUE(tei(R"({"inputs":"a"})").options.normalize);
  EXPECT_EQ(problem_of(read_tei_embed, R"({"input":"a"})"), "inputs: is missing");
  EXPECT_EQ(problem_of(read_tei_embed, R"({"inputs":["a","b","c","d"]})"), "");
  EXPECT_EQ(problem_of(read_tei_embed, R"({"inputs":["a","b","c","d","e"]})"),
            "inputs: has 5 texts; a request takes 4");
}

TEST(Tei, SimilarityPutsTheSourceFirst) {
  Body body(
      R"({"inputs":{"source_sentence":"a","sentences":["b","c","d"]},"parameters":{"prompt_name":"query"}})");
  const EmbedRequest request = read_similarity(body, served());
  EXPECT_FALSE(body.problem());
  EXPECT_EQ(request.inputs.texts, (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(request.options.prompt, "query");
  const auto problem = [](const std::string& json) { return problem_of(read_similarity, json); };
  EXPECT_EQ(problem("{}"), "inputs: is missing");
  EXPECT_EQ(problem(R"({"inputs":[]})"), "inputs: is an array; it takes an object");
  EXPECT_EQ(problem(R"({"inputs":{"sentences":["b"]}})"), "inputs.source_sentence: is missing");
  EXPECT_EQ(problem(R"({"inputs":{"source_sentence":"a"}})"), "inputs.sentences: is missing");
  EXPECT_EQ(problem(R"({"inputs":{"source_sentence":"a","sentences":"b"}})"),
            "inputs.sentences: is a string; it takes an array");
  EXPECT_EQ(problem(R"({"inputs":{"source_sentence":"a","sentences":[1]}})"),
            "inputs.sentences[0]: is an integer; it takes a string");
  EXPECT_EQ(problem(R"({"inputs":{"source_sentence":"","sentences":["b"]}})"),
            "inputs.source_sentence: is an empty text");
  EXPECT_EQ(problem(R"({"inputs":{"source_sentence":"a","sentences":["b"]},"parameters":7})"),
            "parameters: is an integer; it takes an object");
}

TEST(Tei, TokenizeAndDecode) {
  Body body(R"({"inputs":["a"],"add_special_tokens":false})");
  EXPECT_FALSE(read_tokenize(body, served()).special_tokens);
  Body ids(R"({"ids":[[1],[2]]})");
  EXPECT_EQ(read_decode(ids, served()).ids.size(), 2U);
  EXPECT_EQ(problem_of(read_decode, R"({"ids":["a"]})"), "ids: takes token ids, not strings");
}

TEST(Ollama, IgnoresWhatIsOllamasOwn) {
  EXPECT_EQ(problem_of(read_ollama_embed, R"({"input":"a","options":{},"keep_alive":"5m"})"), "");
}

Embeddings two_rows() {
  Embeddings embeddings;
  embeddings.dimension = 2;
  embeddings.values = {0.5F, -1.0F, 0.1F, 1e-20F};
  embeddings.tokens = {3, 4};
  embeddings.truncated = {0, 1};
  return embeddings;
}

TEST(Replies, AreJsonInTheirDialect) {
  EmbedRequest request;
  EXPECT_EQ(openai_embeddings(request, two_rows(), served()),
            "{\"object\":\"list\",\"data\":["
            "{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-1]},"
            "{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.1,1e-20],\"truncated\":true}],"
            "\"model\":\"owner/name\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}");
  EXPECT_EQ(tei_embeddings(two_rows()), "[[0.5,-1],[0.1,1e-20]]");
  EXPECT_EQ(similarities(two_rows()), "[0.05]");
  EXPECT_EQ(ollama_embeddings(two_rows(), served(), std::chrono::nanoseconds(5)),
            "{\"model\":\"owner/name\",\"embeddings\":[[0.5,-1],[0.1,1e-20]],\"total_duration\":5,"
            "\"load_duration\":0,\"prompt_eval_count\":7}");
}

// RFC 4648, section 10, made of floats.
TEST(Replies, Base64IsLittleEndianFloats) {
  const float foo = std::bit_cast<float>(0x626f6f66U);  // "foob"
  const std::array<float, 2> two{foo, std::bit_cast<float>(0x7a007261U)};
  EXPECT_EQ(base64_of({&foo, 1}), "Zm9vYg==");
  EXPECT_EQ(base64_of(two), "Zm9vYmFyAHo=");
  const std::array<float, 3> three{foo, foo, foo};
  EXPECT_EQ(base64_of(three), "Zm9vYmZvb2Jmb29i");
  EXPECT_EQ(base64_of({}), "");
}

TEST(Replies, TokensStandInCharacters) {
  const std::vector<Token> tokens{{101, "[CLS]", true, true, 0, 0},
                                  {5, "\xc3\xa9", false, false, 0, 2},
                                  {102, "[SEP]", true, false, 3, 8},
                                  {6, "b", false, false, 8, 9},
                                  {102, "[SEP]", true, true, 0, 0}};
  const std::string text = "\xc3\xa9 [SEP]b";
  EXPECT_EQ(tei_tokens(tokens, text, false),
            "[{\"id\":5,\"text\":\"\xc3\xa9\",\"special\":false,\"start\":0,\"stop\":1},"
            "{\"id\":102,\"text\":\"[SEP]\",\"special\":false,\"start\":2,\"stop\":7},"
            "{\"id\":6,\"text\":\"b\",\"special\":false,\"start\":7,\"stop\":8}]");
  EXPECT_EQ(tei_tokens(tokens, text, true).find("[{\"id\":101,\"text\":\"[CLS]\",\"special\":true"),
            0U);
}

TEST(TeiReply, OfTokensIsAListATextAndNeverLargerThanForeseen) {
  TokenVectors vectors;
  vectors.dimension = 2;
  vectors.tokens = {2, 1};
  vectors.values = {1, 2, 3, 4, -0.5F, 6};
  EXPECT_EQ(tei_token_vectors(vectors), "[[[1,2],[3,4]],[[-0.5,6]]]");
  // The longest numbers there are, each a text of one token.
  const float smallest = std::bit_cast<float>(0x80000001U);
  for (const float value : {-1.1754944e-38F, smallest, -3.4028235e38F, -1.00000001e-5F}) {
    vectors.tokens.assign(50, 1);
    vectors.values.assign(100, value);
    EXPECT_LE(tei_token_vectors(vectors).size(), token_vectors_bytes(50, 2)) << value;
  }
  vectors.tokens.clear();
  vectors.values.clear();
  EXPECT_EQ(tei_token_vectors(vectors), "[]");
}

}  // namespace
}  // namespace textvec::server
