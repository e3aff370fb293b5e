// In: a program and its arguments. Out: how it ended, and the last of what it printed. No shell, a
// process group of its own, a time limit, bounded output.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "textvec/result.h"

namespace textvec::hub {

struct ChildOptions {
  std::chrono::seconds limit{60};
  std::size_t output_bytes_max = 64U << 10;  // what it printed before that is forgotten
  std::filesystem::path folder{};            // where it runs; empty: where we do
  std::stop_token stop{};
};

struct ChildEnd {
  enum class How : unsigned char {
    Exited,
    Signalled,
    TimedOut,  // it was ended, with all its children
    Stopped,   // the same, by the stop token
    Unknown,   // the host waited for it, or ignores the end of its children
  };
  How how = How::Unknown;
  int number = 0;        // the exit code or the signal
  std::string output{};  // the end of standard output and standard error, as they came
};

// The first word is the program: a path, or a name that is looked up in PATH. Blocks until the
// child has ended. Errors: Internal (it cannot be started).
Result<ChildEnd> run_child(const std::vector<std::string>& command, const ChildOptions& options);

// "SIGABRT", "signal 42".
std::string signal_name(int number);

}  // namespace textvec::hub
