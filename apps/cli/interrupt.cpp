// In: signals. Out: a stop token, a call. See interrupt.h.
#include "interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

#include "exit_code.h"

namespace textvec::cli {
namespace {

// A shell starts background jobs with SIGINT ignored; such a job must stay deaf to Ctrl-C.
bool is_ignored(int signal) {
  struct sigaction action{};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Interrupt::Interrupt(bool takes_hangup) {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  if (!is_ignored(SIGINT)) sigaddset(&signals_, SIGINT);
  if (takes_hangup) sigaddset(&signals_, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals_, &mask_before_);
  // Without a pipe nobody is woken early, but a stop is still seen at the next window of texts.
  if (pipe(pipe_) != 0) pipe_[0] = pipe_[1] = -1;
  thread_ = std::thread([this] { wait_for_signals(); });
}

Interrupt::~Interrupt() {
  closing_ = true;
  // Blocked in every thread: it only wakes sigwait().
  pthread_kill(thread_.native_handle(), SIGTERM);  // NOLINT(bugprone-bad-signal-to-kill-thread)
  thread_.join();
  for (const int descriptor : pipe_) {
    if (descriptor >= 0) close(descriptor);
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void Interrupt::on_hangup(std::function<void()> reload) {
  const std::lock_guard lock(hangup_mutex_);
  on_hangup_ = std::move(reload);
}

void Interrupt::wait_for_signals() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0 || closing_) return;
    if (signal == SIGHUP) {
      const std::lock_guard lock(hangup_mutex_);
      if (on_hangup_ && !source_.stop_requested()) on_hangup_();
      continue;
    }
    if (source_.stop_requested()) _exit(kInterrupted);
    source_.request_stop();
    const char byte = 0;
    [[maybe_unused]] const auto written = write(pipe_[1], &byte, 1);
  }
}

}  // namespace textvec::cli
