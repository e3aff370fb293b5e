// In: a lock file. Out: this process alone may work on what it stands for. See file_lock.h.
#include "hub/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

namespace textvec::hub {
namespace {

constexpr std::chrono::milliseconds kLookAgainAfter{50};

std::string system_words(int number) { return std::generic_category().message(number); }

}  // namespace

Result<FileLock> FileLock::open(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  // Writable by the group, as huggingface_hub's are, so that users of one cache wait for each
  // other.
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
  if (descriptor < 0) {
    return Error{ErrorCode::Internal, "cannot write " + file.string() + ": " + system_words(errno)};
  }
  return FileLock(descriptor);
}

Result<bool> FileLock::lock() const {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK || errno == EINTR) return false;
  // Some network file systems know no locks; what is done is still right there, and may be done
  // twice.
  if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS) return true;
  return Error{ErrorCode::Internal, "cannot lock a file of the cache: " + system_words(errno)};
}

Result<FileLock> FileLock::take(const std::filesystem::path& file, const std::stop_token& stop,
                                const std::function<void()>& waiting) {
  auto lock = open(file);
  for (bool said = false; lock;) {
    const auto taken = lock->lock();
    if (!taken) return taken.error();
    if (*taken) return lock;
    if (!std::exchange(said, true) && waiting) waiting();
    // Polled: no call waits for a lock and for a stop.
    std::this_thread::sleep_for(kLookAgainAfter);
    if (stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped"};
  }
  return lock;
}

Result<FileLock> FileLock::try_take(const std::filesystem::path& file) {
  auto lock = open(file);
  if (!lock) return lock;
  const auto taken = lock->lock();
  if (!taken) return taken.error();
  if (*taken) return lock;
  return Error{ErrorCode::Overloaded,
               "another process is downloading " + file.filename().string() + "; try again later"};
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace textvec::hub
