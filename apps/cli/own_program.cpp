// In: nothing. Out: the path of this program. See own_program.h.
#include "own_program.h"

#include <cstdint>
#include <filesystem>
#include <system_error>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

namespace textvec::cli {

std::string own_program() {
  std::error_code error;
#ifdef __APPLE__
  char path[4096];
  std::uint32_t size = sizeof path;
  if (_NSGetExecutablePath(path, &size) != 0) return {};
  return std::filesystem::canonical(path, error).string();
#else
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
#endif
}

}  // namespace textvec::cli
