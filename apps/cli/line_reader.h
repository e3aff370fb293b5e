// In: a file, a pipe or a terminal. Out: its lines, never more than a limit of each in memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "interrupt.h"
#include "textvec/result.h"

namespace textvec::cli {

struct Line {
  std::string content{};  // without LF or CRLF; empty when the line is longer than the limit
  std::size_t bytes = 0;  // of the whole line
};

class LineReader {
 public:
  // "-" or an empty path is standard input. `interrupt` must outlive the reader.
  // Errors: InvalidArgument, with the system's words; a terminal that nobody asked for by "-".
  static Result<LineReader> open(const std::string& path, std::size_t line_bytes_max,
                                 const Interrupt& interrupt,
                                 std::chrono::steady_clock::time_point deadline);

  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // Nothing: the end. A UTF-8 byte order mark at the beginning is left out.
  // Errors: Cancelled (interrupted), TimedOut (the deadline), Internal (the system's words).
  Result<std::optional<Line>> next();
  // False when next() would wait.
  bool ready();

  std::size_t line_bytes_max() const noexcept { return line_bytes_max_; }
  // Of lines that next() gave, line ends included.
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  // What there is to read, when it is a regular file; else 0.
  std::uint64_t bytes_total() const noexcept { return bytes_total_; }
  // An empty path is standard output.
  bool reads_from(const std::string& path) const;

 private:
  LineReader(int descriptor, std::string name, std::size_t line_bytes_max,
             const Interrupt& interrupt, std::chrono::steady_clock::time_point deadline);

  std::string_view unread() const noexcept { return {buffer_.data() + begin_, end_ - begin_}; }
  Result<void> wait() const;
  // Fills the empty buffer; leaves it empty at the end of the input.
  Result<void> fill();
  Result<void> skip_byte_order_mark();

  int descriptor_;
  std::string name_;
  std::size_t line_bytes_max_;
  const Interrupt* interrupt_;
  std::chrono::steady_clock::time_point deadline_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool at_beginning_ = true;
  bool at_end_ = false;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_total_ = 0;
};

}  // namespace textvec::cli
