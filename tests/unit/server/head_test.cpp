// Heads of requests, whole and in pieces; each limit at n-1, n, n+1.
#include "server/head.h"

#include <gtest/gtest.h>

namespace textvec::server {
namespace {

using State = HeadReader::State;

const Limits kLimits{};

struct Read {
  State state = State::More;
  Head head{};
  Refusal refusal{};
  std::size_t bytes = 0;
};

Read read_with(const Limits& limits, const std::string& text) {
  HeadReader reader(limits);
  const State state = reader.read(text);
  return {state, reader.head(), reader.refusal(), reader.bytes()};
}

Read read(const std::string& text) { return read_with(kLimits, text); }

// The status of the refusal; 0: none; 1: more is needed.
unsigned status_of(const std::string& text) {
  const Read result = read(text);
  if (result.state == State::Done) return 0;
  return result.state == State::More ? 1 : result.refusal.status;
}

TEST(HeadReader, TakesAHeadApart) {
  const Read result =
      read("POST /v1/embeddings?a=b HTTP/1.1\r\nHost: a\r\nX-Two:\t b \r\n\r\nbody");
  ASSERT_EQ(result.state, State::Done);
  EXPECT_EQ(result.head.method, "POST");
  EXPECT_EQ(result.head.target, "/v1/embeddings?a=b");
  EXPECT_EQ(result.head.path(), "/v1/embeddings");
  EXPECT_EQ(result.head.minor, 1U);
  ASSERT_EQ(result.head.fields.size(), 2U);
  EXPECT_EQ(result.head.fields[1].name, "x-two");
  EXPECT_EQ(result.head.fields[1].value, "b");
  EXPECT_EQ(
      result.bytes,
      std::string("POST /v1/embeddings?a=b HTTP/1.1\r\nHost: a\r\nX-Two:\t b \r\n\r\n").size());
}

TEST(HeadReader, IsTheSameInPieces) {
  const std::string text = "GET /livez HTTP/1.0\r\nHost: a\r\nAccept: */*\r\n\r\nGET";
  const Read whole = read(text);
  ASSERT_EQ(whole.state, State::Done);
  HeadReader reader(kLimits);
  State state = State::More;
  std::size_t arrived = 0;
  while (state == State::More && arrived < text.size())
    state = reader.read(text.substr(0, ++arrived));
  EXPECT_EQ(state, State::Done);
  EXPECT_EQ(arrived, whole.bytes);
  EXPECT_EQ(reader.bytes(), whole.bytes);
  EXPECT_EQ(reader.head().fields.size(), 2U);
  EXPECT_EQ(reader.head().minor, 0U);
}

TEST(HeadReader, RefusesWhatAnotherReaderMightReadOtherwise) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400U);  // bare line feed
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400U);  // bare return
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n"), 400U);  // folded
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400U);  // blank before the colon
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n: a\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHo(st: a\r\n\r\n"), 400U);
  EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 28)), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n"), 0U);
}

TEST(HeadReader, RefusesRequestLinesThatAreNone) {
  EXPECT_EQ(status_of("GET /\r\n\r\n"), 400U);  // HTTP/0.9
  EXPECT_EQ(status_of("GET  / HTTP/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.1 \r\n\r\n"), 400U);
  EXPECT_EQ(status_of("G(T / HTTP/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of(" / HTTP/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET x HTTP/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET /\xc3\xa4 HTTP/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / http/1.1\r\n\r\n"), 400U);
  EXPECT_EQ(status_of("GET / HTTP/1.2\r\n\r\n"), 505U);
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\n"), 505U);
  EXPECT_EQ(status_of("\x16\x03\x01\x02"), 400U);  // TLS on a plain port, seen at once
}

TEST(HeadReader, ReadsTheFormThatProxiesAreAsked) {
  EXPECT_EQ(read("GET http://a:1/livez?b HTTP/1.1\r\n\r\n").head.target, "/livez?b");
  EXPECT_EQ(read("GET HTTPS://a HTTP/1.1\r\n\r\n").head.target, "/");
  EXPECT_EQ(read("OPTIONS * HTTP/1.1\r\n\r\n").head.target, "*");
}

TEST(HeadReader, LimitsTheTarget) {
  const auto status = [](std::size_t bytes) {
    return status_of("GET /" + std::string(bytes - 1, 'a') + " HTTP/1.1\r\n\r\n");
  };
  EXPECT_EQ(status(kLimits.target_bytes_max - 1), 0U);
  EXPECT_EQ(status(kLimits.target_bytes_max), 0U);
  EXPECT_EQ(status(kLimits.target_bytes_max + 1), 414U);
  EXPECT_EQ(status(65536), 414U);
}

TEST(HeadReader, LimitsALine) {
  const auto status = [](std::size_t bytes) {  // with CR LF
    return status_of("GET / HTTP/1.1\r\na: " + std::string(bytes - 5, 'b') + "\r\n\r\n");
  };
  EXPECT_EQ(status(kLimits.line_bytes_max - 1), 0U);
  EXPECT_EQ(status(kLimits.line_bytes_max), 0U);
  EXPECT_EQ(status(kLimits.line_bytes_max + 1), 431U);
  // Before its end has come.
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\na: " + std::string(kLimits.line_bytes_max, 'b')), 431U);
}

TEST(HeadReader, LimitsTheFields) {
  const auto status = [](std::size_t count) {
    std::string text = "GET / HTTP/1.1\r\n";
    for (std::size_t i = 0; i < count; ++i) text += "a: b\r\n";
    return status_of(text + "\r\n");
  };
  EXPECT_EQ(status(kLimits.fields_max - 1), 0U);
  EXPECT_EQ(status(kLimits.fields_max), 0U);
  EXPECT_EQ(status(kLimits.fields_max + 1), 431U);
}

TEST(HeadReader, LimitsTheWholeHead) {
  Limits limits;
  const auto status = [&limits](std::size_t bytes) {
    const std::string start = "GET / HTTP/1.1\r\n";
    limits.head_bytes_max = 1000;
    const Read result =
        read_with(limits, start + "a: " + std::string(bytes - start.size() - 7, 'b') + "\r\n\r\n");
    return result.state == State::Done ? 0 : result.refusal.status;
  };
  EXPECT_EQ(status(999), 0U);
  EXPECT_EQ(status(1000), 0U);
  EXPECT_EQ(status(1001), 431U);
}

// The refusal's status, or 0 and the framing.
unsigned framing_of(const std::string& fields, Framing& framing, const std::string& version = "1.1",
                    const Limits& limits = kLimits) {
  const Read result = read("POST / HTTP/" + version + "\r\n" + fields + "\r\n");
  EXPECT_EQ(result.state, State::Done);
  const auto refusal = read_framing(result.head, limits, framing);
  return refusal ? refusal->status : 0;
}

unsigned framing_of(const std::string& fields, const std::string& version = "1.1") {
  Framing framing;
  return framing_of(fields, framing, version);
}

TEST(Framing, TakesOneLength) {
  Framing framing;
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 12\r\n", framing), 0U);
  EXPECT_EQ(framing.content_length, 12U);
  EXPECT_TRUE(framing.has_body());
  EXPECT_EQ(framing_of("Host: a\r\nTransfer-Encoding: Chunked\r\n"), 0U);
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400U);
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n"), 400U);
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n"), 400U);
  for (const std::string length :
       {"5, 5", "+5", "-1", "0x5", "5 5", "", "1.0", "1e1", "18446744073709551616"}) {
    EXPECT_EQ(framing_of("Host: a\r\nContent-Length: " + length + "\r\n"), 400U) << length;
  }
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 18446744073709551615\r\n"), 413U);
}

TEST(Framing, KnowsChunkedAndNoOtherEncoding) {
  for (const std::string encoding : {"xchunked", "chunked, identity", "gzip", "gzip, chunked",
                                     "identity", "\"chunked\"", "chunked;a=b", ""}) {
    EXPECT_EQ(framing_of("Host: a\r\nTransfer-Encoding: " + encoding + "\r\n"), 501U) << encoding;
  }
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  EXPECT_EQ(framing_of("Host: a\r\n" + chunked + chunked), 400U);
  EXPECT_EQ(framing_of("Host: a\r\n" + chunked, "1.0"), 400U);
}

TEST(Framing, LimitsTheBody) {
  Limits limits;
  limits.body_bytes_max = 100;
  Framing framing;
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 99\r\n", framing, "1.1", limits), 0U);
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 100\r\n", framing, "1.1", limits), 0U);
  EXPECT_EQ(framing_of("Host: a\r\nContent-Length: 101\r\n", framing, "1.1", limits), 413U);
}

TEST(Framing, WantsOneHost) {
  EXPECT_EQ(framing_of(""), 400U);
  EXPECT_EQ(framing_of("", "1.0"), 0U);
  EXPECT_EQ(framing_of("Host: a\r\nHost: a\r\n"), 400U);
  EXPECT_EQ(framing_of("Host: a\r\nHost: a\r\n", "1.0"), 400U);
  EXPECT_EQ(framing_of("Host: a/b\r\n"), 400U);
  EXPECT_EQ(framing_of("Host: a b\r\n"), 400U);
  EXPECT_EQ(framing_of("Host: [::1]:8080\r\n"), 0U);
  EXPECT_EQ(framing_of("Host:\r\n"), 0U);
}

TEST(Framing, MeetsOneExpectation) {
  Framing framing;
  EXPECT_EQ(framing_of("Host: a\r\nExpect: 100-Continue\r\n", framing), 0U);
  EXPECT_TRUE(framing.expect_continue);
  EXPECT_EQ(framing_of("Host: a\r\nExpect: tea\r\n"), 417U);
  EXPECT_EQ(framing_of("Host: a\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n"), 417U);
}

TEST(Framing, KeepsConnectionsAsTheVersionSays) {
  const auto keeps = [](const std::string& fields, const std::string& version) {
    Framing framing;
    EXPECT_EQ(framing_of("Host: a\r\n" + fields, framing, version), 0U);
    return framing.keep_alive;
  };
  EXPECT_TRUE(keeps("", "1.1"));
  EXPECT_FALSE(keeps("", "1.0"));
  EXPECT_FALSE(keeps("Connection: upgrade, Close\r\n", "1.1"));
  EXPECT_TRUE(keeps("Connection: Keep-Alive\r\n", "1.0"));
  EXPECT_FALSE(keeps("Connection: keep-alive\r\nConnection: close\r\n", "1.0"));
  EXPECT_TRUE(keeps("Connection: closed\r\n", "1.1"));
}

}  // namespace
}  // namespace textvec::server
