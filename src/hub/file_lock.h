// In: a lock file. Out: this process alone may work on what it stands for, until the lock's end.
// flock(2), which huggingface_hub takes on the same files, and which ends with the process.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>

#include "textvec/result.h"

namespace textvec::hub {

class FileLock {
 public:
  // Waits until nobody else holds it; calls `waiting` once when that takes more than a moment.
  // Errors: Internal (cannot be opened), Cancelled.
  static Result<FileLock> take(const std::filesystem::path& file, const std::stop_token& stop,
                               const std::function<void()>& waiting);
  // Overloaded when somebody else holds it.
  static Result<FileLock> try_take(const std::filesystem::path& file);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  static Result<FileLock> open(const std::filesystem::path& file);
  Result<bool> lock() const;

  int descriptor_;
};

}  // namespace textvec::hub
