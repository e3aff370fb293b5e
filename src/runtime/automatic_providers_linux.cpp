// In: nothing. Out: what `auto` tries on Linux. See providers.h.
#include "runtime/providers.h"

namespace textvec::runtime {

std::vector<Provider> automatic_providers() { return {Provider::Cuda, Provider::OpenVino}; }

}  // namespace textvec::runtime
