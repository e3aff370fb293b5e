// The small tokenizers of tests/data/tokenizers, which scripts/make_tokenizer_golden.py makes.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/temporary_folder.h"
#include "tokens/tokenizer.h"

namespace textvec::tokens {

inline std::filesystem::path tokenizer_file(std::string_view name) {
  const char* data = std::getenv("TEXTVEC_TEST_DATA");
  if (data == nullptr) throw std::runtime_error("TEXTVEC_TEST_DATA names no folder");
  return std::filesystem::path(data) / "tokenizers" / name;
}

inline Tokenizer tiny(std::string_view name, bool lower_case = false) {
  return Tokenizer::load(tokenizer_file(std::string(name) + ".json"), {lower_case, {}}).value();
}

inline std::string tiny_json(std::string_view name) {
  return testing::read_file(tokenizer_file(std::string(name) + ".json"));
}

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("nothing to replace: " + std::string(from));
  return text.replace(at, from.size(), to);
}

inline std::string repeated(std::string_view part, std::size_t count) {
  std::string text;
  text.reserve(part.size() * count);
  for (std::size_t i = 0; i < count; ++i) text += part;
  return text;
}

}  // namespace textvec::tokens
