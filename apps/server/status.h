// In: an error, or a rule of HTTP that was broken. Out: status and body, in the dialect of the
// route. The one table from ErrorCode to a reply; apps/cli/exit_code.h has that to exit codes.
#pragma once

#include <string>
#include <string_view>

#include "server/admission.h"
#include "server/reply.h"
#include "textvec/result.h"

namespace textvec::server {

// What an ErrorCode does not tell apart and the dialects do.
enum class Fault : std::uint8_t {
  Plain,
  Empty,    // no text, or an empty one
  BadJson,  // the body is no JSON
  BadUtf8,  // or no text at all
};

struct Problem {
  Error error{};
  std::string field{};  // of the body: "input", "dimensions"; empty: none
  Fault fault = Fault::Plain;
};

// A row of the table.
struct Row {
  ErrorCode code;
  unsigned status;
  std::string_view openai_type;
  std::string_view openai_code;
  unsigned tei_status;
  std::string_view tei_type;
  std::string_view failure;  // the label of te_request_failure
  // Whether clients see the message: it is about what they sent. Else it may name files and
  // addresses of this machine, and goes to the log only.
  bool is_public;
};
const Row& row_of(ErrorCode code) noexcept;

// The field and the text's index are named: "input[3]".
Reply problem_reply(Dialect dialect, const Problem& problem);
// For what fails before a body is read: 401, 404, 413, ...
Reply refusal_reply(Dialect dialect, unsigned status, std::string_view message);
Reply busy_reply(Dialect dialect, const Busy& busy);  // 429 with Retry-After
// The dialect that a path belongs to; TEI's where there is no telling.
Dialect dialect_of(std::string_view path) noexcept;

}  // namespace textvec::server
