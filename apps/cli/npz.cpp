// In: a file that numpy.savez wrote. Out: its arrays. See npz.h.
#include "npz.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "model/utf8.h"

namespace textvec::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "the data are used as they lie there");

constexpr std::uint64_t kFileBytesMax = std::uint64_t{4} << 30;
constexpr std::uint64_t kDirectoryBytesMax = 1U << 20;
constexpr std::uint64_t kEntriesMax = 64;
constexpr std::size_t kHeaderBytesMax = 4096;  // of an .npy; numpy writes 128

// The records of a ZIP file (PKWARE's APPNOTE, 4.3): their marks, and their sizes without names.
constexpr std::uint32_t kLocalMark = 0x04034b50;
constexpr std::uint32_t kEntryMark = 0x02014b50;
constexpr std::uint32_t kEndMark = 0x06054b50;
constexpr std::uint32_t kEnd64Mark = 0x06064b50;
constexpr std::uint32_t kLocator64Mark = 0x07064b50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::uint16_t kExtra64 = 1;  // the extra field that holds numbers of 64 bits
constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kEncrypted = 1;  // a flag

// REQUIRES: offset + sizeof(T) <= bytes.size().
template <class T>
T number_at(std::string_view bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[offset + i])} << (8 * i);
  }
  return static_cast<T>(value);
}

constexpr auto kChecksums = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (0xedb88320U & (0U - (value & 1U)));
    table[byte] = value;
  }
  return table;
}();

// CRC-32, as ZIP has it; `before` is that of the bytes before these.
std::uint32_t checksum(const char* bytes, std::size_t count, std::uint32_t before) {
  std::uint32_t value = ~before;
  for (std::size_t i = 0; i < count; ++i) {
    value = kChecksums[(value ^ static_cast<unsigned char>(bytes[i])) & 0xffU] ^ (value >> 8);
  }
  return ~value;
}

// Fills in the numbers that stand as all ones in a directory's entry, in the order of the standard.
bool apply_extra_64(std::string_view extra, std::uint64_t& size, std::uint64_t& stored_size,
                    std::uint64_t& offset) {
  constexpr std::uint64_t kElsewhere = 0xffffffff;
  if (size != kElsewhere && stored_size != kElsewhere && offset != kElsewhere) return true;
  while (extra.size() >= 4) {
    const auto kind = number_at<std::uint16_t>(extra, 0);
    const std::size_t bytes = number_at<std::uint16_t>(extra, 2);
    if (bytes > extra.size() - 4) return false;
    std::string_view field = extra.substr(4, bytes);
    extra.remove_prefix(4 + bytes);
    if (kind != kExtra64) continue;
    for (std::uint64_t* number : {&size, &stored_size, &offset}) {
      if (*number != kElsewhere) continue;
      if (field.size() < 8) return false;
      *number = number_at<std::uint64_t>(field, 0);
      field.remove_prefix(8);
    }
    return true;
  }
  return false;
}

struct NpyHeader {
  std::string type{};
  std::vector<std::size_t> shape{};
  std::size_t bytes = 0;  // of all that stands before the data
};

bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

// "3, 384" or "23," or "", up to the bracket.
std::optional<std::vector<std::size_t>> take_shape(std::string_view& text) {
  std::vector<std::size_t> shape;
  while (!take(text, ")")) {
    std::size_t size = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), size);
    if (read.ec != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    shape.push_back(size);
    if (take(text, ", ")) continue;
    if (!take(text, shape.size() == 1 ? ",)" : ")")) return std::nullopt;
    break;
  }
  return shape;
}

// The one way in which numpy writes the dictionary; nothing else is taken.
std::optional<NpyHeader> parse_dictionary(std::string_view text) {
  NpyHeader header;
  if (!take(text, "{'descr': '")) return std::nullopt;
  const std::size_t quote = text.find('\'');
  if (quote == std::string_view::npos) return std::nullopt;
  header.type = text.substr(0, quote);
  text.remove_prefix(quote);
  if (!take(text, "', 'fortran_order': False, 'shape': (")) return std::nullopt;
  auto shape = take_shape(text);
  if (!shape || !take(text, ", }")) return std::nullopt;
  header.shape = std::move(*shape);
  if (!text.ends_with('\n') || text.find_first_not_of(' ') != text.size() - 1) return std::nullopt;
  return header;
}

std::optional<NpyHeader> parse_header(std::string_view begin) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  constexpr std::size_t kMagicBytes = 8;  // with the version's two
  constexpr std::size_t kLengthBytesMax = 4;
  if (begin.size() < kMagicBytes + kLengthBytesMax || !begin.starts_with(kMagic)) {
    return std::nullopt;
  }
  const char version = begin[6];
  if ((version != 1 && version != 2) || begin[7] != 0) return std::nullopt;
  const std::size_t dictionary_begin = kMagicBytes + (version == 1 ? 2 : 4);
  const std::size_t dictionary_bytes = version == 1 ? number_at<std::uint16_t>(begin, kMagicBytes)
                                                    : number_at<std::uint32_t>(begin, kMagicBytes);
  if (dictionary_bytes > begin.size() - dictionary_begin) return std::nullopt;
  auto header = parse_dictionary(begin.substr(dictionary_begin, dictionary_bytes));
  if (header) header->bytes = dictionary_begin + dictionary_bytes;
  return header;
}

template <class T>
constexpr std::string_view kTypeName{};
template <>
constexpr std::string_view kTypeName<float> = "<f4";
template <>
constexpr std::string_view kTypeName<std::int64_t> = "<i8";
template <>
constexpr std::string_view kTypeName<std::uint8_t> = "|u1";

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "[";
  for (const std::size_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

Error NpzFile::bad(const std::string& what) const {
  return {ErrorCode::InvalidArgument, path_ + ": " + what};
}

Result<NpzFile> NpzFile::open(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {  // a pipe would block
    return Error{ErrorCode::InvalidArgument, "no file " + path};
  }
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (error || !stream) return Error{ErrorCode::InvalidArgument, "cannot open " + path};
  NpzFile file(path, std::move(stream), bytes);
  if (bytes > kFileBytesMax) {
    return file.bad("has " + std::to_string(bytes) + " bytes; the limit is " +
                    std::to_string(kFileBytesMax));
  }
  if (auto read = file.read_directory(); !read) return std::move(read).error();
  return file;
}

Result<void> NpzFile::read_at(std::uint64_t offset, char* out, std::uint64_t bytes) {
  if (offset > bytes_ || bytes > bytes_ - offset) {
    return bad("is cut short or damaged: it has " + std::to_string(bytes_) + " bytes and claims " +
               std::to_string(bytes) + " from byte " + std::to_string(offset) + " on");
  }
  stream_.clear();
  stream_.seekg(static_cast<std::streamoff>(offset));
  stream_.read(out, static_cast<std::streamsize>(bytes));
  if (!stream_) return bad("cannot be read at byte " + std::to_string(offset));
  return {};
}

Result<std::string> NpzFile::read_at(std::uint64_t offset, std::uint64_t bytes) {
  // Whoever calls has checked `bytes` against a limit.
  std::string read(bytes, '\0');
  if (auto done = read_at(offset, read.data(), bytes); !done) return std::move(done).error();
  return read;
}

// The record that ends the file; numpy writes no comment behind it.
Result<NpzFile::Directory> NpzFile::find_directory() {
  if (bytes_ < kEndBytes)
    return bad("is no .npz file: it has " + std::to_string(bytes_) + " bytes");
  const std::uint64_t end = bytes_ - kEndBytes;
  const auto record = read_at(end, kEndBytes);
  if (!record) return record.error();
  if (number_at<std::uint32_t>(*record, 0) != kEndMark) {
    return bad("is no .npz file, or is cut short: no directory of a ZIP file ends it");
  }
  if (end >= kLocator64Bytes) {
    const auto locator = read_at(end - kLocator64Bytes, kLocator64Bytes);
    if (!locator) return locator.error();
    if (number_at<std::uint32_t>(*locator, 0) == kLocator64Mark) {
      return find_directory_of_64_bits(number_at<std::uint64_t>(*locator, 8));
    }
  }
  return Directory{number_at<std::uint32_t>(*record, 16), number_at<std::uint32_t>(*record, 12),
                   number_at<std::uint16_t>(*record, 10)};
}

Result<NpzFile::Directory> NpzFile::find_directory_of_64_bits(std::uint64_t offset) {
  const auto record = read_at(offset, kEnd64Bytes);
  if (!record) return record.error();
  if (number_at<std::uint32_t>(*record, 0) != kEnd64Mark) {
    return bad("names byte " + std::to_string(offset) +
               " as the end of its directory, and it is not");
  }
  return Directory{number_at<std::uint64_t>(*record, 48), number_at<std::uint64_t>(*record, 40),
                   number_at<std::uint64_t>(*record, 32)};
}

Result<void> NpzFile::read_directory() {
  const auto place = find_directory();
  if (!place) return place.error();
  if (place->bytes > kDirectoryBytesMax || place->entries > kEntriesMax) {
    return bad("has a directory of " + std::to_string(place->entries) + " arrays and " +
               std::to_string(place->bytes) + " bytes; the limit is " +
               std::to_string(kEntriesMax) + " arrays and " + std::to_string(kDirectoryBytesMax) +
               " bytes");
  }
  const auto directory = read_at(place->offset, place->bytes);
  if (!directory) return directory.error();
  std::string_view rest = *directory;
  for (std::uint64_t entry = 0; entry < place->entries; ++entry) {
    const auto bytes = read_entry(rest);
    if (!bytes) return bytes.error();
    rest.remove_prefix(*bytes);
  }
  if (!rest.empty()) return bad("has a directory that is longer than its entries");
  return {};
}

// The entry that `directory` begins with; returns its bytes.
Result<std::size_t> NpzFile::read_entry(std::string_view directory) {
  if (directory.size() < kEntryBytes || number_at<std::uint32_t>(directory, 0) != kEntryMark) {
    return bad("has a damaged directory");
  }
  const std::size_t name_bytes = number_at<std::uint16_t>(directory, 28);
  const std::size_t extra_bytes = number_at<std::uint16_t>(directory, 30);
  const std::size_t bytes =
      kEntryBytes + name_bytes + extra_bytes + number_at<std::uint16_t>(directory, 32);
  if (bytes > directory.size()) return bad("has a damaged directory");

  Entry entry;
  entry.flags = number_at<std::uint16_t>(directory, 8);
  entry.method = number_at<std::uint16_t>(directory, 10);
  entry.checksum = number_at<std::uint32_t>(directory, 16);
  std::uint64_t stored_size = number_at<std::uint32_t>(directory, 20);
  entry.bytes = number_at<std::uint32_t>(directory, 24);
  entry.local_header = number_at<std::uint32_t>(directory, 42);
  const std::string name(directory.substr(kEntryBytes, name_bytes));
  if (!apply_extra_64(directory.substr(kEntryBytes + name_bytes, extra_bytes), entry.bytes,
                      stored_size, entry.local_header)) {
    return bad("does not say how long \"" + model::shortened(name) + "\" is");
  }
  if (entry.method == kStored && stored_size != entry.bytes) {
    return bad("gives \"" + model::shortened(name) + "\" two sizes, " +
               std::to_string(stored_size) + " and " + std::to_string(entry.bytes));
  }
  if (!entries_.emplace(name, entry).second) {
    return bad("holds \"" + model::shortened(name) + "\" twice");
  }
  return bytes;
}

// Where the bytes of an entry begin: behind its local header, whose own sizes may be elsewhere.
Result<std::uint64_t> NpzFile::find_data(const std::string& name, const Entry& entry) {
  const auto header = read_at(entry.local_header, kLocalBytes);
  if (!header) return header.error();
  const std::size_t name_bytes = number_at<std::uint16_t>(*header, 26);
  const auto name_there = read_at(entry.local_header + kLocalBytes, name_bytes);
  if (!name_there) return name_there.error();
  if (number_at<std::uint32_t>(*header, 0) != kLocalMark || *name_there != name) {
    return bad("has no \"" + name + "\" at byte " + std::to_string(entry.local_header) +
               ", where its directory says");
  }
  return entry.local_header + kLocalBytes + name_bytes + number_at<std::uint16_t>(*header, 28);
}

Result<NpzFile::Place> NpzFile::find_array(std::string_view name, std::string_view type,
                                           std::size_t value_bytes, std::size_t axes) {
  const std::string file_name = std::string(name) + ".npy";
  const std::string subject = "array \"" + std::string(name) + "\"";
  const auto found = entries_.find(file_name);
  if (found == entries_.end()) return bad("holds no " + subject);
  const Entry& entry = found->second;
  if ((entry.flags & kEncrypted) != 0) return bad(subject + " is encrypted");
  if (entry.method != kStored) {
    return bad(subject + " is compressed; numpy.savez writes what is read here");
  }
  const auto data = find_data(file_name, entry);
  if (!data) return data.error();
  if (*data > bytes_ || entry.bytes > bytes_ - *data) {
    return bad(subject + " claims " + std::to_string(entry.bytes) + " bytes from byte " +
               std::to_string(*data) + " on; the file has " + std::to_string(bytes_));
  }
  const auto begin = read_at(*data, std::min<std::uint64_t>(entry.bytes, kHeaderBytesMax));
  if (!begin) return begin.error();
  auto header = parse_header(*begin);
  if (!header) {
    return bad(subject +
               " does not begin as numpy.savez writes it: .npy of version 1.0 or 2.0, a "
               "type, fortran_order False, a shape");
  }
  if (header->type != type) {
    return bad(subject + " is of type \"" + model::shortened(header->type) + "\"; it must be \"" +
               std::string(type) + "\"");
  }
  if (header->shape.size() != axes) {
    return bad(subject + " has " + std::to_string(header->shape.size()) + " axes; it must have " +
               std::to_string(axes));
  }
  const std::uint64_t bytes = entry.bytes - header->bytes;
  std::uint64_t wanted = value_bytes;
  bool fits = true;
  for (const std::size_t size : header->shape) {
    fits = fits && !__builtin_mul_overflow(wanted, size, &wanted);
  }
  if (!fits || wanted != bytes) {
    return bad(subject + " of shape " + shape_text(header->shape) + " does not fit its " +
               std::to_string(bytes) + " bytes");
  }
  return Place{std::move(header->shape), *data + header->bytes, bytes,
               checksum(begin->data(), header->bytes, 0), entry.checksum};
}

template <class T>
Result<NpzArray<T>> NpzFile::read(std::string_view name, std::size_t axes) {
  auto place = find_array(name, kTypeName<T>, sizeof(T), axes);
  if (!place) return std::move(place).error();
  NpzArray<T> array{std::move(place->shape), std::vector<T>(place->bytes / sizeof(T))};
  // Any object may be read and written as characters.
  auto* bytes = reinterpret_cast<char*>(array.values.data());
  if (auto done = read_at(place->offset, bytes, place->bytes); !done) {
    return std::move(done).error();
  }
  if (checksum(bytes, place->bytes, place->checksum_before) != place->checksum) {
    return bad("array \"" + std::string(name) + "\" is damaged: its checksum is another");
  }
  return array;
}

template Result<NpzArray<float>> NpzFile::read(std::string_view, std::size_t);
template Result<NpzArray<std::int64_t>> NpzFile::read(std::string_view, std::size_t);
template Result<NpzArray<std::uint8_t>> NpzFile::read(std::string_view, std::size_t);

}  // namespace textvec::cli
