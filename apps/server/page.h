// In: the path of a file of the page, and what the client has. Out: the file, or that it has it.
// The page lies in page/; CMake puts it into the program.
#pragma once

#include <span>
#include <string_view>

#include "server/reply.h"

namespace textvec::server {

struct PageFile {
  std::string_view path;
  std::string_view content_type;
  std::string_view tag;  // of its bytes, in quotes
  std::string_view body;
};
std::span<const PageFile> page_files() noexcept;

// `if_none_match`: the client's field of this name; empty: it has none.
Reply page_reply(std::string_view path, std::string_view if_none_match);

}  // namespace textvec::server
