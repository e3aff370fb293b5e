// In: spans; what says where they go. Out: OTLP's JSON, and the URL that it is sent to.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/span.h"
#include "textvec/result.h"

namespace textvec::server {

// The body of a request to a collector. Integers of 64 bits are strings there, ids hexadecimal.
std::string otlp_json(std::string_view service_name, std::span<const Span> spans);

struct OtlpEndpoint {
  std::string option{};      // --otlp-endpoint; a base, before:
  std::string traces_url{};  // $OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, as it stands; before:
  std::string base_url{};    // $OTEL_EXPORTER_OTLP_ENDPOINT
};
// To a base /v1/traces is added. Nothing: no spans are wanted. Errors: InvalidArgument (which of
// the three is wrong; no http or https, no host, a password, a question mark).
Result<std::optional<std::string>> otlp_url(const OtlpEndpoint& endpoint);

}  // namespace textvec::server
