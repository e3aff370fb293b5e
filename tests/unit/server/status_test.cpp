// The one table from errors to replies.
#include "server/status.h"

#include <gtest/gtest.h>

#include "model/json.h"

namespace textvec::server {
namespace {

model::Json parsed(const Reply& reply) {
  auto json = model::parse_json(reply.body, "reply");
  EXPECT_TRUE(json) << reply.body;
  return json ? *json : model::Json();
}

std::string text_at(const model::Json& json, std::string_view key) {
  const model::Json* found = json.find(key);
  return found != nullptr && found->is(model::Json::Kind::String) ? found->string() : "";
}

// Internal is the last one.
constexpr int kCodes = static_cast<int>(ErrorCode::Internal) + 1;

TEST(Status, EveryCodeHasARow) {
  for (int i = 0; i < kCodes; ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(row_of(code).code, code) << to_string(code);
    EXPECT_GE(row_of(code).status, 400U);
    EXPECT_GE(row_of(code).tei_status, 400U);
  }
  EXPECT_EQ(to_string(static_cast<ErrorCode>(kCodes)), "unknown");  // none behind it
}

TEST(Status, SpeaksEveryDialect) {
  const Problem problem{
      {ErrorCode::InputTooLong, "text of 600 tokens; the model takes 512", 3}, "input", {}};
  const Reply openai = problem_reply(Dialect::OpenAi, problem);
  EXPECT_EQ(openai.status, 400U);
  const model::Json json = parsed(openai);
  const model::Json* error = json.find("error");
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(text_at(*error, "message"), "input[3]: text of 600 tokens; the model takes 512");
  EXPECT_EQ(text_at(*error, "type"), "invalid_request_error");
  EXPECT_EQ(text_at(*error, "param"), "input[3]");
  EXPECT_EQ(text_at(*error, "code"), "context_length_exceeded");

  const Reply tei = problem_reply(Dialect::Tei, problem);
  EXPECT_EQ(tei.status, 422U);
  EXPECT_EQ(text_at(parsed(tei), "error"), text_at(*error, "message"));
  EXPECT_EQ(text_at(parsed(tei), "error_type"), "validation");

  const Reply ollama = problem_reply(Dialect::Ollama, problem);
  EXPECT_EQ(ollama.status, 400U);
  EXPECT_EQ(text_at(parsed(ollama), "error"), text_at(*error, "message"));
}

// Whatever a file's name or a runtime says stays in the log.
TEST(Status, KeepsSecrets) {
  const std::string secret = "/srv/models/secret/model.onnx";
  for (int i = 0; i < kCodes; ++i) {
    const auto code = static_cast<ErrorCode>(i);
    for (const Dialect dialect : {Dialect::OpenAi, Dialect::Tei, Dialect::Ollama}) {
      const Reply reply = problem_reply(dialect, {{code, secret}, {}, {}});
      EXPECT_NE(reply.note.find(secret), std::string::npos);
      const bool shown = reply.body.find(secret) != std::string::npos;
      EXPECT_EQ(shown, row_of(code).is_public) << to_string(code);
    }
  }
  for (const ErrorCode code : {ErrorCode::BadModel, ErrorCode::Provider, ErrorCode::Internal}) {
    EXPECT_FALSE(row_of(code).is_public);
  }
}

TEST(Status, AsksForPatienceWhereTryingAgainHelps) {
  const auto has = [](const Reply& reply, std::string_view name) {
    for (const auto& [field, value] : reply.fields) {
      if (field == name) return true;
    }
    return false;
  };
  EXPECT_TRUE(
      has(problem_reply(Dialect::Tei, {{ErrorCode::Overloaded, "full"}, {}, {}}), "retry-after"));
  EXPECT_FALSE(has(problem_reply(Dialect::Tei, {{ErrorCode::InvalidArgument, "no"}, {}, {}}),
                   "retry-after"));
  const Reply busy = busy_reply(Dialect::OpenAi, {"full", std::chrono::seconds(7)});
  EXPECT_EQ(busy.status, 429U);
  ASSERT_EQ(busy.fields.size(), 1U);
  EXPECT_EQ(busy.fields[0].second, "7");
  EXPECT_TRUE(has(refusal_reply(Dialect::Tei, 401, "no"), "www-authenticate"));
}

TEST(Status, TellsEmptyAndDamagedBodiesApart) {
  const Problem empty{{ErrorCode::InvalidArgument, "is an empty list"}, "inputs", Fault::Empty};
  EXPECT_EQ(problem_reply(Dialect::Tei, empty).status, 400U);
  EXPECT_EQ(text_at(parsed(problem_reply(Dialect::Tei, empty)), "error_type"), "empty");
  const Problem damaged{{ErrorCode::InvalidArgument, "no JSON"}, {}, Fault::BadJson};
  EXPECT_EQ(problem_reply(Dialect::Tei, damaged).status, 400U);
  const Problem bytes{{ErrorCode::InvalidArgument, "no UTF-8"}, {}, Fault::BadUtf8};
  EXPECT_EQ(problem_reply(Dialect::Tei, bytes).status, 422U);
  const model::Json json = parsed(problem_reply(Dialect::OpenAi, bytes));
  EXPECT_EQ(text_at(*json.find("error"), "code"), "invalid_utf8");
}

TEST(Status, KnowsTheDialectOfAPath) {
  EXPECT_EQ(dialect_of("/v1/embeddings"), Dialect::OpenAi);
  EXPECT_EQ(dialect_of("/embeddings"), Dialect::OpenAi);
  EXPECT_EQ(dialect_of("/api/embed"), Dialect::Ollama);
  EXPECT_EQ(dialect_of("/embed"), Dialect::Tei);
  EXPECT_EQ(dialect_of(""), Dialect::Tei);
}

}  // namespace
}  // namespace textvec::server
