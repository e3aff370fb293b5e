// In: a model, and where it might run. Out: what a provider is worth: `textvec try-provider`, which
// is the child of runtime/trial.h, and the table of `textvec doctor`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

// Whether the provider could be used with this model, and how it was found out: for doctor.
struct ProviderReport {
  Provider provider = Provider::Cpu;
  bool present = false;
  std::string where{};  // "built in", or the plugin's library
  bool tried = false;
  bool usable = false;  // and auto would take it, if it were the first
  std::string why{};    // not present, not tried, not right, or slower
  double provider_ms = 0;
  double cpu_ms = 0;
  std::vector<ProviderPlacement> placement{};
  std::uint64_t memory_bytes = 0;
};

// Of every provider but cpu, tried now where it was not before. A provider_library or
// provider_options count for the provider that `options` names. Errors: of the model.
Result<std::vector<ProviderReport>> report_providers(std::string_view model,
                                                     const LoadOptions& options);

// Runs some texts on the processor and then on the provider that `options` names, here, whatever
// becomes of this process. Returns the line that the parent reads. Errors: of the processor's run.
Result<std::string> try_provider_here(std::string_view model, LoadOptions options);

}  // namespace textvec
