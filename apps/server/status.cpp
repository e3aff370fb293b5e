// In: an error. Out: a reply. See status.h.
#include "server/status.h"

#include <array>

#include "cli/json_object.h"

namespace textvec::server {
namespace {

using cli::JsonObject;

constexpr std::string_view kCaller = "invalid_request_error";
constexpr std::string_view kServer = "server_error";

// TEI: 424 for what its back end said, 422 for what it would not take. A text that always fails
// gets a 4xx, because clients try again after a 5xx.
constexpr std::array<Row, 11> kRows{{
    {ErrorCode::InvalidArgument, 400, kCaller, "invalid_argument", 422, "validation", "validation",
     true},
    {ErrorCode::InputTooLong, 400, kCaller, "context_length_exceeded", 422, "validation",
     "validation", true},
    {ErrorCode::NotFound, 404, kCaller, "model_not_found", 404, "validation", "validation", true},
    {ErrorCode::BadModel, 500, kServer, "bad_model", 424, "backend", "inference", false},
    {ErrorCode::Unsupported, 400, kCaller, "unsupported", 424, "backend", "model_type", true},
    {ErrorCode::Overloaded, 429, "rate_limit_error", "overloaded", 429, "overloaded", "overloaded",
     true},
    {ErrorCode::TimedOut, 504, kServer, "timed_out", 504, "backend", "timeout", true},
    {ErrorCode::Cancelled, 503, kServer, "shutting_down", 503, "unhealthy", "dropped", true},
    {ErrorCode::NonFinite, 422, kCaller, "non_finite", 424, "backend", "inference", true},
    {ErrorCode::Provider, 500, kServer, "provider", 424, "backend", "inference", false},
    {ErrorCode::Internal, 500, kServer, "internal", 424, "backend", "inference", false},
}};

constexpr std::string_view kSecret =
    "the server failed; its log has the reason under this reply's x-request-id";

std::string openai_body(std::string_view message, std::string_view type, std::string_view param,
                        std::string_view code) {
  JsonObject error;
  error.string("message", message).string("type", type);
  if (param.empty()) {
    error.json("param", "null");
  } else {
    error.string("param", param);
  }
  if (code.empty()) {
    error.json("code", "null");
  } else {
    error.string("code", code);
  }
  JsonObject body;
  return body.json("error", error.text()).text();
}

std::string tei_body(std::string_view message, std::string_view type) {
  JsonObject body;
  return body.string("error", message).string("error_type", type).text();
}

std::string ollama_body(std::string_view message) {
  JsonObject body;
  return body.string("error", message).text();
}

// TEI's word for a status that no ErrorCode has.
std::string_view tei_type_of(unsigned status) {
  if (status == 429) return "overloaded";
  if (status == 503) return "unhealthy";
  if (status == 424) return "backend";
  return "validation";
}

std::string_view openai_code_of(unsigned status) {
  switch (status) {
    case 401:
      return "invalid_api_key";
    case 404:
      return "unknown_url";
    case 405:
      return "method_not_allowed";
    case 408:
      return "timed_out";
    case 413:
      return "body_too_large";
    case 415:
      return "unsupported_media_type";
    case 429:
      return "overloaded";
    case 503:
      return "unavailable";
    default:
      return {};
  }
}

std::string_view openai_code_of(const Problem& problem, const Row& row) {
  switch (problem.fault) {
    case Fault::Plain:
      return row.openai_code;
    case Fault::Empty:
      return "empty_input";
    case Fault::BadJson:
      return "invalid_json";
    case Fault::BadUtf8:
      return "invalid_utf8";
  }
  return row.openai_code;
}

}  // namespace

const Row& row_of(ErrorCode code) noexcept {
  for (const Row& row : kRows) {
    if (row.code == code) return row;
  }
  return kRows.back();
}

Reply problem_reply(Dialect dialect, const Problem& problem) {
  const Row& row = row_of(problem.error.code);
  std::string param = problem.field;
  if (problem.error.text && !param.empty()) {
    param += "[" + std::to_string(*problem.error.text) + "]";
  }
  const std::string note =
      param.empty() ? problem.error.message : param + ": " + problem.error.message;
  const std::string message(row.is_public ? note : std::string(kSecret));
  Reply reply;
  reply.note = note;
  if (row.code == ErrorCode::Overloaded) reply.fields.emplace_back("retry-after", "1");
  if (dialect == Dialect::Tei) {
    reply.status =
        problem.fault == Fault::Empty || problem.fault == Fault::BadJson ? 400 : row.tei_status;
    reply.body = tei_body(message, problem.fault == Fault::Empty ? "empty" : row.tei_type);
    return reply;
  }
  reply.status = row.status;
  reply.body = dialect == Dialect::Ollama
                   ? ollama_body(message)
                   : openai_body(message, row.openai_type, param, openai_code_of(problem, row));
  return reply;
}

Reply refusal_reply(Dialect dialect, unsigned status, std::string_view message) {
  Reply reply;
  reply.status = status;
  reply.note = message;
  if (status == 429 || status == 503) reply.fields.emplace_back("retry-after", "1");
  if (status == 401) reply.fields.emplace_back("www-authenticate", "Bearer");
  if (dialect == Dialect::Tei) {
    reply.body = tei_body(message, tei_type_of(status));
  } else if (dialect == Dialect::Ollama) {
    reply.body = ollama_body(message);
  } else {
    const std::string_view type = status == 401   ? "authentication_error"
                                  : status == 429 ? "rate_limit_error"
                                  : status >= 500 ? kServer
                                                  : kCaller;
    reply.body = openai_body(message, type, {}, openai_code_of(status));
  }
  return reply;
}

Reply busy_reply(Dialect dialect, const Busy& busy) {
  Reply reply = refusal_reply(dialect, 429, busy.message);
  for (auto& [name, value] : reply.fields) {
    if (name == "retry-after") value = std::to_string(busy.retry_after.count());
  }
  return reply;
}

Dialect dialect_of(std::string_view path) noexcept {
  if (path.starts_with("/v1/")) return Dialect::OpenAi;
  if (path.starts_with("/api/")) return Dialect::Ollama;
  if (path == "/embeddings") return Dialect::OpenAi;
  return Dialect::Tei;
}

}  // namespace textvec::server
