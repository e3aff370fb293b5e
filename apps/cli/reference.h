// In: a file of scripts/make_reference.py. Out: texts, and the ids and vectors that the Python
// libraries gave for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/result.h"

namespace textvec::cli {

// How the reference was made; each must hold for the vectors that are compared with it.
struct ReferenceSettings {
  bool normalize = true;
  std::optional<std::size_t> tokens_max{};  // none: the model's own
  std::optional<std::string> role{};
  std::optional<std::string> prompt_name{};
  std::optional<std::string> instruction{};  // the task in the query prompt
  std::optional<std::string> pooling{};      // of an ONNX file's, which has no prompts then
};

struct Reference {
  std::string file{};
  std::vector<float> vectors{};  // [texts, dimension], finite
  std::size_t dimension = 0;
  std::vector<std::int64_t> ids{};
  std::vector<std::size_t> ids_begins{};  // [texts + 1]
  std::vector<std::uint8_t> characters{};
  std::vector<std::size_t> text_begins{};  // [texts + 1]
  ReferenceSettings settings{};
  bool normalized = true;  // by the settings, or by the model's own Normalize module
  std::map<std::string, std::string> versions{};
  std::string model_sha256{};

  std::size_t texts() const noexcept { return text_begins.size() - 1; }
  std::string text(std::size_t index) const;
  std::span<const std::int64_t> ids_of(std::size_t index) const noexcept;
  std::span<const float> vector(std::size_t index) const noexcept;
};

// At most 1,000,000 texts, in a file of at most 4 GiB. Errors: InvalidArgument (what is wrong with
// the file), Unsupported (a setting that textvec does not know).
Result<Reference> read_reference(const std::string& path);

}  // namespace textvec::cli
