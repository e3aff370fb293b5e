// In: what somebody calls a model, a revision or a file of one. Out: whether it can be used. See
// names.h.
#include "hub/names.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "model/utf8.h"

namespace textvec::hub {
namespace {

constexpr std::size_t kPartBytesMax = 96;  // the hub's own limit
constexpr std::size_t kPartsMax = 8;
constexpr std::size_t kFileBytesMax = 512;
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kPackage = "pypi:";
constexpr std::string_view kAllowed =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& character : lowered) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + 32);
  }
  return lowered;
}

// Windows opens the device whatever stands behind the first dot: "con", "NUL.json". Refused
// everywhere, because a cache may lie on a disk that such a machine reads.
bool is_device(std::string_view part) {
  const std::string stem = lower(part.substr(0, part.find('.')));
  if (stem.size() == 4 && (stem.starts_with("com") || stem.starts_with("lpt"))) {
    return kDigits.find(stem.back()) != std::string_view::npos;
  }
  constexpr std::array<std::string_view, 4> kDevices{"con", "prn", "aux", "nul"};
  return std::find(kDevices.begin(), kDevices.end(), stem) != kDevices.end();
}

bool is_part(std::string_view part) {
  return !part.empty() && part.size() <= kPartBytesMax && part.front() != '.' &&
         part.back() != '.' && part.find_first_not_of(kAllowed) == std::string_view::npos &&
         !is_device(part);
}

bool is_file_part(std::string_view part) {
  if (part.empty() || part == "." || part == ".." || is_device(part)) return false;
  if (part.back() == '.' || part.back() == ' ') return false;
  return std::none_of(part.begin(), part.end(), [](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte < 0x20 || byte == 0x7f || character == '\\' || character == ':';
  });
}

// Whether `text` is 1 to `parts_max` parts between slashes, each of which `is_good`.
bool are_parts(std::string_view text, std::size_t parts_max, bool (*is_good)(std::string_view)) {
  for (std::size_t parts = 1; parts <= parts_max; ++parts) {
    const std::size_t slash = text.find('/');
    if (!is_good(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
  return false;
}

// As Python's packages are compared (PEP 503): lower case, runs of "-_." are one "-".
std::string normalised_package(std::string_view name) {
  std::string normalised;
  for (const char character : lower(name)) {
    const bool separates = character == '-' || character == '_' || character == '.';
    if (!separates) {
      normalised += character;
    } else if (!normalised.ends_with('-')) {
      normalised += '-';
    }
  }
  return normalised;
}

bool is_version(std::string_view version) {
  // Epochs, local versions and post releases: "1!2.0+cpu". None begins with a dash, which pip would
  // take for an option.
  return !version.empty() && version.size() <= kPartBytesMax &&
         kDigits.find(version.front()) != std::string_view::npos &&
         version.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
             "._+!-") == std::string_view::npos;
}

Error malformed(std::string_view text, const char* rule) {
  return {ErrorCode::InvalidArgument,
          "\"" + model::shortened(text) + "\" is no model's name: it takes " + rule};
}

Result<ModelName> parse_package(std::string_view text) {
  std::string_view name = text.substr(kPackage.size());
  ModelName package{true, {}, {}};
  if (const std::size_t equals = name.find("=="); equals != std::string_view::npos) {
    package.revision = name.substr(equals + 2);
    name = name.substr(0, equals);
    if (!is_version(package.revision)) {
      return malformed(text, "pypi:NAME==VERSION, the version beginning with a digit");
    }
  }
  const bool begins_well =
      !name.empty() && kAllowed.substr(0, 62).find(name.front()) != std::string_view::npos;
  if (!begins_well || !is_part(name)) {
    return malformed(text, "pypi:NAME, the name of [A-Za-z0-9._-] and at most 96 bytes");
  }
  package.name = normalised_package(name);
  return package;
}

}  // namespace

bool is_repository(std::string_view name) {
  return are_parts(name, 2, is_part) && name.find("--") == std::string_view::npos;
}

bool is_revision(std::string_view revision) { return are_parts(revision, kPartsMax, is_part); }

bool is_hash(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_relative_file(std::string_view path) {
  return path.size() <= kFileBytesMax && are_parts(path, kPartsMax, is_file_part);
}

std::string ModelName::text() const { return is_package ? std::string(kPackage) + name : name; }

Result<ModelName> parse_model_name(std::string_view text) {
  if (text.starts_with(kPackage)) return parse_package(text);
  ModelName name;
  const std::size_t at = text.find('@');
  if (at != std::string_view::npos) {
    name.revision = text.substr(at + 1);
    if (!is_revision(name.revision)) {
      return malformed(text, "NAME@REVISION, a branch, a tag or a commit");
    }
  }
  name.name = text.substr(0, at);
  if (!is_repository(name.name)) {
    return malformed(text,
                     "one or two parts of [A-Za-z0-9._-], at most 96 bytes each, none beginning or "
                     "ending with a dot, without \"--\" and no device of Windows");
  }
  return name;
}

}  // namespace textvec::hub
