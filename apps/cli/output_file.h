// In: records (a line, a row). Out: a file or standard output that holds whole records only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "textvec/result.h"

namespace textvec::cli {

class OutputFile {
 public:
  // Replaces the file; an empty path is standard output. Errors: Internal, with the system's words.
  static Result<OutputFile> open(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Append one whole record here, then call end_record(), which writes when much has gathered.
  std::string& buffer() noexcept { return buffer_; }
  Result<void> end_record();
  // Writes what has gathered. After an error a regular file is cut back to its last whole record.
  Result<void> flush();
  // Writes over what is there, `offset` bytes behind where the output began.
  Result<void> overwrite(std::uint64_t offset, std::string_view bytes);

  // Records that reached the file.
  std::size_t records_written() const noexcept { return records_written_; }
  // Whether overwrite() can work: not on a pipe, a terminal, or a file opened for appending.
  bool can_overwrite() const noexcept { return can_overwrite_; }
  const std::string& name() const noexcept { return name_; }

 private:
  OutputFile(int descriptor, std::string name);
  Error error(int number) const;
  void cut_back_to(std::uint64_t size) noexcept;

  int descriptor_;
  std::string name_;
  bool can_overwrite_ = false;
  bool regular_ = false;
  std::uint64_t begin_ = 0;    // where the output begins in the file
  std::uint64_t written_ = 0;  // bytes of whole records behind begin_
  std::string buffer_{};
  std::size_t records_gathered_ = 0;
  std::size_t records_written_ = 0;
};

// Writes a command's whole answer to standard output; returns the exit code.
int print(std::string_view text);

}  // namespace textvec::cli
