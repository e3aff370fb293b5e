// In: what stat() says of a file. Out: its times. See file_times.h.
#include "model/file_times.h"

namespace textvec::model {

struct timespec modified_at(const struct stat& status) { return status.st_mtimespec; }
struct timespec changed_at(const struct stat& status) { return status.st_ctimespec; }

}  // namespace textvec::model
