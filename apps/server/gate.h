// In: the head of a request. Out: the route that it may take, or a reply that ends it before its
// body is read.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "server/head.h"
#include "server/keys.h"
#include "server/options.h"
#include "server/reply.h"
#include "server/service.h"

namespace textvec::server {

struct Passage {
  const Route* route = nullptr;
  std::chrono::milliseconds timeout{};  // of the request, from its head on
  std::string origin{};                 // may read the reply; empty: no other
};

// A key is asked for before anything is said of the path, so that without one all paths look alike.
// `is_local`: the other end of the connection is on this machine.
std::optional<Reply> check_head(const Head& head, const Framing& framing, const Keys& keys,
                                const ServeOptions& options, const Service& service, bool is_local,
                                Passage& passage);

// The client's own x-request-id, where it is one to 64 of [A-Za-z0-9._-]; else a new one.
std::string request_id(const Head& head);

}  // namespace textvec::server
