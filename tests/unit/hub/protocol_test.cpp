// What a hub says of a model's files: what is taken, what is left out, what is refused.
#include "hub/protocol.h"

#include <gtest/gtest.h>

#include <string>

namespace textvec::hub {
namespace {

const std::string kSha1(40, 'a');
const std::string kSha256(64, 'b');

std::string listing(const std::string& siblings) {
  return R"({"sha":")" + kSha1 + R"(","siblings":[)" + siblings + "]}";
}

TEST(ReadListing, TakesSizesAndHashesOfSmallAndLargeFiles) {
  const auto model = read_listing(
      listing(R"({"rfilename":"config.json","size":7,"blobId":")" + kSha1 +
              R"("},{"rfilename":"model.safetensors","size":5,"lfs":{"size":6,"sha256":")" +
              kSha256 + R"("}})"));
  ASSERT_TRUE(model);
  EXPECT_EQ(model->commit, kSha1);
  ASSERT_EQ(model->files.size(), 2);
  EXPECT_EQ(model->files[0].bytes, 7);
  EXPECT_EQ(model->files[0].hash, kSha1);
  EXPECT_EQ(model->files[1].bytes, 6);
  EXPECT_EQ(model->files[1].hash, kSha256);
}

TEST(ReadListing, AsksAgainForWhatIsSaidByHalves) {
  const auto model = read_listing(listing(
      R"({"rfilename":"a","size":7},{"rfilename":"d","lfs":7},{"rfilename":"b","blobId":")" +
      kSha1 + R"("},{"rfilename":"c","size":7,"blobId":")" + kSha256 + R"("})"));
  ASSERT_TRUE(model);
  for (const RemoteFile& file : model->files) {
    EXPECT_EQ(file.hash, "") << file.path;
    EXPECT_EQ(file.bytes, 0) << file.path;
  }
}

TEST(ReadListing, LeavesOutNamesThatNoDiskShouldSee) {
  const auto model = read_listing(listing(
      R"({"rfilename":"../a"},{"rfilename":"/a"},{"rfilename":"a/../b"},{"rfilename":"good"})"));
  ASSERT_TRUE(model);
  ASSERT_EQ(model->files.size(), 1);
  EXPECT_EQ(model->files.front().path, "good");
}

TEST(ReadListing, RefusesWhatIsNoListing) {
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("null"), R"({"siblings":[]})" + std::string(),
        R"({"sha":"main","siblings":[]})" + std::string(), R"({"sha":")" + kSha1 + "\"}",
        listing("3"), listing(R"({"size":3})"), listing(R"({"rfilename":7})"),
        listing(R"({"rfilename":"a","size":-1})")}) {
    const auto model = read_listing(body);
    ASSERT_FALSE(model) << body;
    EXPECT_EQ(model.error().code, ErrorCode::BadModel) << body;
  }
}

TEST(ReadListing, TakesOneTebibyteAndNoByteMore) {
  const auto with = [](const std::string& bytes) {
    return read_listing(
        listing(R"({"rfilename":"a","blobId":")" + kSha1 + R"(","size":)" + bytes + "}"));
  };
  EXPECT_TRUE(with("1099511627775"));
  EXPECT_TRUE(with("1099511627776"));
  ASSERT_FALSE(with("1099511627777"));
  EXPECT_NE(with("1099511627777").error().message.find("1099511627776"), std::string::npos);
}

TEST(ReadListing, TakesAHundredThousandFilesAndNotOneMore) {
  const auto with = [](std::size_t count) {
    std::string siblings;
    for (std::size_t i = 0; i < count; ++i) {
      siblings += (i == 0 ? "" : ",") + std::string(R"({"rfilename":"a"})");
    }
    return read_listing(listing(siblings));
  };
  EXPECT_TRUE(with(99'999));
  EXPECT_TRUE(with(100'000));
  ASSERT_FALSE(with(100'001));
  EXPECT_NE(with(100'001).error().message.find("100000"), std::string::npos);
}

TEST(ReadHeaders, PrefersWhatALinkSaysOfTheFileBehindIt) {
  HttpAnswer answer;
  answer.status = 302;
  answer.headers = {{"etag", "\"" + kSha1 + "\""},
                    {"x-linked-etag", "\"" + kSha256 + "\""},
                    {"content-length", "3"},
                    {"x-linked-size", "5"}};
  RemoteFile file;
  ASSERT_TRUE(read_headers(answer, file));
  EXPECT_EQ(file.hash, kSha256);
  EXPECT_EQ(file.bytes, 5);
}

TEST(ReadHeaders, TakesTheLengthOfAFileAndNotOfARedirect) {
  HttpAnswer answer;
  answer.headers = {{"etag", "W/\"" + kSha1 + "\""}, {"content-length", "3"}};
  RemoteFile file;
  answer.status = 200;
  ASSERT_TRUE(read_headers(answer, file));
  EXPECT_EQ(file.hash, kSha1);
  EXPECT_EQ(file.bytes, 3);
  answer.status = 302;
  EXPECT_FALSE(read_headers(answer, file));
}

TEST(ReadHeaders, RefusesSizesAndHashesThatNobodyCouldCheck) {
  for (const char* size : {"", "-1", "3 bytes", "0x3", "1099511627777", "99999999999999999999"}) {
    HttpAnswer answer{200, {{"etag", kSha1}, {"content-length", size}}, {}};
    RemoteFile file;
    EXPECT_FALSE(read_headers(answer, file)) << size;
  }
  for (const std::string& etag : {std::string(), std::string(39, 'a'), std::string(40, 'A')}) {
    HttpAnswer answer{200, {{"etag", etag}, {"content-length", "3"}}, {}};
    RemoteFile file;
    EXPECT_FALSE(read_headers(answer, file)) << etag;
  }
}

}  // namespace
}  // namespace textvec::hub
