// In: a model's name and revision. Out: its commit and files, in the words of the Hugging Face hub.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/download.h"
#include "textvec/result.h"

namespace textvec::hub {

struct RemoteFile {
  std::string path{};  // is_relative_file()
  std::uint64_t bytes = 0;
  std::string hash{};  // 64 digits: SHA-256 of the bytes; 40: git's SHA-1; empty: not said
};

// nullptr when it is not among them.
const RemoteFile* find_file(const std::vector<RemoteFile>& files, std::string_view path);

struct RemoteModel {
  std::string commit{};
  std::vector<RemoteFile> files{};
};

// A hub's list of a model's files, its JSON. Files whose names no disk should see are left out.
// Errors: BadModel.
Result<RemoteModel> read_listing(std::string_view body);
// Size and hash of a file from the headers of an answer about it. Errors: BadModel, when either is
// missing.
Result<void> read_headers(const HttpAnswer& answer, RemoteFile& file);

class Hub {
 public:
  Hub(HttpClient& client, std::string endpoint, std::string name);

  // Errors: as of HttpClient::get() and read_listing().
  Result<RemoteModel> list(std::string_view revision);
  // Asks for the size and the hash of a file that list() did not say. Errors: as before.
  Result<void> complete(const std::string& commit, RemoteFile& file);
  // A small file. Errors: as before.
  Result<std::string> read(const std::string& commit, const std::string& file,
                           std::size_t bytes_max);
  std::string url_of(const std::string& commit, const std::string& file) const;

 private:
  HttpClient& client_;
  const std::string endpoint_;
  const std::string name_;
};

}  // namespace textvec::hub
