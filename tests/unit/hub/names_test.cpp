// What may stand in paths and URLs: names of users and of servers, at each limit and with every
// trick that led out of a folder somewhere else.
#include "hub/names.h"

#include <gtest/gtest.h>

#include <string>

namespace textvec::hub {
namespace {

using namespace std::string_literals;

TEST(Names, RelativeFilesStayBelowTheirFolder) {
  for (const std::string& path :
       {"a"s, "config.json"s, "1_Pooling/config.json"s, "a/b/c/d/e/f/g/h"s, ".gitattributes"s,
        "a b"s, "caf\xC3\xA9"s, "console.json"s, "com"s, "com10"s, "nul1"s, "a..b"s,
        std::string(512, 'a')}) {
    EXPECT_TRUE(is_relative_file(path)) << path;
  }
  for (const std::string& path : {""s,
                                  "."s,
                                  ".."s,
                                  "../x"s,
                                  "a/../b"s,
                                  "a/.."s,
                                  "/x"s,
                                  "//x"s,
                                  "a//b"s,
                                  "a/"s,
                                  "./a"s,
                                  "a/./b"s,
                                  "C:\\x"s,
                                  "C:/x"s,
                                  "c:"s,
                                  "a\\b"s,
                                  "..\\x"s,
                                  "\\\\host\\x"s,
                                  "a:stream"s,
                                  "con"s,
                                  "CON"s,
                                  "con.json"s,
                                  "a/nul"s,
                                  "aux.tar.gz"s,
                                  "com1"s,
                                  "LPT9.txt"s,
                                  "prn/x"s,
                                  "a."s,
                                  "a "s,
                                  "a/b./c"s,
                                  "a\0b"s,
                                  "\0"s,
                                  "a\nb"s,
                                  "a\x7F"s,
                                  "a\x1B[31m"s,
                                  "a/b/c/d/e/f/g/h/i"s,
                                  std::string(513, 'a'),
                                  std::string(4096, '/')}) {
    EXPECT_FALSE(is_relative_file(path)) << path;
  }
}

TEST(Names, RepositoriesAndRevisions) {
  for (const std::string& name : {"a"s, "owner/name"s, "Qwen/Qwen3-Embedding-0.6B"s, "0.9_x-y"s,
                                  std::string(96, 'n') + "/" + std::string(96, 'n')}) {
    EXPECT_TRUE(is_repository(name)) << name;
    EXPECT_TRUE(is_revision(name)) << name;
  }
  for (const std::string& name : {""s,
                                  "/"s,
                                  "a/"s,
                                  "/a"s,
                                  "a//b"s,
                                  "."s,
                                  ".."s,
                                  "a/.."s,
                                  "../a"s,
                                  ".a"s,
                                  "a."s,
                                  "a b"s,
                                  "a\\b"s,
                                  "C:"s,
                                  "con"s,
                                  "a/NUL"s,
                                  "a\0"s,
                                  "a\n"s,
                                  "a%2e"s,
                                  "a?b"s,
                                  "a#b"s,
                                  "a@b"s,
                                  std::string(97, 'n'),
                                  std::string(4096, 'n')}) {
    EXPECT_FALSE(is_repository(name)) << name;
    EXPECT_FALSE(is_revision(name)) << name;
  }
  // Two parts of a repository are joined by "--" in the cache.
  EXPECT_FALSE(is_repository("a--b"));
  EXPECT_FALSE(is_repository("a--b/c"));
  EXPECT_FALSE(is_repository("a/b/c"));
  EXPECT_TRUE(is_revision("refs/pr/1"));
  EXPECT_TRUE(is_revision("1/2/3/4/5/6/7/8"));
  EXPECT_FALSE(is_revision("1/2/3/4/5/6/7/8/9"));
}

TEST(Names, Hashes) {
  EXPECT_TRUE(is_hash(std::string(40, 'a')));
  EXPECT_TRUE(is_hash(std::string(64, '0')));
  for (const std::string& text :
       {""s, std::string(39, 'a'), std::string(41, 'a'), std::string(63, 'a'), std::string(65, 'a'),
        std::string(40, 'A'), std::string(40, 'g'), "../" + std::string(37, 'a')}) {
    EXPECT_FALSE(is_hash(text)) << text;
  }
}

TEST(Names, ModelsOfAHub) {
  const auto plain = parse_model_name("owner/name");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->is_package);
  EXPECT_EQ(plain->name, "owner/name");
  EXPECT_EQ(plain->revision, "");
  EXPECT_EQ(plain->text(), "owner/name");
  const auto revised = parse_model_name("owner/name@refs/pr/1");
  ASSERT_TRUE(revised);
  EXPECT_EQ(revised->name, "owner/name");
  EXPECT_EQ(revised->revision, "refs/pr/1");
  for (const char* text : {"", "@main", "a@", "a@b@c", "a@../b", "../a@b", "https://host/a"}) {
    const auto name = parse_model_name(text);
    ASSERT_FALSE(name) << text;
    EXPECT_EQ(name.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(name.error().message.find("it takes"), std::string::npos);
  }
}

TEST(Names, Packages) {
  // PEP 503's own examples.
  for (const char* text :
       {"pypi:friendly-bard", "pypi:Friendly-Bard", "pypi:FRIENDLY-BARD", "pypi:friendly.bard",
        "pypi:friendly_bard", "pypi:friendly--bard", "pypi:FrIeNdLy-._.-bArD"}) {
    const auto name = parse_model_name(text);
    ASSERT_TRUE(name) << text << name.error().message;
    EXPECT_TRUE(name->is_package);
    EXPECT_EQ(name->name, "friendly-bard");
    EXPECT_EQ(name->text(), "pypi:friendly-bard");
  }
  EXPECT_EQ(parse_model_name("pypi:a==1!2.0.post1+cpu")->revision, "1!2.0.post1+cpu");
  // pip would take the first for an option, and some of the others for a URL or a path.
  for (const char* text :
       {"pypi:", "pypi:-r", "pypi:--index-url", "pypi:.", "pypi:../a", "pypi:a/b", "pypi:a b",
        "pypi:a[extra]", "pypi:a;x", "pypi:a@https://host/w.whl", "pypi:a==", "pypi:a==-1",
        "pypi:a==1 2", "pypi:a>=1", "pypi:a==1==2", "pypi:a==1,<2"}) {
    const auto name = parse_model_name(text);
    EXPECT_FALSE(name) << text;
  }
}

}  // namespace
}  // namespace textvec::hub
