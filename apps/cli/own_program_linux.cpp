// In: nothing. Out: the path of this program, as Linux says it. See own_program.h.
#include "own_program.h"

#include <filesystem>
#include <system_error>

namespace textvec::cli {

std::string own_program() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

}  // namespace textvec::cli
