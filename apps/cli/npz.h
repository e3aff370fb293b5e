// In: a file that numpy.savez wrote. Out: its arrays, every size and offset checked against the
// file. A ZIP of stored entries, each an .npy file; compressed ones are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "textvec/result.h"

namespace textvec::cli {

template <class T>
struct NpzArray {
  std::vector<std::size_t> shape{};
  std::vector<T> values{};  // row-major
};

class NpzFile {
 public:
  // At most 4 GiB and 64 arrays. Errors: InvalidArgument (what is wrong with the file).
  static Result<NpzFile> open(const std::string& path);

  // The array `name` of `axes` axes; T is float, std::int64_t or std::uint8_t and must be the
  // array's type. Errors: InvalidArgument (absent, damaged, of another type or shape).
  template <class T>
  Result<NpzArray<T>> read(std::string_view name, std::size_t axes);

  const std::string& path() const noexcept { return path_; }
  // An error of this file, its path first.
  Error bad(const std::string& what) const;

 private:
  struct Entry {
    std::uint64_t local_header = 0;  // offset in the file
    std::uint64_t bytes = 0;
    std::uint32_t checksum = 0;
    std::uint16_t method = 0;
    std::uint16_t flags = 0;
  };
  struct Directory {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t entries = 0;
  };

  // Where the values of an array lie, and what is known of it by then.
  struct Place {
    std::vector<std::size_t> shape{};
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint32_t checksum_before = 0;  // of the header
    std::uint32_t checksum = 0;         // of header and values, as the directory says
  };

  NpzFile(std::string path, std::ifstream stream, std::uint64_t bytes)
      : path_(std::move(path)), stream_(std::move(stream)), bytes_(bytes) {}
  Result<void> read_at(std::uint64_t offset, char* out, std::uint64_t bytes);
  Result<std::string> read_at(std::uint64_t offset, std::uint64_t bytes);
  Result<Directory> find_directory();
  Result<Directory> find_directory_of_64_bits(std::uint64_t locator);
  Result<void> read_directory();
  Result<std::size_t> read_entry(std::string_view directory);
  Result<std::uint64_t> find_data(const std::string& name, const Entry& entry);
  Result<Place> find_array(std::string_view name, std::string_view type, std::size_t value_bytes,
                           std::size_t axes);

  std::string path_;
  std::ifstream stream_;
  std::uint64_t bytes_;
  std::map<std::string, Entry, std::less<>> entries_{};
};

}  // namespace textvec::cli
