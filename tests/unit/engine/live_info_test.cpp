// What a loaded model says of itself after its device was lost.
#include <gtest/gtest.h>

#include "load.h"
#include "runtime/fallback_session.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec {
namespace {

using testing::TemporaryFolder;
using testing::TinyModel;

// Fails at once, as a device that is gone.
class GoneSession final : public runtime::Session {
 public:
  explicit GoneSession(const runtime::SessionInfo& like) : info_(like) {
    info_.provider = Provider::Cuda;
  }
  Result<runtime::HiddenStates> run(const batch::Batch&, const std::stop_token&) override {
    return Error{ErrorCode::Internal, "the device is gone"};
  }
  const runtime::SessionInfo& info() const noexcept override { return info_; }

 private:
  runtime::SessionInfo info_;
};

TEST(LiveInfo, SaysWhatIsTrueNow) {
  const TemporaryFolder folder;
  TinyModel().write(folder / "model");
  LoadOptions options;
  options.cache_folder = folder / "cache";
  auto model = load_model((folder / "model").string(), options);
  ASSERT_TRUE(model) << model.error().message;
  model->info.provider = Provider::Cuda;
  std::shared_ptr<runtime::Session> processor = std::move(model->session);
  runtime::FallbackOptions fallback;
  fallback.open_on_processor = [&]() -> Result<std::unique_ptr<runtime::Session>> {
    auto other = load_model((folder / "model").string(), options);
    if (!other) return std::move(other).error();
    return std::move(other->session);
  };
  model->session = runtime::make_fallback_session(std::make_unique<GoneSession>(processor->info()),
                                                  std::move(fallback));
  const LiveInfo live(*model);
  const ModelInfo& before = live.now();
  EXPECT_EQ(before.provider, Provider::Cuda);

  const batch::Text text{{2, 5, 3}, {}, 0};
  const batch::Text* only = &text;
  ASSERT_TRUE(model->session->run(batch::make_batch({&only, 1}, 0), {}));
  EXPECT_EQ(live.now().provider, Provider::Cpu);
  EXPECT_NE(live.now().provider_note.find("the device is gone"), std::string::npos);
  EXPECT_EQ(live.now().placement.front().provider, "CPUExecutionProvider");
  EXPECT_EQ(live.now().dimension, before.dimension);
  EXPECT_EQ(before.provider, Provider::Cuda);
}

}  // namespace
}  // namespace textvec
