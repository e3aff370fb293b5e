// The graph cache: whole entries or none, damage found, several writers at once.
#include "graph/cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "model/hash.h"
#include "support/temporary_folder.h"

namespace textvec::graph {
namespace {

using testing::TemporaryFolder;

std::string sha256(std::string_view text) {
  model::Sha256 hash;
  hash.update(text);
  return hash.finish();
}

GraphCache::Write writer(const std::string& model, const std::string& data) {
  return [=](const std::filesystem::path& folder) -> Result<WrittenFiles> {
    testing::write_file(folder / kModelName, model);
    testing::write_file(folder / kDataName, data);
    return WrittenFiles{sha256(model), sha256(data), data.size()};
  };
}

TEST(GraphCache, GivesBackWhatWasStored) {
  const TemporaryFolder folder;
  const GraphCache cache(folder.path());
  EXPECT_FALSE(cache.find("key"));
  const auto stored = cache.store("key", writer("model", "data"));
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ(testing::read_file(*stored), "model");
  EXPECT_EQ(cache.find("key"), *stored);
  EXPECT_FALSE(cache.find("other"));
}

TEST(GraphCache, ADamagedEntryIsNotUsedAndGoes) {
  for (const char* name : {"model.onnx", "model.onnx.data", "manifest.json"}) {
    for (const char* content : {"", "dat", "dato", "data and more"}) {
      const TemporaryFolder folder;
      const GraphCache cache(folder.path());
      ASSERT_TRUE(cache.store("key", writer("model", "data")));
      testing::write_file(folder.path() / "graphs/key" / name, content);
      EXPECT_FALSE(cache.find("key")) << name << " = \"" << content << '"';
      EXPECT_FALSE(std::filesystem::exists(folder / "graphs/key"));
      EXPECT_TRUE(cache.store("key", writer("model", "data")));
    }
    const TemporaryFolder folder;
    const GraphCache cache(folder.path());
    ASSERT_TRUE(cache.store("key", writer("model", "data")));
    std::filesystem::remove(folder.path() / "graphs/key" / name);
    EXPECT_FALSE(cache.find("key")) << name << " removed";
  }
}

TEST(GraphCache, AFailedWriterLeavesNothing) {
  const TemporaryFolder folder;
  const GraphCache cache(folder.path());
  const auto stored = cache.store("key", [](const std::filesystem::path& target) {
    testing::write_file(target / kModelName, "half");
    return Result<WrittenFiles>(Error{ErrorCode::Internal, "disk full"});
  });
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().message, "disk full");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "graphs"));
}

TEST(GraphCache, AFolderThatCannotBeWrittenIsAnError) {
  const TemporaryFolder folder;
  testing::write_file(folder / "file", "");
  const auto stored = GraphCache(folder / "file").store("key", writer("model", "data"));
  ASSERT_FALSE(stored);
  EXPECT_NE(stored.error().message.find("file"), std::string::npos);
}

TEST(GraphCache, ManyWritersOfOneKeyAllSucceed) {
  const TemporaryFolder folder;
  const GraphCache cache(folder.path());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        const auto stored = cache.store("key", writer("model", std::string(100000, 'd')));
        ASSERT_TRUE(stored) << stored.error().message;
        EXPECT_EQ(testing::read_file(*stored), "model");
      });
    }
  }
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(folder / "graphs")) {
    ++entries;
  }
  EXPECT_EQ(entries, 1U) << "no temporary folder stays";
}

TEST(FileSha256, IsRememberedAndNoticesEveryChange) {
  const TemporaryFolder folder;
  const GraphCache cache(folder / "cache");
  const auto file = folder / "weights";
  testing::write_file(file, "one");
  EXPECT_EQ(*cache.file_sha256(file), sha256("one"));
  EXPECT_EQ(*cache.file_sha256(file), sha256("one"));
  testing::write_file(file, "two");  // the same size
  EXPECT_EQ(*cache.file_sha256(file), sha256("two"));
  testing::write_file(folder / "new", "six");
  std::filesystem::rename(folder / "new", file);
  EXPECT_EQ(*cache.file_sha256(file), sha256("six"));
  EXPECT_EQ(cache.file_sha256(folder / "missing").error().code, ErrorCode::NotFound);
}

TEST(FileSha256, FollowsLinksToTheFileItself) {
  const TemporaryFolder folder;
  const GraphCache cache(folder / "cache");
  testing::write_file(folder / "a", "one");
  testing::write_file(folder / "b", "two");
  std::filesystem::create_symlink(folder / "a", folder / "link");
  EXPECT_EQ(*cache.file_sha256(folder / "link"), sha256("one"));
  std::filesystem::remove(folder / "link");
  std::filesystem::create_symlink(folder / "b", folder / "link");
  EXPECT_EQ(*cache.file_sha256(folder / "link"), sha256("two"));
}

}  // namespace
}  // namespace textvec::graph
