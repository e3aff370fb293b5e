// In: a folder. Out: what is in it; nothing throws, and what cannot be read is not there.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "textvec/result.h"

namespace textvec::model {

// All entries of a folder, sorted by name.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

// Below a folder, however deep: regular files, and links to such, relative and sorted.
std::vector<std::string> files_below(const std::filesystem::path& folder);

// A sibling that nobody else has. By chance, because process numbers repeat in containers that
// share a cache. Its name holds ".tmp-".
std::filesystem::path temporary_beside(const std::filesystem::path& path);

// Writes a small file in one rename: it is there whole or as it was before.
std::error_code write_text(const std::filesystem::path& file, std::string_view text);

// "cannot write PATH: why", as an Internal error.
Error cannot_write(const std::filesystem::path& path, const std::error_code& error);

}  // namespace textvec::model
