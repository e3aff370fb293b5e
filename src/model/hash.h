// In: bytes or files. Out: SHA-256 as 64 lower-case hexadecimal digits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::model {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string finish();  // at most once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Errors: NotFound, Internal (read failed).
Result<std::string> sha256_file(const std::filesystem::path& file);

}  // namespace textvec::model
