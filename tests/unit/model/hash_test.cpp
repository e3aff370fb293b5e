// SHA-256 against the examples of FIPS 180-4, in one piece and in many.
#include "model/hash.h"

#include <gtest/gtest.h>

#include <string>

#include "support/temporary_folder.h"

namespace textvec::model {
namespace {

constexpr const char* kOfNothing =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kOfAMillionTimes =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, GivesThePublishedValues) {
  EXPECT_EQ(Sha256().finish(), kOfNothing);
  Sha256 abc;
  abc.update("abc");
  EXPECT_EQ(abc.finish(), kOfAbc);
}

TEST(Sha256, DoesNotDependOnThePieces) {
  Sha256 hash;
  const std::string block(997, 'a');
  std::size_t left = 1'000'000;
  while (left > 0) {
    const std::size_t size = std::min(left, block.size());
    hash.update(std::string_view(block).substr(0, size));
    left -= size;
  }
  Sha256 moved = std::move(hash);
  EXPECT_EQ(moved.finish(), kOfAMillionTimes);
}

TEST(Sha256, ReadsWholeFiles) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "million", std::string(1'000'000, 'a'));  // less than one block
  testing::write_file(folder / "blocks", std::string((std::size_t{2} << 20) + 1, 'x'));
  testing::write_file(folder / "empty", "");
  Sha256 blocks;
  blocks.update(std::string((std::size_t{2} << 20) + 1, 'x'));
  EXPECT_EQ(*sha256_file(folder / "million"), kOfAMillionTimes);
  EXPECT_EQ(*sha256_file(folder / "blocks"), blocks.finish());
  EXPECT_EQ(*sha256_file(folder / "empty"), kOfNothing);
}

TEST(Sha256, NamesAFileThatIsNotThere) {
  const testing::TemporaryFolder folder;
  for (const auto& path : {folder / "absent", folder.path()}) {
    const auto hash = sha256_file(path);
    ASSERT_FALSE(hash);
    EXPECT_EQ(hash.error().code, ErrorCode::NotFound);
    EXPECT_NE(hash.error().message.find(path.string()), std::string::npos);
  }
}

}  // namespace
}  // namespace textvec::model
