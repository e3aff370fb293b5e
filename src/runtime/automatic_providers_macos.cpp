// In: nothing. Out: what `auto` tries on macOS. See providers.h.
#include "runtime/providers.h"

namespace textvec::runtime {

std::vector<Provider> automatic_providers() { return {Provider::CoreMl, Provider::WebGpu}; }

}  // namespace textvec::runtime
