// In: an error. Out: the process's exit code. See exit_code.h.
#include "exit_code.h"

#include <cstdio>
#include <string>

namespace textvec::cli {

int exit_code(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::InvalidArgument:
    case ErrorCode::InputTooLong:
    case ErrorCode::Unsupported:
      return kCallersMistake;
    case ErrorCode::NotFound:
    case ErrorCode::BadModel:
      return kBadModel;
    case ErrorCode::Provider:
    case ErrorCode::NonFinite:
    case ErrorCode::Internal:
      return kRuntimeFailed;
    case ErrorCode::Overloaded:
    case ErrorCode::TimedOut:
      return kTooLate;
    case ErrorCode::Cancelled:
      return kInterrupted;
  }
  return kRuntimeFailed;
}

void say(std::string_view message) {
  // One write, so that lines of several processes on one terminal do not mix. Nothing can be done
  // when standard error itself is gone.
  const std::string line = "textvec: " + std::string(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

int fail(const Error& error) {
  say(error.message);
  return exit_code(error.code);
}

}  // namespace textvec::cli
