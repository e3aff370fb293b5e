// In: a listening socket. Out: connections, read and answered. See http.h. Two coroutines a
// connection, on one strand: one reads whatever comes, into a buffer with a limit, and so sees at
// once when the client leaves; the other takes requests out of that buffer, one after the other.
// With TLS the handshake comes before both.
#include "server/http.h"

#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "server/access_log.h"
#include "server/gate.h"
#include "server/head.h"
#include "server/span.h"
#include "server/status.h"
#include "server/trace_context.h"

namespace textvec::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;
using Socket = Protocol::socket;
using Acceptor = asio::basic_socket_acceptor<Protocol>;
using Clock = std::chrono::steady_clock;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// After a last reply the rest of what the client sends is read, or it might lose the reply.
constexpr std::chrono::seconds kLinger{2};
// While draining: for requests that are under way on connections that were idle.
constexpr std::chrono::seconds kDrainIdle{1};
constexpr std::chrono::seconds kGiveUp{2};
constexpr std::chrono::milliseconds kAcceptAgain{100};
constexpr std::size_t kWriteBytesPerSecondMin = 100'000;

// Before anything is read: there is no telling the dialect.
constexpr std::string_view kTurnedAway =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    "Retry-After: 1\r\n\r\n"
    "{\"error\":\"as many connections as may be\",\"error_type\":\"overloaded\"}";

// To whoever speaks HTTP to a port of TLS, as nginx does.
constexpr std::string_view kNoTls =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    "Content-Length: 60\r\n\r\n"
    "{\"error\":\"this port speaks HTTPS\",\"error_type\":\"validation\"}";

// A socket, or TLS on it.
class Stream {
 public:
  using executor_type = Socket::executor_type;
  using Tls = asio::ssl::stream<Socket&>;

  // `tls` is the stream's from now on; nullptr: none.
  Stream(Socket socket, ssl_st* tls) : socket_(std::move(socket)) {
    if (tls != nullptr) tls_.emplace(socket_, tls);
  }

  executor_type get_executor() { return socket_.get_executor(); }
  Socket& socket() noexcept { return socket_; }
  std::optional<Tls>& tls() noexcept { return tls_; }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Token>(token));
    return socket_.async_read_some(buffers, std::forward<Token>(token));
  }
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Token>(token));
    return socket_.async_write_some(buffers, std::forward<Token>(token));
  }

 private:
  Socket socket_;
  std::optional<Tls> tls_{};
};

class Connection;

class Server {
 public:
  Server(Listener listener, Service& service, const ServeOptions& options, const Secrets& secrets)
      : listener_(std::move(listener)), service_(service), options_(options), secrets_(secrets) {
    acceptor_.assign(Protocol(listener_.family(), 0), listener_.release());
  }

  Drained run(unsigned threads, const std::stop_token& stop);

  void add(const std::shared_ptr<Connection>& connection);
  void remove(const Connection* connection);
  std::size_t connections() const;
  bool draining() const noexcept { return draining_; }
  // A request that had arrived gets no reply of its own.
  void lose() noexcept { all_ = false; }

  Service& service() noexcept { return service_; }
  const ServeOptions& options() const noexcept { return options_; }
  const Secrets& secrets() const noexcept { return secrets_; }

 private:
  class Kept;

  void accept_next();
  void accepted(error_code error, Socket socket);
  void accept(Socket socket);
  void run_handlers();
  void drain();
  void give_up();
  std::vector<std::shared_ptr<Connection>> all_connections() const;

  Listener listener_;
  Service& service_;
  const ServeOptions& options_;
  const Secrets& secrets_;
  mutable std::mutex mutex_{};
  std::map<const Connection*, std::weak_ptr<Connection>> connections_{};
  std::atomic<bool> draining_{false};
  std::atomic<bool> all_{true};
  std::atomic<bool> over_{false};
  std::atomic<bool> accepts_none_{false};
  // Last: connections that its end destroys still remove themselves above.
  asio::io_context io_{};
  // Until it drains: the threads stay when for want of memory nobody is accepted for a moment.
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  Acceptor acceptor_{asio::make_strand(io_)};
  asio::steady_timer drain_timer_{acceptor_.get_executor()};
  asio::steady_timer accept_timer_{acceptor_.get_executor()};
};

// A request, from its first byte to the last of its reply.
struct Exchange {
  std::string id{};
  Clock::time_point begun = Clock::now();
  std::string method{};
  std::string path{};
  unsigned minor = 1;
  std::size_t bytes_in = 0;
  std::string origin{};
  std::string_view route{};  // empty: none
  std::string host{};
  std::optional<TraceContext> trace{};
  bool keep_alive = false;
  std::shared_ptr<Admission::Place> place{};
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, Socket socket, ssl_st* tls)
      : server_(server),
        stream_(std::move(socket), tls),
        peer_(peer_of(stream_.socket().native_handle())),
        is_local_(is_local(stream_.socket().native_handle())),
        draining_(server.draining()) {}
  ~Connection() { server_.remove(this); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    if (stream_.tls()) {
      asio::co_spawn(stream_.get_executor(), shake_hands(shared_from_this()), asio::detached);
    } else {
      serve();
    }
  }
  void drain() {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      self->draining_ = true;
      if (self->idle_) self->arm(kDrainIdle);
    });
  }
  void give_up() {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      if (!self->idle_) self->server_.lose();
      self->stop_.request_stop();
      self->arm(kGiveUp);
    });
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  void serve() {
    asio::co_spawn(stream_.get_executor(), read_all(shared_from_this()), asio::detached);
    asio::co_spawn(stream_.get_executor(), answer_all(shared_from_this()), asio::detached);
  }
  static asio::awaitable<void> shake_hands(std::shared_ptr<Connection> self);
  static asio::awaitable<void> read_all(std::shared_ptr<Connection> self);
  static asio::awaitable<void> answer_all(std::shared_ptr<Connection> self);
  // Each says whether the connection lives on.
  asio::awaitable<bool> answer_one();
  asio::awaitable<bool> read_head(HeadReader& reader, Exchange& exchange);
  asio::awaitable<bool> read_body(const Framing& framing, Exchange& exchange, std::string& body);
  asio::awaitable<bool> ask(const Passage& passage, std::string body, Exchange& exchange);
  asio::awaitable<bool> send(Exchange& exchange, Reply reply);
  asio::awaitable<bool> refuse(Exchange& exchange, unsigned status, std::string message);
  asio::awaitable<void> refuse_plain_http();
  asio::awaitable<void> linger();

  const Limits& limits() const noexcept { return server_.options().limits; }
  void take(std::size_t bytes);
  void identify(Exchange& exchange, const Head& head);
  std::optional<Reply> account(std::size_t arrived, std::size_t& counted, Exchange& exchange);
  void log(const Exchange& exchange, const Reply& reply, std::size_t bytes_out);
  void trace(const Exchange& exchange, const Reply& reply);

  // At most one deadline at a time; when it passes, expired_ is true and whoever waits wakes up.
  void arm(std::chrono::milliseconds time);
  void disarm();
  void expire();
  void close();

  Server& server_;
  Stream stream_;
  const std::string peer_;
  const bool is_local_;
  // Timers that never end: cancelling one wakes its waiter.
  asio::steady_timer changed_{stream_.get_executor(), Clock::time_point::max()};
  asio::steady_timer space_{stream_.get_executor(), Clock::time_point::max()};
  asio::steady_timer deadline_{stream_.get_executor()};
  std::uint64_t deadline_number_ = 0;
  std::array<char, 16384> chunk_{};
  std::string input_{};
  bool ended_ = false;  // nothing more comes: the client left
  bool expired_ = false;
  bool writing_ = false;
  bool idle_ = true;
  bool draining_;
  std::stop_source stop_{};
  std::uint64_t asked_ = 0;  // requests that the service was given
  std::optional<Reply> reply_{};
};

void Connection::arm(std::chrono::milliseconds time) {
  expired_ = false;
  const std::uint64_t number = ++deadline_number_;
  deadline_.expires_after(time);
  deadline_.async_wait([self = shared_from_this(), number](error_code error) {
    if (!error && number == self->deadline_number_) self->expire();
  });
}

void Connection::disarm() {
  ++deadline_number_;
  deadline_.cancel();
  expired_ = false;
}

void Connection::expire() {
  expired_ = true;
  if (writing_) close();
  changed_.cancel();
}

void Connection::close() {
  error_code ignored;
  stream_.socket().close(ignored);
  ended_ = true;
  space_.cancel();
  changed_.cancel();
}

// Whatever ends a coroutine, `last` is done: one whose operation finds no memory is destroyed where
// it waits.
template <class Function>
class AtEnd {
 public:
  explicit AtEnd(Function last) : last_(std::move(last)) {}
  ~AtEnd() { last_(); }
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  Function last_;
};

asio::awaitable<void> Connection::read_all(std::shared_ptr<Connection> self) {
  Connection& connection = *self;
  // A client that half-closes is one that leaves, as with nginx.
  const AtEnd end([self] {
    self->ended_ = true;
    self->stop_.request_stop();
    self->changed_.cancel();
  });
  for (;;) {
    while (connection.input_.size() >= connection.limits().pipelined_bytes_max &&
           !connection.ended_) {
      co_await connection.space_.async_wait(kAwait);
    }
    if (connection.ended_) break;
    const auto [error, bytes] =
        co_await connection.stream_.async_read_some(asio::buffer(connection.chunk_), kAwait);
    if (error || bytes == 0) break;
    connection.input_.append(connection.chunk_.data(), bytes);
    connection.changed_.cancel();
  }
}

asio::awaitable<void> Connection::answer_all(std::shared_ptr<Connection> self) {
  const AtEnd end([self] {
    self->disarm();
    self->close();
  });
  try {
    bool more = true;
    while (more) more = co_await self->answer_one();
    co_await self->linger();
  } catch (const std::exception& exception) {  // no memory
    write_line(std::string("textvec: a connection failed: ") + exception.what() + "\n");
  }
}

asio::awaitable<void> Connection::shake_hands(std::shared_ptr<Connection> self) {
  try {
    self->arm(self->limits().head_max);
    self->writing_ = true;  // a deadline closes the socket
    const auto [error] =
        co_await self->stream_.tls()->async_handshake(asio::ssl::stream_base::server, kAwait);
    self->writing_ = false;
    self->disarm();
    if (!error) {
      self->serve();
      co_return;
    }
    if (is_plain_http(static_cast<unsigned long>(error.value()))) {
      co_await self->refuse_plain_http();
    }
  } catch (const std::exception& exception) {  // no memory
    write_line(std::string("textvec: a handshake failed: ") + exception.what() + "\n");
  }
  self->disarm();
  self->close();
}

asio::awaitable<void> Connection::refuse_plain_http() {
  stream_.tls().reset();
  asio::co_spawn(stream_.get_executor(), read_all(shared_from_this()), asio::detached);
  arm(limits().write_max);
  writing_ = true;
  co_await asio::async_write(stream_, asio::buffer(kNoTls), kAwait);
  writing_ = false;
  server_.service().metrics().replied(400);
  co_await linger();
}

asio::awaitable<void> Connection::linger() {
  const auto end_sending = [self = shared_from_this()](error_code) {
    error_code ignored;
    self->stream_.socket().shutdown(Socket::shutdown_send, ignored);
  };
  arm(kLinger);
  if (stream_.tls()) {
    // Says that nothing was cut off. It must not wait for the client's word: read_all() reads, and
    // what comes now is no mistake of the client's.
    ssl_st* connection = stream_.tls()->native_handle();
    set_client_ended(connection, true);
    stream_.tls()->async_shutdown(end_sending);  // done but for the writing when it returns
    set_client_ended(connection, false);
  } else {
    end_sending({});
  }
  while (!ended_ && !expired_) {
    take(input_.size());
    co_await changed_.async_wait(kAwait);
  }
}

void Connection::take(std::size_t bytes) {
  if (bytes == input_.size()) {
    std::string().swap(input_);  // an idle connection keeps no buffer
  } else {
    input_.erase(0, bytes);
  }
  space_.cancel();
}

// `head` is empty where it was damaged.
void Connection::identify(Exchange& exchange, const Head& head) {
  exchange.id = request_id(head);
  exchange.trace = read_trace_context(head);
  if (server_.service().spans() == nullptr) return;
  if (!exchange.trace) exchange.trace = new_trace_context();
  const std::string* host = head.find("host");
  if (host != nullptr) exchange.host = *host;
}

asio::awaitable<bool> Connection::read_head(HeadReader& reader, Exchange& exchange) {
  idle_ = true;
  arm(draining_ ? kDrainIdle : limits().idle_max);
  for (;;) {
    // Some clients end a body with a line that is not counted.
    while (idle_ && input_.starts_with("\r\n")) take(2);
    if (idle_ && !input_.empty()) {
      idle_ = false;
      exchange.begun = Clock::now();
      arm(limits().head_max);
    }
    const auto state = idle_ ? HeadReader::State::More : reader.read(input_);
    if (state == HeadReader::State::Done) co_return true;
    if (state == HeadReader::State::Bad) {
      const Refusal& refusal = reader.refusal();
      identify(exchange, {});
      co_return co_await refuse(exchange, refusal.status, refusal.message);
    }
    if (ended_ || (expired_ && idle_)) co_return false;
    if (expired_) {
      identify(exchange, {});
      co_return co_await refuse(exchange, 408, "the request's head took too long");
    }
    co_await changed_.async_wait(kAwait);
  }
}

asio::awaitable<bool> Connection::answer_one() {
  Exchange exchange;
  HeadReader reader(limits());
  const bool has_head = co_await read_head(reader, exchange);
  if (!has_head) co_return false;
  const Head head = reader.head();
  identify(exchange, head);
  exchange.method = head.method;
  exchange.path = head.path();
  exchange.minor = head.minor;
  exchange.bytes_in = reader.bytes();

  Framing framing;
  if (const auto refusal = read_framing(head, limits(), framing)) {
    co_return co_await refuse(exchange, refusal->status, refusal->message);
  }
  Passage passage;
  auto reply = check_head(head, framing, *server_.secrets().keys.get(), server_.options(),
                          server_.service(), is_local_, passage);
  exchange.origin = passage.origin;
  if (passage.route != nullptr) exchange.route = passage.route->path;
  const bool answers_now = reply || !Service::takes_time(*passage.route);
  if (answers_now) {
    // Where a body follows that nobody reads, the next request could not be found.
    exchange.keep_alive = framing.keep_alive && !framing.has_body();
    if (!framing.has_body()) take(reader.bytes());
    if (!reply) {
      const std::string* tags = head.find("if-none-match");
      reply = server_.service().answer_now(
          *passage.route,
          {exchange.path, server_.connections(), tags == nullptr ? std::string_view() : *tags});
    }
    co_return co_await send(exchange, std::move(*reply));
  }
  auto answer = server_.service().admission().enter();
  exchange.place = std::move(answer.place);
  if (!answer.busy && framing.content_length) {
    answer.busy = exchange.place->add_bytes(static_cast<std::size_t>(*framing.content_length));
  }
  if (answer.busy) {
    server_.service().metrics().failed("overloaded");
    exchange.keep_alive = framing.keep_alive && !framing.has_body();
    if (!framing.has_body()) take(reader.bytes());
    co_return co_await send(exchange, busy_reply(dialect_of(exchange.path), *answer.busy));
  }
  std::string body;
  const bool has_body = co_await read_body(framing, exchange, body);
  if (!has_body) co_return false;
  exchange.keep_alive = framing.keep_alive;
  co_return co_await ask(passage, std::move(body), exchange);
}

// Of a body whose length was not announced: what has arrived takes its room.
std::optional<Reply> Connection::account(std::size_t arrived, std::size_t& counted,
                                         Exchange& exchange) {
  if (arrived <= counted) return std::nullopt;
  const auto busy = exchange.place->add_bytes(arrived - counted);
  counted = arrived;
  if (!busy) return std::nullopt;
  return busy_reply(dialect_of(exchange.path), *busy);
}

// False: the reply was sent, or there is nobody to send it to.
asio::awaitable<bool> Connection::read_body(const Framing& framing, Exchange& exchange,
                                            std::string& body) {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(2 * limits().head_bytes_max));
  parser.body_limit(limits().body_bytes_max);
  parser.eager(true);
  auto check_extensions = [this](std::uint64_t, boost::beast::string_view extensions,
                                 error_code& error) {
    if (extensions.size() > limits().chunk_extension_bytes_max) {
      error = http::error::bad_chunk_extension;
    }
  };
  parser.on_chunk_header(check_extensions);
  std::size_t counted = static_cast<std::size_t>(framing.content_length.value_or(0));
  arm(limits().body_max);
  bool is_expected = framing.expect_continue;
  for (;;) {
    error_code error;
    const std::size_t used = parser.put(asio::buffer(input_), error);
    exchange.bytes_in += used;
    take(used);
    const bool needs_more = error == http::error::need_more;
    if (error == http::error::body_limit) {
      co_return co_await refuse(
          exchange, 413,
          "a body of more than " + std::to_string(limits().body_bytes_max) + " bytes");
    }
    // What has no end within the buffer never will.
    if ((error && !needs_more) ||
        (needs_more && input_.size() >= limits().pipelined_bytes_max / 2)) {
      co_return co_await refuse(exchange, 400, "the body's chunks, or the head, are damaged");
    }
    if (auto busy = account(parser.get().body().size(), counted, exchange)) {
      server_.service().metrics().failed("overloaded");
      co_return co_await send(exchange, std::move(*busy));
    }
    if (parser.is_done()) break;
    if (!needs_more && !input_.empty()) continue;
    if (is_expected) {
      is_expected = false;
      constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      writing_ = true;
      co_await asio::async_write(stream_, asio::buffer(kContinue), kAwait);
      writing_ = false;
    }
    const std::size_t before = input_.size();
    while (input_.size() == before && !ended_ && !expired_) co_await changed_.async_wait(kAwait);
    if (input_.size() > before) continue;
    if (expired_ && !ended_) {
      co_return co_await refuse(exchange, 408, "the request's body took too long");
    }
    co_return false;
  }
  body = std::move(parser.get().body());
  co_return true;
}

asio::awaitable<bool> Connection::ask(const Passage& passage, std::string body,
                                      Exchange& exchange) {
  const std::uint64_t number = ++asked_;
  reply_.reset();
  stop_ = std::stop_source();
  // What was pipelined behind a request that half-closed is not asked any more.
  if (ended_) stop_.request_stop();
  Request request;
  request.method = exchange.method;
  request.path = exchange.path;
  request.body = std::move(body);
  request.arrived = exchange.begun;
  request.deadline = Clock::now() + passage.timeout;
  request.stop = stop_.get_token();
  server_.service().answer(*passage.route, std::move(request), exchange.place,
                           [self = shared_from_this(), number](Reply reply) {
                             asio::post(self->stream_.get_executor(),
                                        [self, number, reply = std::move(reply)]() mutable {
                                          if (number != self->asked_) return;
                                          self->reply_ = std::move(reply);
                                          self->changed_.cancel();
                                        });
                           });
  arm(passage.timeout);
  while (!reply_ && !expired_) co_await changed_.async_wait(kAwait);
  if (!reply_) {
    ++asked_;  // its reply comes too late
    stop_.request_stop();
    server_.service().metrics().failed("timeout");
    reply_ =
        problem_reply(dialect_of(exchange.path),
                      {{ErrorCode::TimedOut, "the request was not done within " +
                                                 std::to_string(passage.timeout.count()) + " ms"},
                       {},
                       {}});
  }
  Reply reply = std::move(*reply_);
  reply_.reset();
  co_return co_await send(exchange, std::move(reply));
}

asio::awaitable<bool> Connection::refuse(Exchange& exchange, unsigned status, std::string message) {
  exchange.keep_alive = false;
  Reply reply = refusal_reply(dialect_of(exchange.path), status, message);
  co_return co_await send(exchange, std::move(reply));
}

asio::awaitable<bool> Connection::send(Exchange& exchange, Reply reply) {
  const bool keep_alive = exchange.keep_alive && !draining_;
  http::response<http::string_body> response(static_cast<http::status>(reply.status), 11);
  // Said to clients of HTTP/1.0 too, whose connections end by default.
  if (!keep_alive) response.set(http::field::connection, "close");
  if (keep_alive && exchange.minor == 0) response.set(http::field::connection, "keep-alive");
  response.set(http::field::server, "textvec");
  response.set("x-request-id", exchange.id);
  for (const auto& [name, value] : reply.fields) response.set(name, value);
  if (!reply.content_type.empty()) response.set(http::field::content_type, reply.content_type);
  if (!exchange.origin.empty()) {
    response.set(http::field::access_control_allow_origin, exchange.origin);
    response.set(http::field::vary, "Origin");
  }
  const std::size_t bytes = reply.body.size();
  if (exchange.method == "HEAD") {
    if (reply.status != 304) response.content_length(bytes);
  } else if (reply.status != 304) {  // whose length would be the file's
    response.body() = std::move(reply.body);
    response.prepare_payload();
  }
  arm(limits().write_max + std::chrono::milliseconds(1000 * (bytes / kWriteBytesPerSecondMin)));
  writing_ = true;
  const auto [error, written] = co_await http::async_write(stream_, response, kAwait);
  writing_ = false;
  disarm();
  idle_ = true;
  exchange.place.reset();
  trace(exchange, reply);
  log(exchange, reply, bytes);
  co_return keep_alive && !error && stream_.socket().is_open();
}

void Connection::trace(const Exchange& exchange, const Reply& reply) {
  SpanExporter* spans = server_.service().spans();
  if (spans == nullptr || !exchange.trace || !exchange.trace->sampled) return;
  Answered answered;
  answered.method = exchange.method;
  answered.path = exchange.path;
  answered.route = exchange.route;
  answered.host = exchange.host;
  answered.peer = peer_;
  answered.request_id = exchange.id;
  answered.is_tls = stream_.tls().has_value();
  answered.minor = exchange.minor;
  answered.begun = exchange.begun;
  answered.reply = &reply;
  spans->add(spans_of(*exchange.trace, answered, {}));
}

void Connection::log(const Exchange& exchange, const Reply& reply, std::size_t bytes_out) {
  server_.service().metrics().replied(reply.status);
  if (!server_.options().access_log) return;
  Access access;
  access.id = exchange.id;
  if (exchange.trace) access.trace_id = exchange.trace->trace_id;
  access.peer = peer_;
  access.method = exchange.method;
  access.path = exchange.path;
  access.status = reply.status;
  access.bytes_in = exchange.bytes_in;
  access.bytes_out = bytes_out;
  access.texts = reply.texts;
  access.tokens = reply.tokens;
  access.time =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - exchange.begun);
  access.note = reply.note;
  write_line(access_line(access, std::chrono::system_clock::now()));
}

void Server::add(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex_);
  connections_.emplace(connection.get(), connection);
}

void Server::remove(const Connection* connection) {
  const std::lock_guard lock(mutex_);
  connections_.erase(connection);
  if (draining_ && !over_ && connections_.empty()) {
    asio::post(acceptor_.get_executor(), [this] { drain_timer_.cancel(); });
  }
}

std::size_t Server::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

std::vector<std::shared_ptr<Connection>> Server::all_connections() const {
  std::vector<std::shared_ptr<Connection>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, weak] : connections_) {
    if (auto connection = weak.lock()) all.push_back(std::move(connection));
  }
  return all;
}

void Server::accept(Socket socket) {
  error_code ignored;
  const auto tls = secrets_.tls.get();
  if (connections() >= options_.limits.connections_max) {
    socket.non_blocking(true, ignored);
    if (tls == nullptr) socket.send(asio::buffer(kTurnedAway), 0, ignored);
    service_.metrics().replied(503);
    return;
  }
  ssl_st* session = tls == nullptr ? nullptr : tls->new_connection();
  if (tls != nullptr && session == nullptr) return;  // no memory: this connection is closed
  auto connection = std::make_shared<Connection>(*this, std::move(socket), session);
  add(connection);
  connection->start();
}

// Part of a handler. One that finds no memory on its way to its thread is dropped, and with it the
// accepting of connections, unless somebody is told.
class Server::Kept {
 public:
  explicit Kept(Server& server) : server_(&server) {}
  Kept(Kept&& other) noexcept : server_(std::exchange(other.server_, nullptr)) {}
  Kept& operator=(Kept&&) = delete;
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  ~Kept() {
    if (server_ != nullptr) server_->accepts_none_ = true;
  }
  void release() noexcept { server_ = nullptr; }

 private:
  Server* server_;
};

// No coroutine: one whose operation finds no memory is destroyed where it waits, and nobody would
// be accepted from then on.
void Server::accept_next() {
  while (acceptor_.is_open()) {
    try {
      accepts_none_ = false;
      acceptor_.async_accept(asio::any_io_executor(asio::make_strand(io_)),
                             [this, kept = Kept(*this)](error_code error, Socket socket) mutable {
                               kept.release();
                               accepted(error, std::move(socket));
                             });
      return;
    } catch (const std::exception&) {
      std::this_thread::sleep_for(kAcceptAgain);  // for a timer there is no memory either
    }
  }
}

void Server::accepted(error_code error, Socket socket) {
  if (!acceptor_.is_open()) return;
  try {
    if (error) {  // no descriptor is left: later there may be
      accept_timer_.expires_after(kAcceptAgain);
      accept_timer_.async_wait([this, kept = Kept(*this)](error_code) mutable {
        kept.release();
        accept_next();
      });
      return;
    }
    accept(std::move(socket));
  } catch (const std::exception&) {
    std::this_thread::sleep_for(kAcceptAgain);  // no memory: this connection is closed
  }
  accept_next();
}

// On the acceptor's strand.
void Server::drain() {
  if (draining_.exchange(true)) return;
  work_.reset();
  service_.drain();
  // What the system has accepted already is ours to answer.
  error_code error;
  acceptor_.non_blocking(true, error);
  while (!error) {
    Socket socket = acceptor_.accept(asio::any_io_executor(asio::make_strand(io_)), error);
    if (!error) accept(std::move(socket));
  }
  acceptor_.close(error);
  for (const auto& connection : all_connections()) connection->drain();
  if (connections() == 0) return;
  drain_timer_.expires_after(options_.limits.drain_max);
  drain_timer_.async_wait([this](error_code cancelled) {
    if (!cancelled) give_up();
  });
}

void Server::give_up() {
  for (const auto& connection : all_connections()) connection->give_up();
  drain_timer_.expires_after(2 * kGiveUp);
  drain_timer_.async_wait([this](error_code cancelled) {
    if (cancelled) return;
    lose();
    io_.stop();
  });
}

// A handler that finds no memory ends neither its thread nor the process.
void Server::run_handlers() {
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception&) {
      write_line("textvec: a connection failed: no memory\n");
    }
    while (accepts_none_.exchange(false)) {
      try {
        asio::post(acceptor_.get_executor(), [this, kept = Kept(*this)]() mutable {
          kept.release();
          accept_next();
        });
      } catch (const std::exception&) {
        std::this_thread::sleep_for(kAcceptAgain);
      }
    }
  }
}

Drained Server::run(unsigned threads, const std::stop_token& stop) {
  accept_next();
  const std::stop_callback on_stop(
      stop, [this] { asio::post(acceptor_.get_executor(), [this] { drain(); }); });
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) {
    others.emplace_back([this] { run_handlers(); });
  }
  run_handlers();
  over_ = true;
  for (std::thread& thread : others) thread.join();
  return {all_};
}

}  // namespace

Result<Drained> serve_http(Listener listener, Service& service, const ServeOptions& options,
                           const Secrets& secrets, unsigned threads, const std::stop_token& stop) {
  try {
    auto server = std::make_unique<Server>(std::move(listener), service, options, secrets);
    Drained drained = server->run(threads, stop);
    // Replies that come too late still find their connection.
    if (!service.wait_until_idle(2 * kGiveUp)) {
      drained.all = false;
      drained.idle = false;
      [[maybe_unused]] const Server* left_behind = server.release();
    }
    return drained;
  } catch (const std::system_error& error) {
    return Error{ErrorCode::Internal, std::string("cannot serve: ") + error.what()};
  }
}

}  // namespace textvec::server
