// In: where to listen. Out: a listening socket, and its address in words.
#pragma once

#include <string>

#include "server/options.h"
#include "textvec/result.h"

namespace textvec::server {

class Listener {
 public:
  // A port or a unix socket, as the options say. A path on which a server listens is refused; one
  // that a dead server left is taken over. Errors: InvalidArgument (no address of this machine, a
  // path too long, a file in the way), Internal (in use, no right to; the system's words).
  static Result<Listener> open(const ServeOptions& options);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();  // the unix socket's file goes too

  int release() noexcept;  // the descriptor is the caller's from now on
  int family() const noexcept { return family_; }
  // "http://127.0.0.1:8080", "https://127.0.0.1:8080", "unix:/run/textvec.socket"
  const std::string& address() const noexcept { return address_; }

 private:
  Listener(int descriptor, int family, std::string address, std::string path);
  static Result<Listener> open_path(const std::string& path);
  static Result<Listener> open_port(const ServeOptions& options);

  int descriptor_;
  int family_;
  std::string address_;
  std::string path_;  // to be removed
};

// "127.0.0.1:40000", or "unix".
std::string peer_of(int descriptor);
// Whether a program of this machine is at the other end: by a unix socket or a loopback address.
bool is_local(int descriptor);
// A process may have few descriptors by default, and more when it asks. Returns how many.
std::size_t raise_descriptor_limit();

}  // namespace textvec::server
