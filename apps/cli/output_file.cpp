// In: records. Out: a file or standard output that holds whole records only. See output_file.h.
#include "output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "exit_code.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kGatheredBytesMax = std::size_t{1} << 20;

// write() may take less than it is given, and a signal may cut it short.
int write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return 0;
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  if (path.empty()) return OutputFile(STDOUT_FILENO, "standard output");
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  OutputFile file(descriptor, path);
  if (descriptor < 0) return file.error(errno);
  return file;
}

OutputFile::OutputFile(int descriptor, std::string name)
    : descriptor_(descriptor), name_(std::move(name)) {
  if (descriptor < 0) return;
  struct stat status{};
  regular_ = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const int flags = fcntl(descriptor, F_GETFL);
  const off_t begin = lseek(descriptor, 0, SEEK_CUR);
  can_overwrite_ = begin >= 0 && flags >= 0 && (flags & O_APPEND) == 0;
  if (can_overwrite_) begin_ = static_cast<std::uint64_t>(begin);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      name_(std::move(other.name_)),
      can_overwrite_(other.can_overwrite_),
      regular_(other.regular_),
      begin_(other.begin_),
      written_(other.written_),
      buffer_(std::move(other.buffer_)),
      records_gathered_(other.records_gathered_),
      records_written_(other.records_written_) {}

OutputFile::~OutputFile() {
  if (descriptor_ > STDERR_FILENO) close(descriptor_);
}

Error OutputFile::error(int number) const {
  return {ErrorCode::Internal,
          "cannot write to " + name_ + ": " + std::generic_category().message(number)};
}

Result<void> OutputFile::end_record() {
  ++records_gathered_;
  if (buffer_.size() < kGatheredBytesMax) return {};
  return flush();
}

Result<void> OutputFile::flush() {
  if (const int number = write_all(descriptor_, buffer_); number != 0) {
    cut_back_to(begin_ + written_);
    return error(number);
  }
  written_ += buffer_.size();
  records_written_ += std::exchange(records_gathered_, 0);
  buffer_.clear();
  return {};
}

Result<void> OutputFile::overwrite(std::uint64_t offset, std::string_view bytes) {
  const auto count =
      pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(begin_ + offset));
  if (count < 0) return error(errno);
  if (static_cast<std::size_t>(count) != bytes.size()) return error(EIO);
  return {};
}

void OutputFile::cut_back_to(std::uint64_t size) noexcept {
  // Not when appending: the end of the file may be somebody else's by now.
  if (!regular_ || !can_overwrite_) return;
  // A file that cannot even be cut shows its own damage; the error at hand is the one to report.
  [[maybe_unused]] const int result = ftruncate(descriptor_, static_cast<off_t>(size));
}

int print(std::string_view text) {
  auto file = OutputFile::open("");
  if (!file) return fail(file.error());
  file->buffer() = text;
  if (const auto written = file->flush(); !written) return fail(written.error());
  return kDone;
}

}  // namespace textvec::cli
