// What spans say of a request, in which order, and how OTLP writes them; the URL of a collector.
#include "server/span.h"

#include <gtest/gtest.h>

#include <map>

#include "server/otlp.h"

namespace textvec::server {
namespace {

using namespace std::chrono_literals;

std::map<std::string, std::string> attributes_of(const Span& span) {
  std::map<std::string, std::string> all;
  for (const auto& [key, value] : span.attributes) {
    const auto* text = std::get_if<std::string>(&value);
    all[std::string(key)] = text ? *text : std::to_string(std::get<std::int64_t>(value));
  }
  return all;
}

const TraceContext kCaller{"0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "a=1", true};

struct Request {
  Reply reply{};
  Answered answered{};
  Now now{};

  Request() {
    reply.texts = 2;
    reply.tokens = 7;
    reply.model = "tiny";
    answered.method = "POST";
    answered.path = "/embed";
    answered.route = "/embed";
    answered.host = "models.test:8080";
    answered.peer = "127.0.0.1:50000";
    answered.request_id = "id";
    answered.begun = now.steady - 100ms;
    answered.reply = &reply;
  }
  std::vector<Span> spans() const { return spans_of(kCaller, answered, now); }
};

TEST(Spans, OfARequestWithTexts) {
  Request request;
  request.reply.stages = Stages{request.now.steady - 90ms, {10ms, 20ms, 30ms}};
  const auto spans = request.spans();
  ASSERT_EQ(spans.size(), 4U);
  const Span& whole = spans[0];
  EXPECT_EQ(whole.name, "POST /embed");
  EXPECT_EQ(whole.kind, Span::Kind::Server);
  EXPECT_EQ(whole.parent_id, kCaller.parent_id);
  EXPECT_TRUE(whole.parent_is_remote);
  EXPECT_EQ(whole.state, "a=1");
  EXPECT_EQ(whole.end - whole.begin, 100ms);
  EXPECT_EQ(whole.end, request.now.wall);
  EXPECT_FALSE(whole.failed);
  EXPECT_EQ(attributes_of(whole),
            (std::map<std::string, std::string>{{"http.request.method", "POST"},
                                                {"http.response.status_code", "200"},
                                                {"http.route", "/embed"},
                                                {"url.scheme", "http"},
                                                {"url.path", "/embed"},
                                                {"network.protocol.version", "1.1"},
                                                {"client.address", "127.0.0.1"},
                                                {"client.port", "50000"},
                                                {"server.address", "models.test"},
                                                {"server.port", "8080"},
                                                {"textvec.request_id", "id"},
                                                {"textvec.model", "tiny"},
                                                {"textvec.texts", "2"},
                                                {"textvec.tokens", "7"}}));
  auto begin = whole.begin + 10ms;
  const std::vector<std::pair<std::string, std::chrono::milliseconds>> stages{
      {"tokenize", 10ms}, {"queue", 20ms}, {"inference", 30ms}};
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Span& stage = spans[i + 1];
    EXPECT_EQ(stage.name, stages[i].first);
    EXPECT_EQ(stage.kind, Span::Kind::Internal);
    EXPECT_EQ(stage.trace_id, kCaller.trace_id);
    EXPECT_EQ(stage.parent_id, whole.id);
    EXPECT_FALSE(stage.parent_is_remote);
    EXPECT_NE(stage.id, whole.id);
    EXPECT_EQ(stage.begin, begin);
    EXPECT_EQ(stage.end - stage.begin, stages[i].second);
    begin = stage.end;
  }
  EXPECT_LE(begin, whole.end);
}

TEST(Spans, FailureIsOursOrTheCallers) {
  for (const auto& [status, ours] : std::map<unsigned, bool>{{200, false},
                                                             {400, false},
                                                             {422, false},
                                                             {424, true},
                                                             {429, false},
                                                             {500, true},
                                                             {503, true},
                                                             {504, true}}) {
    Request request;
    request.reply.status = status;
    const Span span = request.spans().front();
    EXPECT_EQ(span.failed, ours) << status;
    EXPECT_EQ(attributes_of(span).contains("error.type"), ours) << status;
  }
}

TEST(Spans, WhatAClientInventsMakesNoNewNames) {
  Request request;
  request.answered.method = "BREW";
  request.answered.path = "/nowhere";
  request.answered.route = "";
  const Span strange = request.spans().front();
  EXPECT_EQ(strange.name, "HTTP");
  EXPECT_EQ(attributes_of(strange)["http.request.method"], "_OTHER");
  EXPECT_EQ(attributes_of(strange)["http.request.method_original"], "BREW");
  EXPECT_FALSE(attributes_of(strange).contains("http.route"));
  request.answered.method = "GET";
  EXPECT_EQ(request.spans().front().name, "GET");
  request.answered.path = "/v1/models/mine";
  request.answered.route = "/v1/models/*";
  EXPECT_EQ(request.spans().front().name, "GET /v1/models/{model}");
}

TEST(Spans, HostsAreTakenApart) {
  const std::map<std::string, std::pair<std::string, std::string>> hosts{
      {"a.test", {"a.test", ""}},       {"a.test:80", {"a.test", "80"}},
      {"[::1]:80", {"::1", "80"}},      {"[::1]", {"::1", ""}},
      {"a.test:", {"a.test", ""}},      {"a.test:65536", {"a.test", ""}},
      {"a.test:x", {"a.test", ""}},     {"", {"", ""}},
      {std::string(256, 'a'), {"", ""}}};
  for (const auto& [host, wanted] : hosts) {
    Request request;
    request.answered.host = host;
    auto attributes = attributes_of(request.spans().front());
    EXPECT_EQ(attributes["server.address"], wanted.first) << host;
    EXPECT_EQ(attributes["server.port"], wanted.second) << host;
  }
}

TEST(Otlp, WritesIdsAsHexAndLongNumbersAsStrings) {
  Span span;
  span.trace_id = "0af7651916cd43dd8448eb211c80319c";
  span.id = "00f067aa0ba902b7";
  span.parent_id = "b7ad6b7169203331";
  span.parent_is_remote = true;
  span.state = "a=1";
  span.name = "POST /embed";
  span.kind = Span::Kind::Server;
  span.begin = std::chrono::system_clock::time_point(1s);
  span.end = std::chrono::system_clock::time_point(1500ms);
  span.attributes = {{"a", std::string("b\"\n")}, {"c", std::int64_t{5}}};
  span.failed = true;
  const std::string json = otlp_json("my server", std::vector<Span>{span});
  EXPECT_NE(
      json.find(R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7",)"
                R"("parentSpanId":"b7ad6b7169203331","traceState":"a=1","flags":769,)"
                R"("name":"POST /embed","kind":2,"startTimeUnixNano":"1000000000",)"
                R"("endTimeUnixNano":"1500000000","attributes":[)"
                R"({"key":"a","value":{"stringValue":"b\"\n"}},)"
                R"({"key":"c","value":{"intValue":"5"}}],"status":{"code":2}})"),
      std::string::npos)
      << json;
  EXPECT_EQ(json.find(R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",)"
                      R"("value":{"stringValue":"my server"}})"),
            0U)
      << json;
}

TEST(Otlp, TheOptionComesBeforeTheEnvironment) {
  EXPECT_EQ(otlp_url({}).value(), std::nullopt);
  EXPECT_EQ(otlp_url({"", "", "http://a:4318"}).value(), "http://a:4318/v1/traces");
  EXPECT_EQ(otlp_url({"", "", "http://a:4318/b/"}).value(), "http://a:4318/b/v1/traces");
  EXPECT_EQ(otlp_url({"", "https://t/x?y=z", "http://a"}).value(), "https://t/x?y=z");
  EXPECT_EQ(otlp_url({"http://o/", "http://t", "http://a"}).value(), "http://o/v1/traces");
}

TEST(Otlp, AUrlOfACollectorHasRules) {
  for (const std::string& wrong :
       std::vector<std::string>{"a:4318", "file:///etc/passwd", "ftp://a", "http://", "http:///v1",
                                "http://:80", "http://a b", "http://a\n", "http://a#b",
                                "http://a?b", "http://" + std::string(2048, 'a')}) {
    const auto url = otlp_url({wrong, "", ""});
    ASSERT_FALSE(url) << wrong;
    EXPECT_EQ(url.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(url.error().message.find("--otlp-endpoint "), 0U) << url.error().message;
  }
  const auto secret = otlp_url({"", "", "http://user:secret@a"});
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().message.find("secret"), std::string::npos);
  EXPECT_EQ(secret.error().message.find("OTEL_EXPORTER_OTLP_ENDPOINT "), 0U);
}

}  // namespace
}  // namespace textvec::server
