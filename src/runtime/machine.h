// In: nothing. Out: what this machine is, as far as it matters for inference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace textvec::runtime {

struct Machine {
  std::string system{};            // "Linux 6.1.0 x86_64"
  std::string processor{};         // as the system calls it; empty when it does not say
  unsigned cores_physical = 1;     // that this process may use, at least 1
  unsigned cores_logical = 1;      // that this process may use, at least 1
  std::uint64_t memory_bytes = 0;  // of the machine; 0: unknown
  std::vector<std::string> instruction_sets{};  // "avx2", "avx512vnni", "i8mm", ...
};

Machine describe_machine();

// The most memory that this process ever held at once, and what it holds now; 0: unknown.
std::uint64_t peak_memory_bytes();
std::uint64_t resident_memory_bytes();

// Gives what was freed in small pieces back to the system, which an allocator else keeps. Some
// milliseconds; for the end of what frees much.
void return_freed_memory();

}  // namespace textvec::runtime
