// The files that CMake put in, and who has them already.
#include "server/page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace textvec::server {
namespace {

std::string field(const Reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.fields) {
    if (key == name) return value;
  }
  return {};
}

TEST(Page, FilesAreWholeAndToldApart) {
  std::set<std::string_view> tags;
  for (const PageFile& file : page_files()) {
    EXPECT_TRUE(file.path == "/" || file.path.starts_with("/page/")) << file.path;
    EXPECT_TRUE(file.body.ends_with('\n')) << file.path;
    EXPECT_EQ(file.tag.size(), 18U) << file.path;
    tags.insert(file.tag);
    const Reply reply = page_reply(file.path, {});
    EXPECT_EQ(reply.status, 200U);
    EXPECT_EQ(reply.body, file.body);
    EXPECT_EQ(reply.content_type, file.content_type);
    EXPECT_EQ(field(reply, "etag"), file.tag);
  }
  EXPECT_EQ(tags.size(), page_files().size());
  EXPECT_GE(tags.size(), 2U);
  EXPECT_EQ(page_reply("/page/none.js", {}).status, 404U);
  EXPECT_EQ(page_reply("", "*").status, 404U);
}

TEST(Page, IsNotSentToWhoHasIt) {
  const std::string tag(page_files().front().tag);
  const std::string_view path = page_files().front().path;
  for (const std::string& tags :
       {tag, "W/" + tag, "\"a\"," + tag, " \t" + tag + " , \"a\"", ",," + tag, std::string("*")}) {
    const Reply reply = page_reply(path, tags);
    EXPECT_EQ(reply.status, 304U) << tags;
    EXPECT_TRUE(reply.body.empty() && reply.content_type.empty());
    EXPECT_EQ(field(reply, "etag"), tag);
    EXPECT_FALSE(field(reply, "content-security-policy").empty());
  }
  for (const std::string& tags :
       {std::string(), std::string(","), std::string(" "), std::string("W/"), "w/" + tag, tag + "x",
        tag.substr(1), "\"a\" " + tag, std::string("**")}) {
    EXPECT_EQ(page_reply(path, tags).status, 200U) << tags;
  }
}

}  // namespace
}  // namespace textvec::server
