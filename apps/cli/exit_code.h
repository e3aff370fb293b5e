// In: an error, or a line to say. Out: the process's exit code, and the line on standard error.
#pragma once

#include <string_view>

#include "textvec/result.h"

namespace textvec::cli {

// Other programs rely on these numbers; `textvec --help` lists them.
inline constexpr int kDone = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kCallersMistake = 2;
inline constexpr int kBadModel = 3;
inline constexpr int kRuntimeFailed = 4;
inline constexpr int kTooLate = 5;
inline constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells count

// The one table from error to exit code.
int exit_code(ErrorCode code) noexcept;

// One line on standard error, after the program's name.
void say(std::string_view message);
// Says what went wrong; returns its exit code.
int fail(const Error& error);

}  // namespace textvec::cli
