// In: whether a promise was kept. Out: nothing, or the promise on stderr and an abort, which
// libFuzzer and the replay both take for a finding.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::fuzz {

inline void check(bool kept, std::string_view promise) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

// What every error is: one of the codes that the function names, and a message to print. The
// longest value that a message may show whole is a model's name, of 4096 bytes.
inline void check_error(const Error& error, std::initializer_list<ErrorCode> codes) {
  constexpr std::size_t kMessageBytesMax = 5000;
  bool known = false;
  for (const ErrorCode code : codes) known = known || error.code == code;
  check(known, "an error's code is one that the header names: " + error.message);
  check(!error.message.empty(), "an error says something");
  check(error.message.size() <= kMessageBytesMax, "an error's message has a limit");
}

}  // namespace textvec::fuzz
