// In: the provider that the caller wants. Out: the one that is used, and why. See providers.h.
#include "runtime/providers.h"

#include "textvec/embeddings.h"

namespace textvec::runtime {

Result<ProviderChoice> choose_provider(Provider wanted, bool required) {
  if (wanted == Provider::Auto || wanted == Provider::Cpu) return ProviderChoice{};
  const std::string name(to_string(wanted));
  if (required) {
    return Error{ErrorCode::Provider,
                 "provider " + name + " is not in this version of textvec, which runs on cpu"};
  }
  return ProviderChoice{Provider::Cpu,
                        "provider " + name + " is not in this version of textvec; cpu is used"};
}

}  // namespace textvec::runtime
