// In: the process's environment. Out: where models lie and where they come from. See environment.h.
#include "hub/environment.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <system_error>

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenBytesMax = 4096;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

bool is_true(const char* name) {
  std::string value = variable(name).value_or("");
  for (char& character : value) {
    if (character >= 'a' && character <= 'z') character = static_cast<char>(character - 32);
  }
  constexpr std::array<std::string_view, 4> kTrue{"1", "ON", "YES", "TRUE"};
  return std::find(kTrue.begin(), kTrue.end(), value) != kTrue.end();
}

std::optional<fs::path> hugging_face_home() {
  if (const auto home = variable("HF_HOME")) return fs::path(*home);
  if (const auto caches = variable("XDG_CACHE_HOME")) return fs::path(*caches) / "huggingface";
  if (const auto home = variable("HOME")) return fs::path(*home) / ".cache/huggingface";
  return std::nullopt;
}

std::string token_of_file() {
  std::optional<fs::path> file;
  if (const auto path = variable("HF_TOKEN_PATH")) {
    file = *path;
  } else if (const auto home = hugging_face_home()) {
    file = *home / "token";
  }
  std::error_code error;
  if (!file || !fs::is_regular_file(*file, error)) return {};
  std::ifstream stream(*file);
  std::string token(kTokenBytesMax + 1, '\0');
  stream.read(token.data(), static_cast<std::streamsize>(token.size()));
  token.resize(static_cast<std::size_t>(stream.gcount()));
  return token.substr(0, token.find_first_of("\r\n"));
}

}  // namespace

Result<fs::path> cache_folder() {
  if (const auto cache = variable("TEXTVEC_CACHE")) return fs::path(*cache);
  if (const auto caches = variable("XDG_CACHE_HOME")) return fs::path(*caches) / "textvec";
  if (const auto home = variable("HOME")) return fs::path(*home) / ".cache/textvec";
  return Error{ErrorCode::InvalidArgument,
               "no cache folder: none of TEXTVEC_CACHE, XDG_CACHE_HOME and HOME is set"};
}

Result<fs::path> hugging_face_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto cache = variable(name)) return fs::path(*cache);
  }
  if (const auto home = hugging_face_home()) return *home / "hub";
  return Error{ErrorCode::InvalidArgument,
               "no folder for downloads: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is "
               "set"};
}

bool is_offline() { return is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"); }

Endpoint endpoint() {
  const auto own = variable("HF_ENDPOINT");
  Endpoint endpoint{own.value_or("https://huggingface.co"), own.has_value()};
  while (endpoint.url.ends_with('/')) endpoint.url.pop_back();
  return endpoint;
}

Result<std::string> token() {
  std::string token = variable("HF_TOKEN").value_or("");
  if (token.empty() && !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) token = token_of_file();
  const bool is_printable = std::all_of(token.begin(), token.end(), [](char character) {
    return character > ' ' && character < 0x7f;
  });
  if (!is_printable || token.size() > kTokenBytesMax) {
    return Error{ErrorCode::InvalidArgument,
                 "the token of HF_TOKEN or of its file has a space, a control character or more "
                 "than 4096 bytes"};
  }
  return token;
}

}  // namespace textvec::hub
