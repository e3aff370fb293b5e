// In: nothing. Out: the path of this program, as macOS says it. See own_program.h.
#include <mach-o/dyld.h>

#include <cstdint>
#include <filesystem>
#include <system_error>

#include "own_program.h"

namespace textvec::cli {

std::string own_program() {
  char path[4096];
  std::uint32_t size = sizeof path;
  if (_NSGetExecutablePath(path, &size) != 0) return {};
  std::error_code error;
  return std::filesystem::canonical(path, error).string();
}

}  // namespace textvec::cli
