// In: an error. Out: the process's exit code. See exit_code.h.
#include "exit_code.h"

#include <cstdio>
#include <string>

#include "model/utf8.h"

namespace textvec::cli {
namespace {

void append_escaped(std::string& out, unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\x";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

// One line of UTF-8 without control characters, whatever models, texts and file names hold: such a
// character would steer the terminal.
std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t bytes = first < 0x80 ? 1 : model::character_bytes(text);
    const std::string_view character = text.substr(0, bytes);
    const bool is_control = bytes == 1 ? first < 0x20 || first == 0x7f
                                       : character >= "\xc2\x80" && character <= "\xc2\x9f";
    if (bytes == 0 || is_control) {
      append_escaped(out, first);
      text.remove_prefix(1);
    } else {
      out += character;
      text.remove_prefix(bytes);
    }
  }
  return out;
}

}  // namespace

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
  const std::string line = "textvec: " + printable(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

int fail(const Error& error) {
  say(error.message);
  return exit_code(error.code);
}

}  // namespace textvec::cli
