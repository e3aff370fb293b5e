// In: vectors. Out: jsonl, npy or csv. See write_vectors.h.
#include "write_vectors.h"

#include <bit>
#include <string_view>
#include <utility>

#include "json_object.h"
#include "model/json.h"

namespace textvec::cli {
namespace {

void append_values(std::string& out, std::span<const float> values) {
  bool first = true;
  for (const float value : values) {
    if (!std::exchange(first, false)) out += ',';
    model::append_json_number(out, value);
  }
}

void append_chunks(std::string& out, std::span<const Chunk> chunks) {
  bool first = true;
  for (const Chunk& chunk : chunks) {
    out += std::exchange(first, false) ? "\"chunks\":[" : ",";
    out += "{\"begin\":" + std::to_string(chunk.begin_byte) +
           ",\"end\":" + std::to_string(chunk.end_byte) +
           ",\"tokens\":" + std::to_string(chunk.tokens) + "}";
  }
  if (!chunks.empty()) out += "],";
}

class FileWriter : public VectorWriter {
 public:
  explicit FileWriter(OutputFile file) : file_(std::move(file)) {}
  bool holds_failures() const noexcept override { return false; }
  Result<void> write_failure(std::size_t, const Error& error) override { return error; }
  Result<void> flush() override { return file_.flush(); }
  std::size_t texts_written() const noexcept override { return file_.records_written(); }

 protected:
  OutputFile file_;
};

class JsonlWriter final : public FileWriter {
 public:
  using FileWriter::FileWriter;

  Result<void> write(const VectorRow& row) override {
    std::string& out = file_.buffer();
    out += "{\"index\":" + std::to_string(row.index) + ",\"tokens\":" + std::to_string(row.tokens) +
           ",\"truncated\":" + (row.truncated ? "true" : "false") + ",";
    append_chunks(out, row.chunks);
    out += "\"embedding\":[";
    append_values(out, row.values);
    out += "]}\n";
    return file_.end_record();
  }

  bool holds_failures() const noexcept override { return true; }
  Result<void> write_failure(std::size_t index, const Error& error) override {
    file_.buffer() += failure_line(index, error);
    return file_.end_record();
  }
};

class CsvWriter final : public FileWriter {
 public:
  using FileWriter::FileWriter;

  Result<void> write(const VectorRow& row) override {
    append_values(file_.buffer(), row.values);
    file_.buffer() += '\n';
    return file_.end_record();
  }
};

// NumPy's format, version 1.0. The header has its final size from the start, so that the row count
// can be put right after every flush: whatever ends the run, numpy.load() reads what is there.
class NpyWriter final : public FileWriter {
 public:
  static_assert(std::endian::native == std::endian::little, "the file holds little-endian floats");

  NpyWriter(OutputFile file, std::size_t dimension)
      : FileWriter(std::move(file)), dimension_(dimension) {}

  Result<void> begin() {
    file_.buffer() = header(0);
    return file_.flush();
  }

  Result<void> write(const VectorRow& row) override {
    const auto bytes = std::as_bytes(row.values);
    file_.buffer().append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return file_.end_record();
  }

  Result<void> flush() override {
    auto flushed = file_.flush();
    auto counted = file_.overwrite(0, header(file_.records_written()));
    return flushed ? counted : flushed;
  }

 private:
  std::string header(std::size_t rows) const {
    constexpr std::size_t kHeaderBytes = 128;  // a multiple of 64; two numbers of 20 digits fit
    constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);
    std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                             std::to_string(rows) + ", " + std::to_string(dimension_) + "), }";
    dictionary.resize(kHeaderBytes - kMagic.size() - 2, ' ');
    dictionary.back() = '\n';
    return std::string(kMagic) + static_cast<char>(dictionary.size()) + '\0' + dictionary;
  }

  const std::size_t dimension_;
};

}  // namespace

Result<std::unique_ptr<VectorWriter>> make_writer(OutputFormat format, OutputFile file,
                                                  std::size_t dimension) {
  switch (format) {
    case OutputFormat::Jsonl:
      return std::unique_ptr<VectorWriter>(std::make_unique<JsonlWriter>(std::move(file)));
    case OutputFormat::Csv:
      return std::unique_ptr<VectorWriter>(std::make_unique<CsvWriter>(std::move(file)));
    case OutputFormat::Npy:
      break;
  }
  if (!file.can_overwrite()) {
    return Error{ErrorCode::InvalidArgument,
                 "npy needs a file whose header can be completed, and " + file.name() +
                     " is none; name one with --output"};
  }
  auto writer = std::make_unique<NpyWriter>(std::move(file), dimension);
  if (auto begun = writer->begin(); !begun) return std::move(begun).error();
  return std::unique_ptr<VectorWriter>(std::move(writer));
}

}  // namespace textvec::cli
