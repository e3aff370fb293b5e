// In: a hub's answers; lines "name: value" are headers, what comes after the first line without a
// colon is a list of files. Property: an error that says something, or files that a disk may see,
// with hashes and sizes that can be checked, of which only harmless ones are chosen.
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "fuzz/check.h"
#include "fuzz/utf8.h"
#include "hub/names.h"
#include "hub/protocol.h"
#include "hub/variant.h"

namespace textvec::fuzz {
namespace {

constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 40;

// Takes the headers off `rest`.
hub::HttpAnswer take_headers(std::string_view& rest) {
  hub::HttpAnswer answer;
  answer.status = 200;
  while (true) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t colon = line.find(": ");
    if (line.size() == rest.size() || colon == std::string_view::npos) return answer;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    answer.headers[name] = line.substr(colon + 2);
    rest.remove_prefix(line.size() + 1);
  }
}

void check_bad_model(const Error& error) {
  check_error(error, {ErrorCode::BadModel});
  check(is_utf8(error.message), "a message is UTF-8");
}

void check_headers(const hub::HttpAnswer& answer) {
  hub::RemoteFile file{"model.safetensors", 0, {}};
  const auto read = hub::read_headers(answer, file);
  if (!read) return check_bad_model(read.error());
  check(hub::is_hash(file.hash), "a file has a hash");
  check(file.bytes <= kFileBytesMax, "a file's size has a limit");
}

void check_choice(const std::vector<hub::RemoteFile>& files) {
  const auto choice = hub::choose_files(files, "qwen3", {Variant::Auto, 0});
  if (!choice) {
    check_error(choice.error(), {ErrorCode::Unsupported, ErrorCode::BadModel});
    check(is_utf8(choice.error().message), "a message is UTF-8");
    return;
  }
  check(choice->variant != Variant::Auto, "a choice is one");
  for (const hub::RemoteFile& file : choice->files) {
    check(hub::find_file(files, file.path) != nullptr, "what is chosen is in the list");
    for (const char* ending : {".bin", ".pt", ".pkl", ".py", ".sh"}) {
      check(!file.path.ends_with(ending), "code and pickles are never chosen");
    }
  }
}

void check_listing(std::string_view body) {
  const auto model = hub::read_listing(body);
  if (!model) return check_bad_model(model.error());
  check(hub::is_hash(model->commit), "a commit is a hash");
  for (const hub::RemoteFile& file : model->files) {
    check(hub::is_relative_file(file.path), "a file stays in its folder");
    check(file.hash.empty() || hub::is_hash(file.hash), "a hash is a hash");
    check(!file.hash.empty() || file.bytes == 0, "a size comes with a hash");
    check(file.bytes <= kFileBytesMax, "a file's size has a limit");
  }
  check_choice(model->files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check_headers(take_headers(text));
  check_listing(text);
  return 0;
}

}  // namespace textvec::fuzz
