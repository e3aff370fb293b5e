// In: where to listen. Out: a listening socket. See listen.h.
#include "server/listen.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

namespace textvec::server {
namespace {

constexpr int kBacklog = 1024;

Error system_error(const std::string& what) {
  return {ErrorCode::Internal, what + ": " + std::generic_category().message(errno)};
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

bool never_inherited(int descriptor) { return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0; }

std::string address_of(const sockaddr* address, socklen_t bytes) {
  char host[NI_MAXHOST] = {};
  char port[NI_MAXSERV] = {};
  if (getnameinfo(address, bytes, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "unknown";
  }
  const std::string name(host);
  return (name.find(':') == std::string::npos ? name : "[" + name + "]") + ":" + port;
}

}  // namespace

Listener::Listener(int descriptor, int family, std::string address, std::string path)
    : descriptor_(descriptor),
      family_(family),
      address_(std::move(address)),
      path_(std::move(path)) {}

Listener::Listener(Listener&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      family_(other.family_),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, {})) {}

Listener::~Listener() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!path_.empty()) unlink(path_.c_str());
}

int Listener::release() noexcept { return std::exchange(descriptor_, -1); }

Result<Listener> Listener::open(const ServeOptions& options) {
  return options.unix_socket.empty() ? open_port(options) : open_path(options.unix_socket);
}

Result<Listener> Listener::open_path(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path) || path.find('\0') != std::string::npos) {
    return Error{ErrorCode::InvalidArgument,
                 "the socket's path has " + std::to_string(path.size()) + " bytes; at most " +
                     std::to_string(sizeof(address.sun_path) - 1) + " are possible"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  Descriptor listening(socket(AF_UNIX, SOCK_STREAM, 0));
  if (listening.get() < 0 || !never_inherited(listening.get())) return system_error("no socket");
  struct stat found{};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return Error{ErrorCode::InvalidArgument, path + " is there and is no socket"};
    }
    const Descriptor asking(socket(AF_UNIX, SOCK_STREAM, 0));
    if (asking.get() < 0) return system_error("no socket");
    if (connect(asking.get(), generic, sizeof(address)) == 0) {
      return Error{ErrorCode::Internal, "another server listens on " + path};
    }
    unlink(path.c_str());
  }
  if (bind(listening.get(), generic, sizeof(address)) != 0) {
    return system_error("cannot listen on " + path);
  }
  // From here on the file is ours.
  Listener listener(listening.release(), AF_UNIX, "unix:" + path, path);
  if (::listen(listener.descriptor_, kBacklog) != 0)
    return system_error("cannot listen on " + path);
  return listener;
}

Result<Listener> Listener::open_port(const ServeOptions& options) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int code =
      getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &raw);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> found(raw, [](addrinfo* list) {
    if (list != nullptr) freeaddrinfo(list);
  });
  if (code != 0 || found == nullptr) {
    return Error{ErrorCode::InvalidArgument, "--host " + options.host + ": " + gai_strerror(code)};
  }
  Descriptor listening(socket(found->ai_family, SOCK_STREAM, 0));
  if (listening.get() < 0 || !never_inherited(listening.get())) return system_error("no socket");
  const int on = 1;
  // A server that starts again need not wait for the connections of the one before.
  setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const std::string where = address_of(found->ai_addr, found->ai_addrlen);
  if (bind(listening.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(listening.get(), kBacklog) != 0) {
    const auto kind = errno == EADDRNOTAVAIL ? ErrorCode::InvalidArgument : ErrorCode::Internal;
    Error error = system_error("cannot listen on " + where);
    error.code = kind;
    return error;
  }
  sockaddr_storage bound{};
  socklen_t bytes = sizeof(bound);
  auto* generic = reinterpret_cast<sockaddr*>(&bound);
  if (getsockname(listening.get(), generic, &bytes) != 0) return system_error("no address");
  const std::string scheme = options.tls_certificate.empty() ? "http://" : "https://";
  return Listener(listening.release(), found->ai_family, scheme + address_of(generic, bytes), {});
}

std::string peer_of(int descriptor) {
  sockaddr_storage peer{};
  socklen_t bytes = sizeof(peer);
  auto* generic = reinterpret_cast<sockaddr*>(&peer);
  if (getpeername(descriptor, generic, &bytes) != 0) return "gone";
  return peer.ss_family == AF_UNIX ? "unix" : address_of(generic, bytes);
}

bool is_local(int descriptor) {
  sockaddr_storage peer{};
  socklen_t bytes = sizeof(peer);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) return false;
  if (peer.ss_family == AF_UNIX) return true;
  if (peer.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(peer).sin_addr;
    return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (peer.ss_family != AF_INET6) return false;
  const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&address) ||
         (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == IN_LOOPBACKNET);
}

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit wanted = limit;
    // macOS says that there is no limit, and then takes no more than this.
    wanted.rlim_cur = limit.rlim_max == RLIM_INFINITY ? 10240 : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
  }
  return limit.rlim_cur == RLIM_INFINITY ? std::size_t{1} << 20
                                         : static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace textvec::server
