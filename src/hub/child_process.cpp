// In: a program and its arguments. Out: how it ended. See child_process.h.
#include "hub/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <system_error>
#include <thread>

// Of POSIX, which declares it in no header; glibc does.
extern "C" char** environ;  // NOLINT(readability-redundant-declaration)

namespace textvec::hub {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGraceOfStopped{5};
constexpr std::chrono::milliseconds kLookAgainAfter{20};

// The reading end; the writing one is the child's.
class Pipe {
 public:
  Pipe() {
    std::array<int, 2> ends{-1, -1};
    if (::pipe(ends.data()) != 0) return;
    for (const int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    read_ = ends[0];
    write_ = ends[1];
  }
  ~Pipe() {
    close_writing();
    if (read_ >= 0) ::close(read_);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  bool made() const { return read_ >= 0; }
  int writing() const { return write_; }
  void close_writing() {
    if (write_ >= 0) ::close(write_);
    write_ = -1;
  }

  // Waits a moment for more, and keeps the last `bytes_max` of everything.
  void read_more(std::string& text, std::size_t bytes_max, std::chrono::milliseconds wait) {
    std::array<char, 4096> block{};
    pollfd ready{read_, POLLIN, 0};
    if (ended_) {
      std::this_thread::sleep_for(wait);
    } else if (::poll(&ready, 1, static_cast<int>(wait.count())) > 0) {
      for (;;) {
        const ssize_t count = ::read(read_, block.data(), block.size());
        if (count <= 0) {
          ended_ = count == 0;
          break;
        }
        text.append(block.data(), static_cast<std::size_t>(count));
        if (text.size() > 2 * bytes_max) text.erase(0, text.size() - bytes_max);
      }
    }
    if (text.size() > bytes_max) text.erase(0, text.size() - bytes_max);
  }

 private:
  int read_ = -1;
  int write_ = -1;
  bool ended_ = false;  // whoever wrote has closed it
};

struct Spawning {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};

  Spawning(const std::filesystem::path& folder, int output) {
    posix_spawn_file_actions_init(&files);
    if (!folder.empty()) posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    // A group of its own, so that it can be ended with all its children, and no signal is kept from
    // it.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  }
  ~Spawning() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
  }
  Spawning(const Spawning&) = delete;
  Spawning& operator=(const Spawning&) = delete;
};

// Whether the child has ended; `end` then says how.
bool has_ended(pid_t child, ChildEnd& end) {
  int status = 0;
  const pid_t ended = ::waitpid(child, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
  if (ended < 0) {  // somebody else waited for it
    end.how = ChildEnd::How::Unknown;
  } else if (WIFSIGNALED(status)) {
    end.how = ChildEnd::How::Signalled;
    end.number = WTERMSIG(status);
  } else {
    end.how = ChildEnd::How::Exited;
    end.number = WEXITSTATUS(status);
  }
  return true;
}

// A process that sits in a broken driver may not even die of SIGKILL: it is left behind then.
void end_group(pid_t child) {
  ChildEnd ignored;
  ::kill(-child, SIGTERM);
  auto patience = Clock::now() + kGraceOfStopped;
  for (bool killed = false; !has_ended(child, ignored);) {
    if (Clock::now() > patience) {
      if (killed) return;
      killed = true;
      patience = Clock::now() + kGraceOfStopped;
      ::kill(-child, SIGKILL);
    }
    std::this_thread::sleep_for(kLookAgainAfter);
  }
  ::kill(-child, SIGKILL);  // of the group that is left
}

}  // namespace

Result<ChildEnd> run_child(const std::vector<std::string>& command, const ChildOptions& options) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Pipe pipe;
  if (!pipe.made()) {
    return Error{ErrorCode::Internal, "cannot run " + command[0] + ": no file descriptor is left"};
  }
  pid_t child = 0;
  const Spawning spawning(options.folder, pipe.writing());
  const int failed = ::posix_spawnp(&child, arguments[0], &spawning.files, &spawning.attributes,
                                    arguments.data(), environ);
  pipe.close_writing();
  if (failed != 0) {
    return Error{ErrorCode::Internal,
                 "cannot run " + command[0] + ": " + std::generic_category().message(failed)};
  }
  ChildEnd end;
  const auto deadline = Clock::now() + options.limit;
  while (!has_ended(child, end)) {
    if (options.stop.stop_requested() || Clock::now() > deadline) {
      end_group(child);
      end.how = options.stop.stop_requested() ? ChildEnd::How::Stopped : ChildEnd::How::TimedOut;
      break;
    }
    pipe.read_more(end.output, options.output_bytes_max, kLookAgainAfter);
  }
  // What was on its way when it ended. Nobody waits for children of its own that still write.
  pipe.read_more(end.output, options.output_bytes_max, std::chrono::milliseconds(0));
  return end;
}

std::string signal_name(int number) {
  switch (number) {
    case SIGABRT:
      return "SIGABRT";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGKILL:
      return "SIGKILL";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGTERM:
      return "SIGTERM";
    default:
      return "signal " + std::to_string(number);
  }
}

}  // namespace textvec::hub
