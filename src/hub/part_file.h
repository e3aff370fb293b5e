// In: bytes of a file, in pieces and in any order. Out: the file, its hash computed on the way, and
// after a kill what was there before.
//
// On the disk: the bytes, and behind them how many of each piece are there. Written after the bytes
// themselves, so that a killed process never claims more than it wrote; what a power cut does to
// that, the hash at the end finds. When the file is whole, the tail is cut off and it is renamed.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "model/hash.h"
#include "textvec/result.h"

namespace textvec::hub {

// For the bytes of a file of this length. What is `wanted` says by its own length what is computed:
// 64 digits SHA-256 of the bytes, 40 git's SHA-1 of a blob.
model::Hash new_hash(std::string_view wanted, std::uint64_t bytes);

class PartFile {
 public:
  static constexpr std::uint64_t kPieceBytes = std::uint64_t{16} << 20;

  // Takes up what an earlier process left in `path`. `hash` as for new_hash(). Errors: Internal.
  static Result<std::unique_ptr<PartFile>> open(const std::filesystem::path& path,
                                                std::uint64_t bytes, std::string hash);
  // How many of `bytes` an earlier process left there.
  static std::uint64_t bytes_in(const std::filesystem::path& path, std::uint64_t bytes);
  ~PartFile();  // the file stays, for the next process
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t bytes_done() const noexcept { return bytes_done_; }
  std::size_t pieces() const noexcept { return done_.size(); }
  std::uint64_t piece_begin(std::size_t piece) const noexcept { return piece * kPieceBytes; }
  std::uint64_t piece_bytes(std::size_t piece) const noexcept;
  std::uint64_t piece_done(std::size_t piece) const noexcept { return done_[piece]; }

  // `offset` is where the bytes of a piece end that are there. Errors: Internal (disk full).
  Result<void> write(std::uint64_t offset, std::span<const char> bytes);
  // Forgets every byte.
  Result<void> restart();

  // When bytes_done() == bytes(): whether they are those of the hash. Waits for the last of them
  // to be hashed. Errors: Internal (cannot be read), Cancelled.
  Result<bool> is_right(const std::stop_token& stop);
  // Safe on the disk, and then at its place, which no reader sees half filled. Errors: Internal.
  Result<void> move_to(const std::filesystem::path& place);

 private:
  PartFile(std::filesystem::path path, int descriptor, std::uint64_t bytes, std::string hash);
  Error error(const char* what) const;
  bool take_up();
  Result<void> begin_anew();
  bool save(std::size_t piece) const;
  std::uint64_t frontier(std::uint64_t from) const;
  void hash_along(const std::stop_token& closing);

  const std::filesystem::path path_;
  const int descriptor_;
  const std::uint64_t bytes_;
  const std::string hash_;
  std::vector<std::uint32_t> done_;   // of each piece; written with mutex_ held
  std::vector<std::uint32_t> saved_;  // what the disk says of done_
  std::uint64_t bytes_done_ = 0;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t generation_ = 0;        // counts restarts
  std::optional<std::string> found_{};  // the hash of this generation's bytes
  bool failed_ = false;
  std::jthread hasher_;  // last: it uses everything above
};

}  // namespace textvec::hub
