// In: bytes or files. Out: SHA-256 or SHA-1, as lower-case hexadecimal digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::model {

enum class HashKind : std::uint8_t { Sha256, Sha1 };

class Hash {
 public:
  explicit Hash(HashKind kind);
  ~Hash();
  Hash(Hash&&) noexcept;
  Hash& operator=(Hash&&) noexcept;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string finish();  // at most once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256 : public Hash {
 public:
  Sha256() : Hash(HashKind::Sha256) {}
};

// Errors: NotFound, Internal (read failed).
Result<std::string> sha256_file(const std::filesystem::path& file);

}  // namespace textvec::model
