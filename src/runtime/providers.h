// In: the provider that the caller wants. Out: the one that is used, and why.
#pragma once

#include <string>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::runtime {

struct ProviderChoice {
  Provider provider = Provider::Cpu;
  std::string note{};  // empty, or why it is not the wanted one
};

// Errors: Provider, when `required` and the wanted one cannot be used.
Result<ProviderChoice> choose_provider(Provider wanted, bool required);

}  // namespace textvec::runtime
