// In: nothing. Out: what the operating system says of the processor and the memory, in its own
// words. For machine.cpp; CMake picks machine_linux.cpp or machine_macos.cpp, which also hold what
// machine.h says of this process's memory.
#pragma once

#include <cstdint>
#include <string>

namespace textvec::runtime {

struct Processor {
  std::string name{};              // empty: not said
  std::string features{};          // separated by spaces, as Linux calls them
  unsigned cores_physical = 0;     // 0: not said
  unsigned cores_allowed = 0;      // logical ones that this process may use; 0: not said
  std::uint64_t memory_bytes = 0;  // 0: not said
};

Processor describe_processor();

}  // namespace textvec::runtime
