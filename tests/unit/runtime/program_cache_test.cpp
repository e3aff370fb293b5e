// Folders of compiled programs: one for each model, ONNX Runtime and bucket, and not too many.
#include "runtime/program_cache.h"

#include <gtest/gtest.h>

#include <set>

#include "support/temporary_folder.h"

namespace textvec::runtime {
namespace {

namespace fs = std::filesystem;

using testing::TemporaryFolder;
using testing::write_file;

TEST(ProgramCache, AFolderStandsForModelVersionAndBucket) {
  const std::set<fs::path> folders{ProgramCache("c", "k", "1.32.0").folder({1, 32}),
                                   ProgramCache("c", "k", "1.32.0").folder({13, 2}),
                                   ProgramCache("c", "l", "1.32.0").folder({1, 32}),
                                   ProgramCache("c", "k", "1.33.0").folder({1, 32}),
                                   ProgramCache("d", "k", "1.32.0").folder({1, 32})};
  EXPECT_EQ(folders.size(), 5U);
  EXPECT_EQ(ProgramCache("c", "k", "1.32.0").folder({1, 32}),
            fs::path("c/programs/k-ort1.32.0-1x32"));
}

TEST(ProgramCache, WithoutACacheNothingIsKept) {
  for (const ProgramCache& cache : {ProgramCache("", "k", "1"), ProgramCache("c", "", "1")}) {
    EXPECT_TRUE(cache.folder({1, 32}).empty());
    EXPECT_EQ(cache.bytes({1, 32}), 0U);
    cache.used({1, 32});
  }
}

TEST(ProgramCache, WhatAnOlderRuntimeMadeOfThisModelGoes) {
  const TemporaryFolder folder;
  const ProgramCache cache(folder.path(), "k", "1.32.0");
  const ProgramCache older(folder.path(), "k", "1.31.0");
  const ProgramCache other(folder.path(), "kk", "1.31.0");
  for (const ProgramCache* each : {&cache, &older, &other}) {
    write_file(each->folder({1, 32}) / "a/weights", "12345");
  }
  EXPECT_EQ(cache.bytes({1, 32}), 5U);
  cache.used({1, 8});  // not there: nothing happens
  EXPECT_TRUE(fs::exists(older.folder({1, 32})));
  cache.used({1, 32});
  EXPECT_TRUE(fs::exists(cache.folder({1, 32})));
  EXPECT_FALSE(fs::exists(older.folder({1, 32})));
  EXPECT_TRUE(fs::exists(other.folder({1, 32})));
}

TEST(ProgramCache, AboveTheLimitTheLeastRecentlyUsedGoes) {
  const TemporaryFolder folder;
  const ProgramCache cache(folder.path(), "k", "1");
  const auto now = fs::file_time_type::clock::now();
  for (const std::size_t tokens : {1U, 2U, 3U}) {
    write_file(cache.folder({1, tokens}) / "weights", "1234567890");
    fs::last_write_time(cache.folder({1, tokens}), now - std::chrono::hours(9 - tokens));
  }
  cache.used({1, 1}, 30);
  EXPECT_EQ(cache.bytes({1, 2}), 10U) << "30 bytes are within the limit";
  cache.used({1, 1}, 29);
  EXPECT_EQ(cache.bytes({1, 1}), 10U) << "just used";
  EXPECT_EQ(cache.bytes({1, 2}), 0U);
  EXPECT_EQ(cache.bytes({1, 3}), 10U);
  cache.used({1, 1}, 1);
  EXPECT_EQ(cache.bytes({1, 1}), 10U) << "the program in use stays";
}

}  // namespace
}  // namespace textvec::runtime
