// In: a file of scripts/make_reference.py. Out: what it holds, checked. See reference.h.
#include "reference.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/json.h"
#include "model/utf8.h"
#include "npz.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kTextsMax = 1'000'000;  // as in the script
constexpr std::size_t kAboutBytesMax = 1U << 20;
constexpr std::int64_t kFormat = 1;

using model::Json;

// Where each text's part begins, and where the last one ends.
Result<std::vector<std::size_t>> read_begins(NpzFile& file, const std::string& name,
                                             std::size_t texts, std::size_t values) {
  const auto array = file.read<std::int64_t>(name, 1);
  if (!array) return array.error();
  const auto& offsets = array->values;
  if (offsets.size() != texts + 1) {
    return file.bad(name + " has " + std::to_string(offsets.size()) + " values; " +
                    std::to_string(texts) + " texts need " + std::to_string(texts + 1));
  }
  if (offsets.front() != 0 || offsets.back() != static_cast<std::int64_t>(values)) {
    return file.bad(name + " goes from " + std::to_string(offsets.front()) + " to " +
                    std::to_string(offsets.back()) + "; it must go from 0 to " +
                    std::to_string(values));
  }
  const auto falls = std::adjacent_find(offsets.begin(), offsets.end(), std::greater<>());
  if (falls != offsets.end()) {
    return file.bad(name + " falls after text " + std::to_string(falls - offsets.begin()) +
                    ", from " + std::to_string(falls[0]) + " to " + std::to_string(falls[1]));
  }
  return std::vector<std::size_t>(offsets.begin(), offsets.end());
}

Result<void> read_vectors(NpzFile& file, Reference& reference) {
  auto array = file.read<float>("vectors", 2);
  if (!array) return array.error();
  const std::size_t texts = array->shape[0];
  reference.dimension = array->shape[1];
  if (texts == 0 || texts > kTextsMax || reference.dimension == 0) {
    return file.bad("vectors are " + std::to_string(texts) + " of " +
                    std::to_string(reference.dimension) + " components; 1 to " +
                    std::to_string(kTextsMax) + " of at least 1 are read");
  }
  reference.vectors = std::move(array->values);
  const auto wrong = std::find_if(reference.vectors.begin(), reference.vectors.end(),
                                  [](float value) { return !std::isfinite(value); });
  if (wrong == reference.vectors.end()) return {};
  const auto index = static_cast<std::size_t>(wrong - reference.vectors.begin());
  return file.bad("the vector of text " + std::to_string(index / reference.dimension) +
                  " holds a value that is not finite");
}

bool all_of_length_1(const Reference& reference, std::size_t texts) {
  constexpr double kOff = 1e-4;
  for (std::size_t text = 0; text < texts; ++text) {
    double sum = 0;
    for (const float value : reference.vector(text)) sum += double{value} * double{value};
    if (std::abs(std::sqrt(sum) - 1) > kOff) return false;
  }
  return true;
}

Result<void> read_ids_and_texts(NpzFile& file, Reference& reference) {
  const std::size_t texts = reference.vectors.size() / reference.dimension;
  // Without being asked, sentence-transformers normalises where the model has a module for it.
  reference.normalized = reference.settings.normalize || all_of_length_1(reference, texts);
  auto ids = file.read<std::int64_t>("ids", 1);
  if (!ids) return ids.error();
  auto ids_begins = read_begins(file, "offsets", texts, ids->values.size());
  if (!ids_begins) return ids_begins.error();
  auto characters = file.read<std::uint8_t>("texts", 1);
  if (!characters) return characters.error();
  auto text_begins = read_begins(file, "text_offsets", texts, characters->values.size());
  if (!text_begins) return text_begins.error();
  reference.ids = std::move(ids->values);
  reference.ids_begins = std::move(*ids_begins);
  reference.characters = std::move(characters->values);
  reference.text_begins = std::move(*text_begins);
  return {};
}

// A null in Python's settings means that nothing was asked for.
Result<std::optional<std::string>> optional_string(const model::JsonReader& settings,
                                                   std::string_view key) {
  if (settings.json().find(key) == nullptr) return std::optional<std::string>();
  auto value = settings.string(key);
  if (!value) return value.error();
  return std::optional<std::string>(std::move(*value));
}

Result<void> check_known(const NpzFile& file, const Json::Object& settings) {
  // How many threads made the reference does not bind us, and its vectors show their dimensions.
  constexpr std::string_view kKnown[] = {"normalize", "tokens_max",  "role",    "prompt_name",
                                         "pooling",   "instruction", "threads", "dimensions"};
  for (const auto& [key, value] : settings) {
    if (value.is(Json::Kind::Null) ||
        std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown)) {
      continue;
    }
    return Error{ErrorCode::Unsupported, file.path() + ": was made with the setting \"" +
                                             model::shortened(key) +
                                             "\", which textvec verify does not know"};
  }
  return {};
}

Result<ReferenceSettings> read_settings(const NpzFile& file, const Json& json) {
  constexpr std::size_t kTokensMax = std::size_t{1} << 30;
  if (const auto known = check_known(file, json.object()); !known) return known.error();
  const model::JsonReader reader(json, file.path() + ": about: settings");
  ReferenceSettings settings;
  const auto normalize = reader.boolean_or("normalize", true);
  if (!normalize) return normalize.error();
  settings.normalize = *normalize;
  if (json.find("tokens_max") != nullptr) {
    const auto tokens_max = reader.size("tokens_max", 1, kTokensMax);
    if (!tokens_max) return tokens_max.error();
    settings.tokens_max = *tokens_max;
  }
  for (auto [key, value] : {std::pair{"role", &settings.role},
                            {"prompt_name", &settings.prompt_name},
                            {"instruction", &settings.instruction},
                            {"pooling", &settings.pooling}}) {
    auto read = optional_string(reader, key);
    if (!read) return read.error();
    *value = std::move(*read);
  }
  return settings;
}

Result<void> read_about(NpzFile& file, Reference& reference) {
  const auto bytes = file.read<std::uint8_t>("about", 1);
  if (!bytes) return bytes.error();
  if (bytes->values.size() > kAboutBytesMax) {
    return file.bad("about has " + std::to_string(bytes->values.size()) + " bytes; the limit is " +
                    std::to_string(kAboutBytesMax));
  }
  const auto about = model::parse_json(std::string(bytes->values.begin(), bytes->values.end()),
                                       file.path() + ": about");
  if (!about) return file.bad(about.error().message);
  const Json* format = about->find("format");
  if (format == nullptr || !format->is(Json::Kind::Integer) || format->integer() != kFormat) {
    return file.bad("about does not give format " + std::to_string(kFormat) +
                    ", the one that is read");
  }
  const Json* settings = about->find("settings");
  if (settings == nullptr || !settings->is(Json::Kind::Object)) {
    return file.bad("about has no object \"settings\"");
  }
  auto read = read_settings(file, *settings);
  if (!read) {
    Error error = std::move(read).error();
    if (error.code == ErrorCode::BadModel) error.code = ErrorCode::InvalidArgument;
    return error;
  }
  reference.settings = std::move(*read);
  // What is only shown may be missing.
  const Json* versions = about->find("versions");
  if (versions != nullptr && versions->is(Json::Kind::Object)) {
    for (const auto& [name, version] : versions->object()) {
      if (version.is(Json::Kind::String)) reference.versions.emplace(name, version.string());
    }
  }
  const Json* hash = about->find("model_sha256");
  if (hash != nullptr && hash->is(Json::Kind::String)) reference.model_sha256 = hash->string();
  return {};
}

}  // namespace

std::string Reference::text(std::size_t index) const {
  const auto begin = characters.begin();
  return {begin + static_cast<std::ptrdiff_t>(text_begins[index]),
          begin + static_cast<std::ptrdiff_t>(text_begins[index + 1])};
}

std::span<const std::int64_t> Reference::ids_of(std::size_t index) const noexcept {
  return std::span(ids).subspan(ids_begins[index], ids_begins[index + 1] - ids_begins[index]);
}

std::span<const float> Reference::vector(std::size_t index) const noexcept {
  return std::span(vectors).subspan(index * dimension, dimension);
}

Result<Reference> read_reference(const std::string& path) {
  auto file = NpzFile::open(path);
  if (!file) return file.error();
  Reference reference;
  reference.file = path;
  for (const auto read : {read_about, read_vectors, read_ids_and_texts}) {
    if (auto done = read(*file, reference); !done) return std::move(done).error();
  }
  return reference;
}

}  // namespace textvec::cli
