// In: a model's name and revision. Out: its commit and files. See protocol.h.
#include "hub/protocol.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "hub/names.h"
#include "model/json.h"
#include "model/utf8.h"

namespace textvec::hub {
namespace {

using model::Json;
using model::JsonReader;

constexpr std::size_t kListBytesMax = std::size_t{32} << 20;
constexpr std::size_t kFilesMax = 100'000;
constexpr const char* kList = "the hub's list of files";
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 40;

std::string encoded(std::string_view revision) {
  std::string text;
  for (const char character : url_path(revision)) {
    text += character == '/' ? "%2F" : std::string(1, character);
  }
  return text;
}

Error bad_listing(const std::string& what) {
  return {ErrorCode::BadModel, std::string(kList) + ": " + what};
}

// `"1a2b..."`, `W/"1a2b..."`, or without quotes.
std::string hash_of_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return is_hash(etag) ? std::string(etag) : std::string();
}

// {"rfilename": "a", "size": 3, "blobId": "<SHA-1>", "lfs": {"sha256": "...", "size": 3}}
Result<RemoteFile> read_file(const Json& json) {
  const JsonReader reader(json, kList);
  auto path = reader.string("rfilename");
  if (!path) return path.error();
  RemoteFile file{std::move(*path), 0, {}};
  const Json* large = json.find("lfs");
  const JsonReader source(large != nullptr ? *large : json, kList);
  const auto hash = source.string_or(large != nullptr ? "sha256" : "blobId", "");
  if (!hash) return hash.error();
  const bool has_size = source.has("size");
  const auto bytes = source.size_or("size", 0, 0, kFileBytesMax);
  if (!bytes) return bytes.error();
  const std::size_t digits = large != nullptr ? 64 : 40;
  // Without the one the other is no use: then both are asked for again.
  if (has_size && hash->size() == digits && is_hash(*hash)) {
    file.bytes = *bytes;
    file.hash = *hash;
  }
  return file;
}

}  // namespace

const RemoteFile* find_file(const std::vector<RemoteFile>& files, std::string_view path) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [path](const RemoteFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

Result<RemoteModel> read_listing(std::string_view body) {
  const auto json = model::parse_json(body, "the hub's answer");
  if (!json) return json.error();
  const JsonReader reader(*json, "the hub's answer");
  RemoteModel found;
  const auto commit = reader.string("sha");
  if (!commit) return commit.error();
  if (!is_hash(*commit)) {
    return bad_listing("\"" + model::shortened(*commit) + "\" is no commit");
  }
  found.commit = *commit;
  const Json* siblings = json->find("siblings");
  if (siblings == nullptr || !siblings->is(Json::Kind::Array)) return bad_listing("there is none");
  if (siblings->array().size() > kFilesMax) {
    return bad_listing(std::to_string(siblings->array().size()) + " files; the limit is " +
                       std::to_string(kFilesMax));
  }
  for (const Json& sibling : siblings->array()) {
    auto file = read_file(sibling);
    if (!file) return file.error();
    if (is_relative_file(file->path)) found.files.push_back(std::move(*file));
  }
  return found;
}

Result<void> read_headers(const HttpAnswer& answer, RemoteFile& file) {
  const auto header = [&](const char* name) {
    const auto found = answer.headers.find(name);
    return found == answer.headers.end() ? std::string_view() : std::string_view(found->second);
  };
  const bool linked = !header("x-linked-etag").empty();
  file.hash = hash_of_etag(header(linked ? "x-linked-etag" : "etag"));
  std::string_view size = header("x-linked-size");
  if (size.empty() && answer.status < 300) size = header("content-length");
  const auto read = std::from_chars(size.data(), size.data() + size.size(), file.bytes);
  if (size.empty() || read.ec != std::errc() || read.ptr != size.data() + size.size() ||
      file.bytes > kFileBytesMax) {
    return bad_listing("no usable size of " + file.path);
  }
  if (file.hash.empty()) {
    return bad_listing("no hash of " + file.path +
                       ", so that nobody could tell whether it is right");
  }
  return {};
}

Hub::Hub(HttpClient& client, std::string endpoint, std::string name)
    : client_(client), endpoint_(std::move(endpoint)), name_(std::move(name)) {}

std::string Hub::url_of(const std::string& commit, const std::string& file) const {
  return endpoint_ + "/" + url_path(name_) + "/resolve/" + commit + "/" + url_path(file);
}

Result<RemoteModel> Hub::list(std::string_view revision) {
  const auto answer = client_.get(endpoint_ + "/api/models/" + url_path(name_) + "/revision/" +
                                      encoded(revision) + "?blobs=true",
                                  kListBytesMax);
  if (!answer) return answer.error();
  return read_listing(answer->body);
}

Result<void> Hub::complete(const std::string& commit, RemoteFile& file) {
  const auto answer = client_.head(url_of(commit, file.path));
  if (!answer) return answer.error();
  return read_headers(*answer, file);
}

Result<std::string> Hub::read(const std::string& commit, const std::string& file,
                              std::size_t bytes_max) {
  auto answer = client_.get(url_of(commit, file), bytes_max);
  if (!answer) return std::move(answer).error();
  return std::move(answer->body);
}

}  // namespace textvec::hub
