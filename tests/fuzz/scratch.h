// Out: the one temporary folder of a fuzzer that needs real files; in memory where Linux has such a
// folder, because every input writes files. It goes when the process exits.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <system_error>

#include "support/temporary_folder.h"

namespace textvec::fuzz {

inline const testing::TemporaryFolder& scratch() {
  static const testing::TemporaryFolder kFolder = [] {
    std::error_code error;
    // Not over the user's own choice.
    if (std::filesystem::is_directory("/dev/shm", error)) ::setenv("TMPDIR", "/dev/shm", 0);
    return testing::TemporaryFolder();
  }();
  return kFolder;
}

}  // namespace textvec::fuzz
