// In: the caches. Out: which models they hold, whether their files are right, and fewer of them.
// See textvec/hub.h.
#pragma once

#include <vector>

#include "hub/names.h"
#include "textvec/hub.h"
#include "textvec/result.h"

namespace textvec::hub {

Result<std::vector<StoredModel>> stored_models();
Result<std::vector<FileCheck>> verify_files(const ModelName& name, const VerifyOptions& options);
Result<std::uint64_t> remove_model(const ModelName& name);

}  // namespace textvec::hub
