// In: bytes or files. Out: SHA-256 or SHA-1. See hash.h.
#include "model/hash.h"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <new>
#include <system_error>
#include <vector>

namespace textvec::model {

struct Hash::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();

  explicit State(const EVP_MD* algorithm) {
    // Both fail only for want of memory: every OpenSSL 3 has SHA-256 and SHA-1.
    if (context == nullptr || EVP_DigestInit_ex(context, algorithm, nullptr) != 1) {
      EVP_MD_CTX_free(context);
      throw std::bad_alloc();
    }
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Hash::Hash(HashKind kind)
    : state_(std::make_unique<State>(kind == HashKind::Sha256 ? EVP_sha256() : EVP_sha1())) {}
Hash::~Hash() = default;
Hash::Hash(Hash&&) noexcept = default;
Hash& Hash::operator=(Hash&&) noexcept = default;

void Hash::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

void Hash::update(std::string_view text) {
  update(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

std::string Hash::finish() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, digest.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

Result<std::string> sha256_file(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return Error{ErrorCode::NotFound, "no file " + file.string()};
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::NotFound, "cannot open " + file.string()};
  Sha256 hash;
  std::vector<char> block(std::size_t{1} << 20);
  while (stream) {
    stream.read(block.data(), static_cast<std::streamsize>(block.size()));
    hash.update(std::string_view(block.data(), static_cast<std::size_t>(stream.gcount())));
  }
  if (!stream.eof()) return Error{ErrorCode::Internal, "reading " + file.string() + " failed"};
  return hash.finish();
}

}  // namespace textvec::model
