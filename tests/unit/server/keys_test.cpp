// API keys: what a file may hold, and who may come in.
#include "server/keys.h"

#include <gtest/gtest.h>

namespace textvec::server {
namespace {

TEST(Keys, NoneLetsEverybodyIn) {
  EXPECT_TRUE(Keys().allow(""));
  EXPECT_TRUE(Keys().allow("Bearer x"));
}

TEST(Keys, LetsInWhoHasOne) {
  const auto keys = Keys::parse("# ours\n0123456789abcdef\r\n\nfedcba9876543210");
  ASSERT_TRUE(keys) << keys.error().message;
  EXPECT_TRUE(keys->allow("Bearer 0123456789abcdef"));
  EXPECT_TRUE(keys->allow("bearer fedcba9876543210"));
  for (const std::string wrong :
       {"", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0",
        "Bearer  0123456789abcdef", "Basic 0123456789abcdef", "0123456789abcdef",
        "Bearer 0123456789ABCDEF", "Bearer # ours", "Bearer 0123456789abcdef\r"}) {
    EXPECT_FALSE(keys->allow(wrong)) << wrong;
  }
  EXPECT_FALSE(keys->allow("Bearer " + std::string(1 << 20, 'a')));
}

TEST(Keys, LimitsAKey) {
  const auto works = [](std::size_t bytes) {
    return Keys::parse(std::string(bytes, 'a')).has_value();
  };
  EXPECT_FALSE(works(15));
  EXPECT_TRUE(works(16));
  EXPECT_TRUE(works(17));
  EXPECT_TRUE(works(1023));
  EXPECT_TRUE(works(1024));
  EXPECT_FALSE(works(1025));
}

TEST(Keys, LimitsTheirNumber) {
  const auto works = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "a-key-of-20-bytes" + std::to_string(1000 + i) + "\n";
    return Keys::parse(text).has_value();
  };
  EXPECT_TRUE(works(999));
  EXPECT_TRUE(works(1000));
  EXPECT_FALSE(works(1001));
}

TEST(Keys, AFileWithoutAKeyOpensNoDoor) {
  EXPECT_FALSE(Keys::parse(""));
  EXPECT_FALSE(Keys::parse("# 0123456789abcdef\n\n"));
  EXPECT_EQ(Keys::read("/nowhere/keys").error().code, ErrorCode::NotFound);
}

TEST(Keys, ABadLineIsNamedAndNotShown) {
  const auto keys = Keys::parse("0123456789abcdef\nsecret secret secret\n");
  ASSERT_FALSE(keys);
  EXPECT_NE(keys.error().message.find("line 2"), std::string::npos);
  EXPECT_EQ(keys.error().message.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace textvec::server
