// A file that comes in pieces: in any order, after a kill at any moment, and beside what is no part
// file at all. Hashes are those of coreutils' sha256sum and git's hash-object.
#include "hub/part_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/hash.h"
#include "support/temporary_folder.h"

namespace textvec::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPiece = PartFile::kPieceBytes;

std::string random_bytes(std::size_t size) {
  std::minstd_rand random(7);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() >> 8);
  return bytes;
}

std::string sha256(const std::string& bytes) {
  model::Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

class PartFiles : public ::testing::Test {
 protected:
  std::unique_ptr<PartFile> open(std::uint64_t bytes, std::string hash) const {
    auto file = PartFile::open(part_, bytes, std::move(hash));
    EXPECT_TRUE(file) << file.error().message;
    return std::move(*file);
  }

  static void write(PartFile& file, const std::string& bytes, std::uint64_t begin,
                    std::uint64_t end) {
    constexpr std::uint64_t kStep = 16'384;  // as libcurl's
    for (; begin < end; begin += kStep) {
      const auto size = static_cast<std::size_t>(std::min(kStep, end - begin));
      ASSERT_TRUE(file.write(begin, {bytes.data() + begin, size}));
    }
  }

  void expect_whole(PartFile& file, const std::string& bytes) const {
    const auto right = file.is_right({});
    ASSERT_TRUE(right) << right.error().message;
    EXPECT_TRUE(*right);
    ASSERT_TRUE(file.move_to(place_));
    EXPECT_EQ(testing::read_file(place_), bytes);
    EXPECT_FALSE(fs::exists(part_));
  }

  const testing::TemporaryFolder folder_;
  const fs::path part_ = folder_ / "part";
  const fs::path place_ = folder_ / "place";
};

TEST_F(PartFiles, HashesWhatGitAndHubsHash) {
  const std::pair<const char*, const char*> hello[] = {
      {"hello\n", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
      {"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"},
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}};
  for (const auto& [text, hash] : hello) {
    const std::string bytes = text;
    const auto file = open(bytes.size(), hash);
    write(*file, bytes, 0, bytes.size());
    expect_whole(*file, bytes);
  }
}

TEST_F(PartFiles, TakesSizesAroundThePieces) {
  const std::string bytes = random_bytes(kPiece + 1);
  for (const std::uint64_t size : {std::uint64_t{1}, kPiece - 1, kPiece, kPiece + 1}) {
    const std::string part = bytes.substr(0, size);
    const auto file = open(size, sha256(part));
    write(*file, part, 0, size);
    EXPECT_EQ(file->bytes_done(), size);
    expect_whole(*file, part);
  }
}

TEST_F(PartFiles, TakesPiecesInAnyOrder) {
  const std::string bytes = random_bytes(2 * kPiece + 12345);
  std::vector<std::size_t> order{0, 1, 2};
  std::minstd_rand random(3);
  for (int round = 0; round < 2; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    const auto file = open(bytes.size(), sha256(bytes));
    ASSERT_EQ(file->pieces(), order.size());
    for (const std::size_t piece : order) {
      const auto begin = file->piece_begin(piece);
      write(*file, bytes, begin, begin + file->piece_bytes(piece));
    }
    expect_whole(*file, bytes);
  }
}

TEST_F(PartFiles, GoesOnWhereAnotherEnded) {
  const std::string bytes = random_bytes(2 * kPiece + 99);
  {
    const auto file = open(bytes.size(), sha256(bytes));
    write(*file, bytes, kPiece, kPiece + 100'000);
    write(*file, bytes, 0, 5);
  }
  EXPECT_EQ(PartFile::bytes_in(part_, bytes.size()), 100'005);
  const auto file = open(bytes.size(), sha256(bytes));
  EXPECT_EQ(file->bytes_done(), 100'005);
  EXPECT_EQ(file->piece_done(0), 5);
  EXPECT_EQ(file->piece_done(1), 100'000);
  write(*file, bytes, kPiece + 100'000, bytes.size());
  write(*file, bytes, 5, kPiece);
  expect_whole(*file, bytes);
}

// What a killed process leaves is a copy of its file at some moment.
TEST_F(PartFiles, TrustsAtEachMomentOnlyWhatWasWritten) {
  const std::string bytes = random_bytes(kPiece + 700'000);
  const std::string hash = sha256(bytes);
  const auto file = open(bytes.size(), hash);
  for (std::uint64_t offset = 0; offset < bytes.size(); offset += 600'000) {
    write(*file, bytes, offset, std::min<std::uint64_t>(offset + 600'000, bytes.size()));
    const fs::path copy = folder_ / "copy";
    fs::copy_file(part_, copy, fs::copy_options::overwrite_existing);
    auto next = PartFile::open(copy, bytes.size(), hash);
    ASSERT_TRUE(next);
    EXPECT_GE((*next)->bytes_done() + 2 * (std::uint64_t{1} << 18) + 100'000, file->bytes_done());
    for (std::size_t piece = 0; piece < 2; ++piece) {
      const auto begin = (*next)->piece_begin(piece) + (*next)->piece_done(piece);
      write(**next, bytes, begin, (*next)->piece_begin(piece) + (*next)->piece_bytes(piece));
    }
    const auto right = (*next)->is_right({});
    ASSERT_TRUE(right);
    EXPECT_TRUE(*right) << offset;
  }
}

TEST_F(PartFiles, IsWholeWhenKilledBeforeTheRename) {
  const std::string bytes = random_bytes(kPiece + 1);
  testing::write_file(part_, bytes);
  const auto file = open(bytes.size(), sha256(bytes));
  EXPECT_EQ(file->bytes_done(), bytes.size());
  expect_whole(*file, bytes);
}

TEST_F(PartFiles, BeginsAnewWhereItFindsSomethingElse) {
  const std::string bytes = random_bytes(1000);
  const std::string tail = "tvpart01";
  for (const std::string& found :
       {std::string(), std::string(999, 'x'), std::string(1001, 'x'), std::string(1012, '\0'),
        bytes + tail, bytes + tail + "\xFF\xFF\xFF\xFF",
        bytes + tail + std::string("\xE9\x03\0\0", 4), std::string(5'000'000, 'x')}) {
    testing::write_file(part_, found);
    EXPECT_EQ(PartFile::bytes_in(part_, bytes.size()), 0);
    const auto file = open(bytes.size(), sha256(bytes));
    EXPECT_EQ(file->bytes_done(), 0) << found.size();
    write(*file, bytes, 0, bytes.size());
    expect_whole(*file, bytes);
  }
}

TEST_F(PartFiles, TellsWrongBytesAndBeginsAnew) {
  const std::string bytes = random_bytes(kPiece + 5);
  const auto file = open(bytes.size(), sha256(bytes));
  std::string wrong = bytes;
  wrong[kPiece / 2] ^= 1;
  write(*file, wrong, 0, wrong.size());
  const auto right = file->is_right({});
  ASSERT_TRUE(right);
  EXPECT_FALSE(*right);
  ASSERT_TRUE(file->restart());
  EXPECT_EQ(file->bytes_done(), 0);
  write(*file, bytes, 0, bytes.size());
  expect_whole(*file, bytes);
}

TEST_F(PartFiles, FollowsNoLink) {
  testing::write_file(folder_ / "victim", "precious");
  fs::create_symlink(folder_ / "victim", part_);
  const auto file = PartFile::open(part_, 100, std::string(64, '0'));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::Internal);
  EXPECT_EQ(testing::read_file(folder_ / "victim"), "precious");
}

TEST_F(PartFiles, StopsWaitingForItsHash) {
  const auto file = open(100, std::string(64, '0'));
  std::stop_source source;
  source.request_stop();
  const auto right = file->is_right(source.get_token());
  ASSERT_FALSE(right);
  EXPECT_EQ(right.error().code, ErrorCode::Cancelled);
}

}  // namespace
}  // namespace textvec::hub
