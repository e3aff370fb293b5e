// In: any bytes, as a request's head, in pieces, and as the body of every dialect. Property: heads
// are the same however they are cut, and hold what head.h promises; a body that is taken holds
// texts in UTF-8 and within the limits, and one that is not has a problem with a reply in JSON.
#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz/bytes.h"
#include "fuzz/check.h"
#include "fuzz/utf8.h"
#include "model/json.h"
#include "server/dialects.h"
#include "server/head.h"
#include "server/status.h"
#include "server/trace_context.h"

namespace textvec::fuzz {
namespace {

using server::Body;
using server::Head;
using server::HeadReader;

const server::Limits kLimits{};

server::Served served() {
  server::Served served;
  served.info.dimension = 8;
  served.info.tokens_max = 16;
  served.info.prompts = {{"query", "q: "}};
  served.name = "owner/name";
  served.texts_max = 4;
  return served;
}

void check_framing(const Head& head) {
  server::Framing framing;
  const auto refusal = server::read_framing(head, kLimits, framing);
  if (refusal) {
    check(refusal->status >= 400 && !refusal->message.empty(), "a refusal says why");
    return;
  }
  check(head.count("content-length") + head.count("transfer-encoding") <= 1,
        "a body has one length");
  check(!(framing.chunked && framing.content_length), "a body has one length");
  check(framing.content_length.value_or(0) <= kLimits.body_bytes_max, "a body has a limit");
  check(head.count("host") == 1 || head.minor == 0, "a request has one host");
}

void check_trace(const Head& head) {
  const auto context = server::read_trace_context(head);
  if (!context) return;
  constexpr std::string_view kDigits = "0123456789abcdef";
  check(context->trace_id.size() == 32 && context->parent_id.size() == 16, "ids have a length");
  check(context->trace_id.find_first_not_of(kDigits) == std::string::npos, "ids are hexadecimal");
  check(context->parent_id.find_first_not_of(kDigits) == std::string::npos, "ids are hexadecimal");
  check(context->state.size() <= 512, "a state has a limit");
}

void check_head(std::string_view bytes, std::size_t step) {
  HeadReader whole(kLimits);
  const auto state = whole.read(bytes);
  HeadReader pieces(kLimits);
  auto piece_state = HeadReader::State::More;
  for (std::size_t end = 0; piece_state == HeadReader::State::More && end < bytes.size();) {
    end = std::min(end + step, bytes.size());
    piece_state = pieces.read(bytes.substr(0, end));
  }
  check(state == piece_state, "a head is the same in pieces");
  if (state == HeadReader::State::Bad) {
    check(whole.refusal().status == pieces.refusal().status, "a refusal is the same in pieces");
    check(whole.refusal().status >= 400, "a refusal has a status");
  }
  if (state == HeadReader::State::More) {
    check(bytes.size() <= kLimits.head_bytes_max, "a head has a limit");
  }
  if (state != HeadReader::State::Done) return;
  check(whole.bytes() == pieces.bytes() && whole.bytes() <= bytes.size(), "a head ends once");
  check(bytes.substr(0, whole.bytes()).ends_with("\r\n\r\n"), "a head ends with an empty line");
  check(bytes.find("\r\n\r\n") + 4 == whole.bytes(), "a head ends with the first empty line");
  const Head& head = whole.head();
  check(head.fields.size() <= kLimits.fields_max, "the fields have a limit");
  check(head.target.starts_with('/') || head.target == "*", "a target is a path");
  for (const server::Field& field : head.fields) {
    check(!field.name.empty() && field.value.find_first_of("\r\n") == std::string::npos,
          "a field is one line");
  }
  check_framing(head);
  check_trace(head);
}

void check_inputs(const server::Inputs& inputs) {
  check(inputs.size() >= 1 && inputs.size() <= served().texts_max, "texts have a limit");
  check(inputs.texts.empty() || inputs.ids.empty(), "inputs are texts or ids");
  for (const std::string& text : inputs.texts) check(is_utf8(text), "a text is UTF-8");
  for (const auto& ids : inputs.ids) check(!ids.empty(), "a list of ids has some");
}

void check_problem(const Body& body) {
  for (const auto dialect :
       {server::Dialect::OpenAi, server::Dialect::Tei, server::Dialect::Ollama}) {
    const server::Reply reply = server::problem_reply(dialect, *body.problem());
    check(reply.status >= 400 && reply.status < 500, "a bad body is the client's mistake");
    check(model::parse_json(reply.body, "reply").has_value(), "a reply is JSON");
    check(reply.body.size() < 4096, "a reply to a bad body has a limit");
  }
}

template <class Read>
void check_body(std::string_view text, Read read) {
  Body body(text);
  const auto request = read(body, served());
  if (body.problem()) return check_problem(body);
  check_inputs(request.inputs);
}

void check_bodies(std::string_view text) {
  check_body(text, server::read_openai_embed);
  check_body(text, server::read_tei_embed);
  check_body(text, server::read_similarity);
  check_body(text, server::read_ollama_embed);
  Body tokenize(text);
  const auto texts = server::read_tokenize(tokenize, served());
  if (tokenize.problem()) {
    check_problem(tokenize);
  } else {
    check(!texts.texts.empty(), "there is a text to tokenize");
  }
  Body decode(text);
  const auto ids = server::read_decode(decode, served());
  if (decode.problem()) {
    check_problem(decode);
  } else {
    check(!ids.ids.empty(), "there are ids to decode");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_head(text, size == 0 ? 1 : 1 + data[size - 1] % 64);
  check_bodies(text);
  return 0;
}

}  // namespace textvec::fuzz
