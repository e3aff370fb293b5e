// In: the path of a file of the page. Out: a reply. See page.h.
#include "server/page.h"

#include <algorithm>

#include "server/status.h"

namespace textvec::server {
namespace {

// Nothing but this server's own files, and nothing written into a file: a text of a user that were
// taken for HTML could do nothing.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

// Weak tags count as strong ones here (RFC 9110, 13.1.2).
bool names_tag(std::string_view list, std::string_view tag) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    std::string_view one = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    const std::size_t begin = one.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    one = one.substr(begin, one.find_last_not_of(" \t") - begin + 1);
    if (one == "*") return true;
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == tag) return true;
  }
  return false;
}

}  // namespace

Reply page_reply(std::string_view path, std::string_view if_none_match) {
  const auto files = page_files();
  const auto file = std::find_if(files.begin(), files.end(),
                                 [path](const PageFile& one) { return one.path == path; });
  if (file == files.end()) return refusal_reply(Dialect::Tei, 404, "there is no such path here");
  Reply reply;
  reply.content_type = file->content_type;
  reply.fields = {
      {"content-security-policy", std::string(kPolicy)},
      {"x-content-type-options", "nosniff"},
      {"referrer-policy", "no-referrer"},
      {"cache-control", "no-cache"},  // kept, and asked for each time: a new textvec has a new page
      {"etag", std::string(file->tag)},
  };
  if (names_tag(if_none_match, file->tag)) {
    reply.status = 304;
    reply.content_type.clear();
  } else {
    reply.body = file->body;
  }
  return reply;
}

}  // namespace textvec::server
