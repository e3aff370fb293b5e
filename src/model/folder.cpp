// In: a folder. Out: what is in it. See folder.h.
#include "model/folder.h"

#include <algorithm>
#include <fstream>
#include <random>

namespace textvec::model {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  // Not a range-based loop, whose steps throw.
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code error;
  // It does not follow links to folders.
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) continue;
    files.push_back(entry->path().lexically_relative(folder).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

fs::path temporary_beside(const fs::path& path) {
  std::random_device random;
  fs::path temporary = path;
  temporary += ".tmp-" + std::to_string(random()) + "-" + std::to_string(random());
  return temporary;
}

std::error_code write_text(const fs::path& file, std::string_view text) {
  const fs::path temporary = temporary_beside(file);
  std::error_code error;
  {
    std::ofstream stream(temporary, std::ios::binary);
    stream << text;
    stream.close();
    if (!stream) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(temporary, file, error);
  std::error_code ignored;
  if (error) fs::remove(temporary, ignored);
  return error;
}

Error cannot_write(const fs::path& path, const std::error_code& error) {
  return {ErrorCode::Internal, "cannot write " + path.string() + ": " + error.message()};
}

}  // namespace textvec::model
