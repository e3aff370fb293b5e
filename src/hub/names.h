// In: what somebody calls a model, a revision or a file of one. Out: whether it can be used in
// paths and URLs as it is. Names come from users and from servers; neither is trusted.
#pragma once

#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::hub {

inline constexpr std::string_view kRevisionUsual = "main";

// One or two parts of [A-Za-z0-9._-], at most 96 bytes each, none beginning with a dot, none that
// Windows keeps for a device, no "--", which joins the parts in the Hugging Face cache.
bool is_repository(std::string_view name);

// A branch, a tag, "refs/pr/1" or a commit: parts like a repository's, at most 8.
bool is_revision(std::string_view revision);

// 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
bool is_hash(std::string_view text);

// A file below a folder: at most 8 parts and 512 bytes, none of the parts empty, ".", "..", or
// with a backslash, a colon, a control character, a dot or space at its end, or a device's name.
bool is_relative_file(std::string_view path);

struct ModelName {
  bool is_package = false;  // of a Python index: "pypi:NAME" or "pypi:NAME==VERSION"
  std::string name{};       // "owner/name"; of a package its normalised name
  std::string revision{};   // what stood behind "@", or the package's version; may be empty

  std::string text() const;  // without the revision: "owner/name", "pypi:name"
};

// "owner/name", "name", either with "@REVISION", "pypi:name" or "pypi:name==version". Errors:
// InvalidArgument, with the rule.
Result<ModelName> parse_model_name(std::string_view text);

}  // namespace textvec::hub
