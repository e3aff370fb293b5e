// In: arguments, or a file or pipe of lines (.txt, .jsonl). Out: the texts, one at a time, each
// with its place. What is wrong with one text stands in that text; the others go on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "interrupt.h"
#include "textvec/result.h"

namespace textvec::cli {

// Of one text. The engine is given the same limit; here it keeps a line that the engine would
// refuse out of memory.
inline constexpr std::size_t kTextBytesMax = std::size_t{1} << 20;
// Of one line of JSON: escapes make a text up to six times longer, and other fields need room.
inline constexpr std::size_t kJsonLineBytesMax = 8 * kTextBytesMax;

struct InputOptions {
  std::vector<std::string> texts{};     // the arguments; with none, `file` is read
  std::string file{};                   // "-" or empty: standard input
  std::optional<std::string> format{};  // "txt" or "jsonl"; none: what field and file name say
  std::optional<std::string> field{};   // of a JSON line; none: "text"
  std::size_t skip = 0;                 // texts at the beginning that are not given
};

struct InputText {
  std::size_t index = 0;        // counts every text of the input, skipped and bad ones too
  std::size_t line = 0;         // from 1; 0: an argument
  std::uint64_t bytes_end = 0;  // of the input, up to and with this text
  std::string content{};
  std::optional<Error> error{};  // why there is no content
};

class TextSource {
 public:
  virtual ~TextSource() = default;
  // Nothing: the end. Errors end the input: Cancelled, TimedOut, Internal (the system's words).
  virtual Result<std::optional<InputText>> next() = 0;
  // False when next() would wait for whoever writes the input.
  virtual bool ready() = 0;
  // Of the whole input; 0: unknown.
  virtual std::uint64_t bytes_total() const noexcept = 0;
  // Whether `path`, or standard output when it is empty, is the very file that is being read.
  virtual bool reads_from(const std::string& path) const = 0;
};

// Errors: InvalidArgument (options that contradict each other; a file that cannot be opened; a
// terminal where a text was forgotten). `interrupt` must outlive the source.
Result<std::unique_ptr<TextSource>> open_texts(const InputOptions& options,
                                               const Interrupt& interrupt,
                                               std::chrono::steady_clock::time_point deadline);

// InvalidArgument when the output would go into the file that is being read.
Result<void> check_not_the_input(const TextSource& source, const std::string& output);

// Texts that are read together and run together: at most 1,024 and about 1 MiB, fewer when the rest
// is not there yet. Empty: the end.
Result<std::vector<InputText>> read_window(TextSource& source);

// "text 3 (line 4)"
std::string place_of(const InputText& text);

}  // namespace textvec::cli
