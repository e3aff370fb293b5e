// In: a file, a pipe or a terminal. Out: its lines. See line_reader.h.
#include "line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace textvec::cli {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{64} << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string words_of(int number) { return std::generic_category().message(number); }

// For poll(): -1 waits for ever; a far deadline is looked at again after an hour.
int milliseconds_until(std::chrono::steady_clock::time_point deadline) {
  if (deadline == std::chrono::steady_clock::time_point::max()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<long long>(left.count(), 0, 3'600'000));
}

}  // namespace

Result<LineReader> LineReader::open(const std::string& path, std::size_t line_bytes_max,
                                    const Interrupt& interrupt,
                                    std::chrono::steady_clock::time_point deadline) {
  if (path.empty() && isatty(STDIN_FILENO) != 0) {
    return Error{ErrorCode::InvalidArgument,
                 "no text: give TEXT or --input FILE, or --input - to type lines"};
  }
  const bool standard_input = path.empty() || path == "-";
  const int descriptor = standard_input ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return Error{ErrorCode::InvalidArgument, "cannot read " + path + ": " + words_of(errno)};
  }
  LineReader reader(descriptor, standard_input ? "standard input" : path, line_bytes_max, interrupt,
                    deadline);
  struct stat status{};
  if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    return Error{ErrorCode::InvalidArgument, "cannot read " + reader.name_ + ": it is a folder"};
  }
  const off_t begin = lseek(descriptor, 0, SEEK_CUR);
  if (S_ISREG(status.st_mode) && begin >= 0 && begin < status.st_size) {
    reader.bytes_total_ = static_cast<std::uint64_t>(status.st_size - begin);
  }
  return reader;
}

LineReader::LineReader(int descriptor, std::string name, std::size_t line_bytes_max,
                       const Interrupt& interrupt, std::chrono::steady_clock::time_point deadline)
    : descriptor_(descriptor),
      name_(std::move(name)),
      line_bytes_max_(line_bytes_max),
      interrupt_(&interrupt),
      deadline_(deadline),
      buffer_(kBufferBytes) {}

LineReader::LineReader(LineReader&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      name_(std::move(other.name_)),
      line_bytes_max_(other.line_bytes_max_),
      interrupt_(other.interrupt_),
      deadline_(other.deadline_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      end_(other.end_),
      at_beginning_(other.at_beginning_),
      at_end_(other.at_end_),
      bytes_read_(other.bytes_read_),
      bytes_total_(other.bytes_total_) {}

LineReader::~LineReader() {
  if (descriptor_ > STDERR_FILENO) close(descriptor_);
}

Result<std::optional<Line>> LineReader::next() {
  if (std::exchange(at_beginning_, false)) {
    if (auto skipped = skip_byte_order_mark(); !skipped) return std::move(skipped).error();
  }
  Line line;
  std::size_t bytes_taken = 0;  // LF included
  bool ended = false;
  bool ends_with_return = false;
  while (!ended) {
    if (begin_ == end_) {
      if (auto filled = fill(); !filled) return std::move(filled).error();
      if (begin_ == end_) break;
    }
    const std::string_view piece = unread();
    const std::size_t length = std::min(piece.find('\n'), piece.size());
    ended = length < piece.size();
    begin_ += length + (ended ? 1 : 0);
    bytes_taken += length + (ended ? 1 : 0);
    line.bytes += length;
    if (length > 0) ends_with_return = piece[length - 1] == '\r';
    // One byte more than the limit: it may be the CR of a CRLF.
    const std::size_t room = line_bytes_max_ + 1 - line.content.size();
    line.content.append(piece.substr(0, std::min(length, room)));
  }
  if (bytes_taken == 0) return std::optional<Line>();
  bytes_read_ += bytes_taken;
  if (ends_with_return) line.content.resize(std::min(line.content.size(), --line.bytes));
  if (line.bytes > line_bytes_max_) line.content = std::string();
  return std::optional(std::move(line));
}

bool LineReader::ready() {
  if (at_end_ || unread().find('\n') != std::string_view::npos) return true;
  pollfd input{descriptor_, POLLIN, 0};
  return poll(&input, 1, 0) != 0;  // an error is ready, too: next() says what it is
}

Result<void> LineReader::wait() const {
  for (;;) {
    pollfd inputs[] = {{descriptor_, POLLIN, 0}, {interrupt_->wake_descriptor(), POLLIN, 0}};
    const int count = poll(inputs, 2, milliseconds_until(deadline_));
    if (interrupt_->token().stop_requested()) return Error{ErrorCode::Cancelled, "interrupted"};
    if (std::chrono::steady_clock::now() > deadline_) {
      return Error{ErrorCode::TimedOut, "the time limit passed while reading " + name_};
    }
    // A descriptor that poll() cannot wait for is left to read().
    if (count > 0 || (count < 0 && errno != EINTR)) return {};
  }
}

Result<void> LineReader::fill() {
  if (at_end_) return {};  // a terminal would ask for a second end
  if (auto waited = wait(); !waited) return waited;
  ssize_t count = 0;
  do {
    count = ::read(descriptor_, buffer_.data(), buffer_.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    return Error{ErrorCode::Internal, "cannot read " + name_ + ": " + words_of(errno)};
  }
  begin_ = 0;
  end_ = static_cast<std::size_t>(count);
  at_end_ = count == 0;
  return {};
}

Result<void> LineReader::skip_byte_order_mark() {
  if (auto filled = fill(); !filled) return filled;
  // A pipe may give the mark byte by byte, but nobody writes it so.
  if (unread().starts_with(kByteOrderMark)) {
    begin_ += kByteOrderMark.size();
    bytes_read_ += kByteOrderMark.size();
  }
  return {};
}

bool LineReader::reads_from(const std::string& path) const {
  struct stat mine{};
  struct stat other{};
  const int known = path.empty() ? fstat(STDOUT_FILENO, &other) : stat(path.c_str(), &other);
  return known == 0 && fstat(descriptor_, &mine) == 0 && S_ISREG(mine.st_mode) &&
         mine.st_dev == other.st_dev && mine.st_ino == other.st_ino;
}

}  // namespace textvec::cli
