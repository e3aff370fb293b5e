// In: bytes of a file that were written. Out: their way to the disk, begun. See begin_to_save.h.
#include <fcntl.h>

#include "hub/begin_to_save.h"

namespace textvec::hub {

void begin_to_save(int descriptor, std::uint64_t begin, std::uint64_t bytes) {
  ::sync_file_range(descriptor, static_cast<off_t>(begin), static_cast<off_t>(bytes),
                    SYNC_FILE_RANGE_WRITE);
}

}  // namespace textvec::hub
