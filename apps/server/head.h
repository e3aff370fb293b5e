// In: the first bytes of a request. Out: its head: method, target, fields, and how long its body
// is. Stricter than the standard where a looser reader in front of us could count requests
// otherwise: lines end with CR LF, names end at the colon, values are not folded, one Host, one
// length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/options.h"

namespace textvec::server {

// Why a request gets no further, before anything of it was run.
struct Refusal {
  unsigned status = 400;
  std::string message{};
};

struct Field {
  std::string name{};  // in lower case
  std::string value{};
};

struct Head {
  std::string method{};
  std::string target{};  // origin form: "/path?query", or "*"
  unsigned minor = 1;    // of HTTP/1.x
  std::vector<Field> fields{};

  std::size_t count(std::string_view name) const noexcept;
  // The value of a field that is there exactly once; else nullptr.
  const std::string* find(std::string_view name) const noexcept;
  // Up to the question mark.
  std::string_view path() const noexcept;
};

// Reads a head that arrives in pieces; looks at each byte once.
class HeadReader {
 public:
  enum class State : std::uint8_t { More, Done, Bad };

  explicit HeadReader(const Limits& limits) : limits_(&limits) {}

  // `bytes` is all that has arrived, from the first byte of the head on.
  State read(std::string_view bytes);

  // After Done: how many bytes the head takes, with the empty line that ends it.
  std::size_t bytes() const noexcept { return line_begin_; }
  const Head& head() const noexcept { return head_; }
  // After Bad.
  const Refusal& refusal() const noexcept { return refusal_; }

 private:
  State refuse(unsigned status, std::string message);
  State read_line(std::string_view line);
  State read_request_line(std::string_view line);
  State read_field(std::string_view line);

  const Limits* limits_;
  std::size_t line_begin_ = 0;
  std::size_t next_ = 0;  // the first byte that was not looked at
  bool has_request_line_ = false;
  Head head_{};
  Refusal refusal_{};
};

struct Framing {
  bool chunked = false;
  std::optional<std::uint64_t> content_length{};
  bool keep_alive = true;
  bool expect_continue = false;

  bool has_body() const noexcept { return chunked || content_length.value_or(0) > 0; }
};

// How the body is sent, and whether the connection lives on. A refusal ends the connection: where
// the next request begins is then not known for sure.
std::optional<Refusal> read_framing(const Head& head, const Limits& limits, Framing& framing);

}  // namespace textvec::server
