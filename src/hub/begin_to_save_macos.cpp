// In: bytes of a file that were written. Out: nothing, because macOS has no such call. See
// begin_to_save.h.
#include "hub/begin_to_save.h"

namespace textvec::hub {

void begin_to_save(int /*descriptor*/, std::uint64_t /*begin*/, std::uint64_t /*bytes*/) {}

}  // namespace textvec::hub
