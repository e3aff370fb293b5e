// In: the texts that got no result. Out: a line each on standard error, and the run's exit code.
#pragma once

#include <cstddef>
#include <string>

#include "exit_code.h"
#include "read_texts.h"

namespace textvec::cli {

class BadTexts {
 public:
  void add(const InputText& text, const Error& error) {
    if (count_++ == 0) exit_code_ = exit_code(error.code);
    if (count_ <= kSaidMax) say(place_of(text) + ": " + error.message);
  }

  // Of the first bad text; kDone when there was none. Says how many were not named.
  int finish() const {
    if (count_ > kSaidMax) {
      say(std::to_string(count_ - kSaidMax) + " more bad texts; the output names each");
    }
    return exit_code_;
  }

 private:
  // A file that is no text at all must not fill the terminal.
  static constexpr std::size_t kSaidMax = 100;

  std::size_t count_ = 0;
  int exit_code_ = kDone;
};

}  // namespace textvec::cli
