// In: a value, and later others in its place. Out: what it is now; who has got it keeps it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace textvec::server {

template <class Value>
class Replaceable {
 public:
  using Pointer = std::shared_ptr<const Value>;

  explicit Replaceable(Pointer value) : value_(std::move(value)) {}

  Pointer get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  // Gives what it was, which whoever got it may still have.
  Pointer replace(Pointer value) {
    const std::lock_guard lock(mutex_);
    return std::exchange(value_, std::move(value));
  }

 private:
  mutable std::mutex mutex_{};
  Pointer value_;
};

}  // namespace textvec::server
