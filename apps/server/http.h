// In: a listening socket, a service. Out: connections, read and answered until a signal ends them.
// The only part of the server that knows Boost.Asio and Boost.Beast.
#pragma once

#include <memory>
#include <stop_token>

#include "server/keys.h"
#include "server/listen.h"
#include "server/options.h"
#include "server/replaceable.h"
#include "server/service.h"
#include "server/tls.h"

namespace textvec::server {

// What a reload replaces; connections and requests keep what they began with.
struct Secrets {
  Replaceable<Keys> keys{std::make_shared<const Keys>()};
  Replaceable<Tls> tls{nullptr};  // nullptr: none
};

// How serving ended.
struct Drained {
  bool all = true;   // every request that had arrived got its own reply
  bool idle = true;  // no batch runs any more; else only the end of the process ends it
};

// Serves until `stop`, then drains: /readyz says 503, no connection is accepted any more, and every
// reply closes its connection; after Limits::drain_max what still runs is given up, and answered
// with 503. `threads` read and write. Errors: Internal (the system gives no thread).
Result<Drained> serve_http(Listener listener, Service& service, const ServeOptions& options,
                           const Secrets& secrets, unsigned threads, const std::stop_token& stop);

}  // namespace textvec::server
