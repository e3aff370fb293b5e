// In: the options of `textvec try-provider`. Out: the line that the parent reads, or no process any
// more: it is the provider that is on trial.
#include <unistd.h>

#include "commands.h"
#include "exit_code.h"
#include "output_file.h"
#include "provider_command.h"

namespace textvec::cli {
namespace {

// The parent ends a trial that takes too long. This is for the case that the parent is gone.
constexpr unsigned kSecondsAfterLimit = 10;

}  // namespace

int run_try_provider(const TryProviderCommand& command) {
  const LoadOptions& load = command.model.load;
  alarm(static_cast<unsigned>(load.trial_limit.count()) + kSecondsAfterLimit);
  const auto line = try_provider_here(model_name(command.model), load);
  if (!line) return fail(line.error());
  return print(*line);
}

}  // namespace textvec::cli
