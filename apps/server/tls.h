// In: the files of a certificate and of its key. Out: what a connection's handshake needs. Owns
// libssl, but for what Boost.Asio's stream does with it in http.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "textvec/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace textvec::server {

class Tls {
 public:
  static constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;
  static constexpr std::size_t kCertificatesMax = 16;  // of a chain

  // PEM; the server's certificate first, then those that lead to a root. TLS 1.2 and 1.3, ciphers
  // with forward secrecy, no renegotiation, ALPN http/1.1. Errors: InvalidArgument (a file is not
  // there, too large or no PEM, the key has a passphrase or belongs to another certificate),
  // Internal.
  static Result<Tls> read(const std::string& certificate_file, const std::string& key_file);

  // What is legal and yet wrong: a certificate whose time is over, a key that others may read.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  // The server's side of a new connection, which is the caller's to free; nullptr: no memory.
  ssl_st* new_connection() const;

 private:
  explicit Tls(std::shared_ptr<ssl_ctx_st> context) : context_(std::move(context)) {}

  std::shared_ptr<ssl_ctx_st> context_;
  std::vector<std::string> warnings_{};
};

// Whether OpenSSL believes that the client has ended its direction: then it says the end of ours
// without waiting for that.
void set_client_ended(ssl_st* connection, bool ended) noexcept;

// Whether a handshake failed because the client spoke HTTP without TLS. `error`: OpenSSL's code.
bool is_plain_http(unsigned long error) noexcept;

}  // namespace textvec::server
