// In: bytes of a file, in pieces and in any order. Out: the file, hashed on the way. See
// part_file.h.
#include "hub/part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <system_error>
#include <utility>

#include "hub/begin_to_save.h"

namespace textvec::hub {
namespace {

constexpr std::array<char, 8> kMagic{'t', 'v', 'p', 'a', 'r', 't', '0', '1'};
constexpr std::uint32_t kSaveEvery = std::uint32_t{1} << 18;  // bytes of a piece
constexpr std::uint64_t kSaveToDiskBytes = std::uint64_t{8} << 20;
constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

bool write_all(int descriptor, std::uint64_t offset, const void* data, std::size_t size) {
  const char* begin = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor, begin, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    begin += written;
    offset += static_cast<std::uint64_t>(written);
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

bool read_all(int descriptor, std::uint64_t offset, void* data, std::size_t size) {
  char* begin = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor, begin, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    begin += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

std::size_t pieces_of(std::uint64_t bytes) {
  return static_cast<std::size_t>((bytes + PartFile::kPieceBytes - 1) / PartFile::kPieceBytes);
}

// How much of each piece is there; nothing when the file is none of ours, of this length.
std::optional<std::vector<std::uint32_t>> read_tail(int descriptor, std::uint64_t bytes) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::vector<std::uint32_t> most(pieces_of(bytes), PartFile::kPieceBytes);
  if (const auto rest = bytes % PartFile::kPieceBytes; rest != 0) {
    most.back() = static_cast<std::uint32_t>(rest);
  }
  if (size == bytes && bytes > 0) return most;  // killed between the cut and the rename
  std::vector<std::uint32_t> done(most.size());
  const std::size_t tail_bytes = done.size() * sizeof(std::uint32_t);
  std::array<char, kMagic.size()> magic{};
  if (size != bytes + magic.size() + tail_bytes ||
      !read_all(descriptor, bytes, magic.data(), magic.size()) || magic != kMagic ||
      !read_all(descriptor, bytes + magic.size(), done.data(), tail_bytes)) {
    return std::nullopt;
  }
  for (std::size_t piece = 0; piece < done.size(); ++piece) {
    if (done[piece] > most[piece]) return std::nullopt;
  }
  return done;
}

}  // namespace

model::Hash new_hash(std::string_view wanted, std::uint64_t bytes) {
  model::Hash hash(wanted.size() == 64 ? model::HashKind::Sha256 : model::HashKind::Sha1);
  if (wanted.size() != 64) {
    hash.update("blob " + std::to_string(bytes));
    hash.update(std::string_view("\0", 1));
  }
  return hash;
}

Result<std::unique_ptr<PartFile>> PartFile::open(const std::filesystem::path& path,
                                                 std::uint64_t bytes, std::string hash) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor < 0) {
    return Error{ErrorCode::Internal,
                 "cannot write " + path.string() + ": " + std::generic_category().message(errno)};
  }
  std::unique_ptr<PartFile> file(new PartFile(path, descriptor, bytes, std::move(hash)));
  if (!file->take_up()) {
    if (auto begun = file->begin_anew(); !begun) return std::move(begun).error();
  }
  file->hasher_ = std::jthread(
      [part = file.get()](const std::stop_token& closing) { part->hash_along(closing); });
  return file;
}

PartFile::PartFile(std::filesystem::path path, int descriptor, std::uint64_t bytes,
                   std::string hash)
    : path_(std::move(path)),
      descriptor_(descriptor),
      bytes_(bytes),
      hash_(std::move(hash)),
      done_(pieces_of(bytes), 0),
      saved_(done_) {}

PartFile::~PartFile() {
  if (hasher_.joinable()) {
    hasher_.request_stop();
    hasher_.join();
  }
  if (bytes_done_ < bytes_) {
    for (std::size_t piece = 0; piece < done_.size(); ++piece) {
      if (done_[piece] != saved_[piece]) save(piece);
    }
  }
  ::close(descriptor_);
}

Error PartFile::error(const char* what) const {
  return {ErrorCode::Internal, std::string("cannot ") + what + " " + path_.string() + ": " +
                                   std::generic_category().message(errno)};
}

std::uint64_t PartFile::piece_bytes(std::size_t piece) const noexcept {
  return std::min(kPieceBytes, bytes_ - piece_begin(piece));
}

bool PartFile::take_up() {
  auto done = read_tail(descriptor_, bytes_);
  if (!done) return false;
  done_ = std::move(*done);
  saved_ = done_;
  bytes_done_ = std::accumulate(done_.begin(), done_.end(), std::uint64_t{0});
  return true;
}

std::uint64_t PartFile::bytes_in(const std::filesystem::path& path, std::uint64_t bytes) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return 0;
  const auto done = read_tail(descriptor, bytes);
  ::close(descriptor);
  return done ? std::accumulate(done->begin(), done->end(), std::uint64_t{0}) : 0;
}

Result<void> PartFile::begin_anew() {
  std::fill(done_.begin(), done_.end(), 0);
  saved_ = done_;
  bytes_done_ = 0;
  const std::size_t tail_bytes = done_.size() * sizeof(std::uint32_t);
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::ftruncate(descriptor_, static_cast<off_t>(bytes_ + kMagic.size() + tail_bytes)) != 0 ||
      !write_all(descriptor_, bytes_, kMagic.data(), kMagic.size())) {
    return error("write");
  }
  return {};
}

bool PartFile::save(std::size_t piece) const {
  return write_all(descriptor_, bytes_ + kMagic.size() + piece * sizeof(std::uint32_t),
                   &done_[piece], sizeof(std::uint32_t));
}

Result<void> PartFile::write(std::uint64_t offset, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const auto piece = static_cast<std::size_t>(offset / kPieceBytes);
    const std::uint64_t room = piece_begin(piece) + piece_bytes(piece) - offset;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size()));
    if (!write_all(descriptor_, offset, bytes.data(), size)) return error("write");
    {
      const std::lock_guard lock(mutex_);
      done_[piece] += static_cast<std::uint32_t>(size);
    }
    changed_.notify_all();
    bytes_done_ += size;
    if (done_[piece] - saved_[piece] >= kSaveEvery || done_[piece] == piece_bytes(piece)) {
      if (!save(piece)) return error("write");
      saved_[piece] = done_[piece];
    }
    offset += size;
    bytes = bytes.subspan(size);
  }
  return {};
}

Result<void> PartFile::restart() {
  const std::lock_guard lock(mutex_);
  ++generation_;
  found_.reset();
  changed_.notify_all();
  return begin_anew();
}

// How far the bytes from `from` on are there without a gap.
std::uint64_t PartFile::frontier(std::uint64_t from) const {
  while (from < bytes_) {
    const auto piece = static_cast<std::size_t>(from / kPieceBytes);
    const std::uint64_t end = piece_begin(piece) + done_[piece];
    if (end <= from) return from;
    from = end;
    if (done_[piece] < piece_bytes(piece)) return from;
  }
  return from;
}

// Follows the writers. What it reads was just written, and is still in memory.
void PartFile::hash_along(const std::stop_token& closing) {
  std::vector<char> block(static_cast<std::size_t>(std::min<std::uint64_t>(kBlockBytes, bytes_)));
  std::unique_lock lock(mutex_);
  while (!closing.stop_requested()) {
    const std::uint64_t generation = generation_;
    model::Hash hash = new_hash(hash_, bytes_);
    std::uint64_t hashed = 0;
    std::uint64_t begun_to_save = 0;
    while (hashed < bytes_) {
      const bool is_woken = changed_.wait(
          lock, closing, [&] { return generation_ != generation || frontier(hashed) > hashed; });
      if (!is_woken) return;
      if (generation_ != generation) break;
      const auto size = static_cast<std::size_t>(
          std::min<std::uint64_t>(block.size(), frontier(hashed) - hashed));
      lock.unlock();
      const bool is_read = read_all(descriptor_, hashed, block.data(), size);
      if (is_read) hash.update(std::string_view(block.data(), size));
      const std::uint64_t unsaved = hashed + size - begun_to_save;
      if (unsaved >= kSaveToDiskBytes) {
        begin_to_save(descriptor_, begun_to_save, unsaved);
        begun_to_save += unsaved;
      }
      lock.lock();
      if (!is_read && generation_ == generation) {
        failed_ = true;
        changed_.notify_all();
        return;
      }
      hashed += size;
    }
    if (generation_ != generation) continue;
    found_ = hash.finish();
    changed_.notify_all();
    if (!changed_.wait(lock, closing, [&] { return generation_ != generation; })) return;
  }
}

Result<bool> PartFile::is_right(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const bool is_woken = changed_.wait(lock, stop, [this] { return found_ || failed_; });
  if (!is_woken) return Error{ErrorCode::Cancelled, "stopped"};
  if (failed_) return Error{ErrorCode::Internal, "cannot read " + path_.string()};
  return *found_ == hash_;
}

Result<void> PartFile::move_to(const std::filesystem::path& place) {
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes_)) != 0) return error("cut");
  if (::fsync(descriptor_) != 0) return error("save");
  std::error_code failed;
  std::filesystem::rename(path_, place, failed);
  if (failed) {
    return Error{ErrorCode::Internal, "cannot write " + place.string() + ": " + failed.message()};
  }
  // The name, too, survives a power cut. Not every file system lets folders be synchronised.
  const int folder = ::open(place.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace textvec::hub
