// In: a model's files, and where the caller wants it to run. Out: a session there, or on the
// processor with the reason. Which graph goes to which provider is decided here.
#pragma once

#include <memory>
#include <vector>

#include "load.h"
#include "provider_command.h"
#include "runtime/session.h"
#include "textvec/embeddings.h"

namespace textvec {

// What of a LoadedModel depends on where it runs.
struct ModelSessions {
  std::unique_ptr<runtime::Session> session{};
  std::unique_ptr<runtime::Session> few_cores{};  // when several batches run at a time
  ModelInfo info{};
};

// Sets the sessions of `loaded`, and of its info what depends on where it runs: path, precision,
// graph, buckets, threads, workers, batch tokens, when they were tuned, provider, its note and its
// trial. A device has one worker and what was tuned for the processor does not count for it.
// Errors: Provider (when it is required and cannot be used), and whatever the processor's graph
// has.
Result<void> open_model_session(const ModelFiles& files, const LoadOptions& options, Trust trust,
                                ModelSessions& loaded);

// Whether nothing has to be tried, looked through or compiled before a session opens.
bool opens_at_once(const ModelFiles& files, const LoadOptions& options);

// As in provider_command.h.
std::vector<ProviderReport> report_providers(const ModelFiles& files, const LoadOptions& options);

}  // namespace textvec
