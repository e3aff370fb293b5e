// In: the parts of a server that can be read again while it serves. Out: each of them read again,
// or as it was.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "textvec/result.h"

namespace textvec::server {

class Reloader {
 public:
  struct Part {
    std::string name{};
    // Puts the new one in the place of the old one, or fails and leaves it.
    std::function<Result<void>()> reload{};
  };
  struct Outcome {
    std::string name{};
    std::optional<Error> error{};
  };
  using Done = std::function<void(const std::vector<Outcome>&)>;

  explicit Reloader(std::vector<Part> parts) : parts_(std::move(parts)) {}
  ~Reloader();  // waits for a reload that is under way
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  // Reloads the parts one after the other, each for itself, so that a bad model keeps no key from
  // being withdrawn. On a thread that ends with it: what libraries keep for a thread ends too.
  // False: a reload is under way. `done`, which may be empty, is called once, on that thread. What
  // happened is also logged.
  bool start(const Done& done);
  bool running() const noexcept { return running_; }

 private:
  void reload(const Done& done);

  const std::vector<Part> parts_;
  std::mutex mutex_{};
  std::atomic<bool> running_{false};
  std::thread thread_{};
};

}  // namespace textvec::server
