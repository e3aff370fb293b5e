// What `textvec serve` was told, and every limit of the server with its default.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace textvec::server {

struct Limits {
  // A request's head. Not options: no honest client comes near.
  std::size_t head_bytes_max = 16384;
  std::size_t line_bytes_max = 8192;
  std::size_t target_bytes_max = 2048;
  std::size_t fields_max = 100;
  std::size_t chunk_extension_bytes_max = 256;  // of one chunk of a body
  std::size_t pipelined_bytes_max = 65536;      // read ahead of what is being answered

  std::size_t body_bytes_max = std::size_t{16} << 20;
  std::size_t texts_max = 2048;                              // of one request
  std::size_t requests_max = 512;                            // being answered
  std::size_t texts_in_flight_max = 4096;                    // of all requests
  std::size_t bytes_in_flight_max = std::size_t{256} << 20;  // bodies and replies
  std::size_t reply_bytes_max = std::size_t{64} << 20;       // of one reply of /embed_all
  std::size_t connections_max = 2048;

  std::chrono::milliseconds idle_max{60'000};     // between requests
  std::chrono::milliseconds head_max{10'000};     // from its first byte to its last
  std::chrono::milliseconds body_max{30'000};     // the same
  std::chrono::milliseconds write_max{30'000};    // and a second for each 100 kB
  std::chrono::milliseconds request_max{60'000};  // tokenising, waiting, running
  std::chrono::milliseconds reload_max{600'000};  // until its reply; the reload itself goes on
  std::chrono::milliseconds drain_max{30'000};
  std::chrono::milliseconds stall_max{600'000};  // texts wait, and none is done: /livez says 503
};

struct ServeOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;      // 0: the system's choice, which is printed
  std::string unix_socket{};      // a path; then there is no host and no port
  std::string keys_file{};        // empty: no key is asked for
  std::string tls_certificate{};  // PEM; empty: no TLS
  std::string tls_key{};
  std::vector<std::string> cors_origins{};  // exact ones; empty: no page of another origin may ask
  std::vector<std::string> aliases{};       // further names of the model; "*": any
  std::string otlp_endpoint{};              // of a collector of spans; empty: the environment's
  std::string otlp_service_name{};          // of this server among its spans; empty: the same
  bool access_log = true;
  bool page = true;  // for browsers, at /
  Limits limits{};
};

}  // namespace textvec::server
