// In: a model's name. Out: its files in the Hugging Face cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/names.h"
#include "textvec/hub.h"
#include "textvec/result.h"

namespace textvec::hub {

// `memory_bytes`: of the machine, for Variant::Auto; 0: unknown. See textvec::pull().
Result<PullPlan> pull_from_hub(const ModelName& name, const PullOptions& options,
                               std::uint64_t memory_bytes);

// Bytes that a file in this folder could take; the nearest parent that exists answers. The largest
// number when the system does not say.
std::uint64_t bytes_free(const std::filesystem::path& folder);

// "2.4 GiB needed, 1.1 GiB free in FOLDER", as an Internal error, when that is so.
Result<void> check_space(const PullPlan& plan);

}  // namespace textvec::hub
