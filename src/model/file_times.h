// In: what stat() says of a file. Out: when its content and when anything of it changed. POSIX
// names the members otherwise than macOS: CMake picks file_times_linux.cpp or file_times_macos.cpp.
#pragma once

#include <sys/stat.h>

namespace textvec::model {

struct timespec modified_at(const struct stat& status);
struct timespec changed_at(const struct stat& status);

}  // namespace textvec::model
