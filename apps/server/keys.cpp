// In: API keys. Out: whether one may come in. See keys.h.
#include "server/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace textvec::server {
namespace {

constexpr std::size_t kKeysMax = 1000;
constexpr std::size_t kKeyBytesMin = 16;
constexpr std::size_t kKeyBytesMax = 1024;
constexpr std::size_t kFileBytesMax = std::size_t{2} << 20;

bool digest(std::string_view text, std::array<unsigned char, 32>& hash) {
  unsigned int bytes = 0;
  return EVP_Digest(text.data(), text.size(), hash.data(), &bytes, EVP_sha256(), nullptr) == 1 &&
         bytes == hash.size();
}

Error bad_line(std::size_t number, const std::string& what) {
  return {ErrorCode::InvalidArgument, "line " + std::to_string(number) + " of the keys " + what};
}

}  // namespace

Result<Keys> Keys::parse(std::string_view text) {
  Keys keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < kKeyBytesMin || line.size() > kKeyBytesMax) {
      return bad_line(number, "has " + std::to_string(line.size()) + " bytes; a key has " +
                                  std::to_string(kKeyBytesMin) + " to " +
                                  std::to_string(kKeyBytesMax));
    }
    if (!std::all_of(line.begin(), line.end(), [](char c) { return c > 0x20 && c < 0x7f; })) {
      return bad_line(number, "holds a blank, or what is no ASCII");
    }
    if (keys.hashes_.size() == kKeysMax) {
      return bad_line(number, "is one key too many; the limit is " + std::to_string(kKeysMax));
    }
    if (!digest(line, keys.hashes_.emplace_back())) {
      return Error{ErrorCode::Internal, "SHA-256 does not work here"};
    }
  }
  // An empty file must not open the door.
  if (keys.empty()) return Error{ErrorCode::InvalidArgument, "there is no key among the keys"};
  return keys;
}

Result<Keys> Keys::read(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::NotFound, "cannot open the keys " + file};
  std::string text(kFileBytesMax + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > kFileBytesMax) {
    return Error{ErrorCode::InvalidArgument, "the keys " + file + " have more than " +
                                                 std::to_string(kFileBytesMax) + " bytes"};
  }
  return parse(text);
}

bool Keys::allow(std::string_view authorization) const {
  if (hashes_.empty()) return true;
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return false;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    // The bit that tells "B" from "b"; a blank has it too.
    if ((static_cast<unsigned char>(authorization[i]) | 0x20U) !=
        static_cast<unsigned char>(kScheme[i])) {
      return false;
    }
  }
  Hash given{};
  if (!digest(authorization.substr(kScheme.size()), given)) return false;
  int found = 0;
  // All of them, whichever it was.
  for (const Hash& hash : hashes_) {
    found |= CRYPTO_memcmp(hash.data(), given.data(), hash.size()) == 0 ? 1 : 0;
  }
  return found != 0;
}

}  // namespace textvec::server
