// In: vectors, in the order of their texts. Out: jsonl, npy or csv, in a file or on standard
// output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "output_file.h"
#include "textvec/embeddings.h"
#include "textvec/result.h"

namespace textvec::cli {

enum class OutputFormat : std::uint8_t { Jsonl, Npy, Csv };

struct VectorRow {
  std::size_t index = 0;  // of the text in the input
  std::uint32_t tokens = 0;
  bool truncated = false;
  std::span<const Chunk> chunks{};  // none: not asked for
  std::span<const float> values{};
};

// Every member's error is Internal: the output cannot be written.
class VectorWriter {
 public:
  virtual ~VectorWriter() = default;
  virtual Result<void> write(const VectorRow& row) = 0;
  // A text without a vector. Only when holds_failures().
  virtual Result<void> write_failure(std::size_t index, const Error& error) = 0;
  // Whether the format has a place for a text without a vector.
  virtual bool holds_failures() const noexcept = 0;
  // Afterwards the file is whole: every row so far, nothing half written.
  virtual Result<void> flush() = 0;
  // Texts whose rows or failures reached the file.
  virtual std::size_t texts_written() const noexcept = 0;
};

// Errors: Internal (the output cannot be written), InvalidArgument (npy to a pipe, whose row count
// could not be put into the header at the end).
Result<std::unique_ptr<VectorWriter>> make_writer(OutputFormat format, OutputFile file,
                                                  std::size_t dimension);

}  // namespace textvec::cli
