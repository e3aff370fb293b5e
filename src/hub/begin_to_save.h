// In: bytes of a file that were written. Out: their way to the disk, begun where the system can do
// that without waiting, so that the disk works while the network does and the wait at the end is
// short. CMake picks begin_to_save_linux.cpp or begin_to_save_macos.cpp.
#pragma once

#include <cstdint>

namespace textvec::hub {

void begin_to_save(int descriptor, std::uint64_t begin, std::uint64_t bytes);

}  // namespace textvec::hub
