// ONNX Runtime behind the seam: errors instead of exceptions, cancellation, providers, the machine.
#include "runtime/session.h"

#include <gtest/gtest.h>

#include <thread>

#include "graph/compile.h"
#include "model/safetensors.h"
#include "runtime/machine.h"
#include "runtime/providers.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec::runtime {
namespace {

using testing::TemporaryFolder;
using testing::TinyModel;

TEST(OpenSession, RefusesWhatIsNoOnnxFile) {
  const TemporaryFolder folder;
  for (const char* content : {"", "not a graph", "\x08\x0a"}) {
    testing::write_file(folder / "model.onnx", content);
    const auto session = open_session({folder / "model.onnx", {}, {}, {}}, {});
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, ErrorCode::BadModel);
    EXPECT_NE(session.error().message.find("model.onnx"), std::string::npos);
  }
  EXPECT_FALSE(open_session({folder / "missing.onnx", {}, {}, {}}, {}));
}

struct TinySession {
  TemporaryFolder folder{};
  std::unique_ptr<Session> session{};

  explicit TinySession(const testing::TinyShape& shape = {}) {
    const TinyModel tiny(shape);
    tiny.write(folder.path());
    const auto spec = model::read_spec(folder.path());
    const auto weights = model::Weights::open(folder.path());
    auto graph =
        graph::compile(*spec, *weights, graph::Target::Fused, Precision::F32, folder / "cache", {});
    auto opened = open_session(std::move(*graph), {});
    EXPECT_TRUE(opened) << opened.error().message;
    session = std::move(*opened);
  }
};

batch::Batch one_text(std::vector<std::uint32_t> ids) {
  const batch::Text text{std::move(ids), {}, 0};
  const batch::Text* pointer = &text;
  return batch::make_batch({&pointer, 1}, 0);
}

TEST(OpenSession, PlacesEveryNodeOnTheProcessor) {
  const TinySession tiny;
  const auto& info = tiny.session->info();
  EXPECT_EQ(info.provider, Provider::Cpu);
  ASSERT_EQ(info.placement.size(), 1U);
  EXPECT_EQ(info.placement.front().provider, "CPUExecutionProvider");
  EXPECT_GT(info.placement.front().nodes, 10U);
  EXPECT_EQ(info.placement.front().partitions, 1U);
}

TEST(Run, AnIdAboveTheTableIsAnErrorAndTheSessionLives) {
  const TinySession tiny;
  const auto bad = tiny.session->run(one_text({2, 40, 3}), {});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::Internal);
  EXPECT_TRUE(tiny.session->run(one_text({2, 39, 3}), {}));
}

TEST(Run, AStopThatCameBeforeEndsTheRun) {
  const TinySession tiny;
  std::stop_source stop;
  stop.request_stop();
  const auto result = tiny.session->run(one_text({2, 5, 3}), stop.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::Cancelled);
}

TEST(Run, ManyThreadsShareASession) {
  const TinySession tiny;
  const auto batch = one_text({2, 5, 6, 7, 3});
  const auto expected = tiny.session->run(batch, {});
  ASSERT_TRUE(expected);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        const auto states = tiny.session->run(batch, {});
        ASSERT_TRUE(states);
        EXPECT_TRUE(std::equal(states->values.begin(), states->values.end(),
                               expected->values.begin(), expected->values.end()));
      }
    });
  }
}

TEST(Machine, IsDescribed) {
  const Machine machine = describe_machine();
  EXPECT_FALSE(machine.system.empty());
  EXPECT_GE(machine.cores_physical, 1U);
  EXPECT_LE(machine.cores_physical, machine.cores_logical);
  EXPECT_GT(machine.memory_bytes, 1U << 20);
}

TEST(RuntimeVersion, IsOneThatWeAccept) {
  EXPECT_TRUE(runtime_version().starts_with("ONNX Runtime 1."));
  const auto providers = runtime_providers();
  EXPECT_NE(std::find(providers.begin(), providers.end(), "CPUExecutionProvider"), providers.end());
}

}  // namespace
}  // namespace textvec::runtime
