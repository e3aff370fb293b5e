// In: a session on a device, and one on the processor. Out: a session that goes on when the device
// is lost. See fallback_session.h.
#include "runtime/fallback_session.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <string>
#include <utility>

#include "textvec/embeddings.h"

namespace textvec::runtime {
namespace {

constexpr int kBadAnswersMax = 3;

// Whether each text has states that are numbers, and not all of them zero. Padding may be anything.
bool is_plausible(const HiddenStates& states, const batch::Batch& batch) {
  if (states.rows != batch.rows || !states.is_whole()) return false;
  for (std::size_t row = 0; row < states.rows; ++row) {
    const std::size_t tokens = states.length == 1 ? 1 : std::min(states.length, batch.lengths[row]);
    const auto values = states.row(row).first(tokens * states.width);
    const bool finite =
        std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
    const bool zero =
        std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
    if (!finite || zero) return false;
  }
  return true;
}

class FallbackSession final : public Session {
 public:
  FallbackSession(std::unique_ptr<Session> device, FallbackOptions options)
      : device_(std::move(device)), options_(std::move(options)), info_(&device_->info()) {}

  Result<HiddenStates> run(const batch::Batch& batch, const std::stop_token& stop) override {
    if (lost_) return processor_->run(batch, stop);
    auto states = run_on_device(batch, stop);
    if (!states && states.error().code == ErrorCode::Cancelled) return states;
    if (states && is_plausible(*states, batch)) {
      bad_answers_ = 0;
      return states;
    }
    auto session = processor();
    // Without a processor the device's word is the last one.
    if (!session) return states;
    auto right = (*session)->run(batch, stop);
    // A batch that the processor does not take either is the batch's fault.
    if (!right || !is_plausible(*right, batch))
      return states ? std::move(right) : std::move(states);
    if (!states) {
      lose(states.error().message);
    } else if (++bad_answers_ >= kBadAnswersMax) {
      lose("its vectors were no numbers, " + std::to_string(kBadAnswersMax) + " times in a row");
    }
    return right;
  }

  const SessionInfo& info() const noexcept override { return *info_.load(); }

  void when_device_is_lost(std::function<void(const SessionInfo&)> lost) override {
    when_lost_ = std::move(lost);
  }

 private:
  // One at a time: some providers do not survive two.
  Result<HiddenStates> run_on_device(const batch::Batch& batch, const std::stop_token& stop) {
    const std::lock_guard lock(device_mutex_);
    return device_->run(batch, stop);
  }

  Result<Session*> processor() {
    const std::lock_guard lock(processor_mutex_);
    if (processor_) return processor_.get();
    auto opened = options_.open_on_processor();
    if (!opened) return std::move(opened).error();
    const SessionInfo& device = device_->info();
    const SessionInfo& info = (*opened)->info();
    if (info.pooled != device.pooled ||
        (info.width != 0 && device.width != 0 && info.width != device.width)) {
      return Error{ErrorCode::Internal, "the device's graph and the processor's give other shapes"};
    }
    processor_ = std::move(*opened);
    return processor_.get();
  }

  // Once, whatever threads find it out at the same time.
  void lose(const std::string& why) {
    const std::lock_guard lock(processor_mutex_);
    if (lost_) return;
    after_loss_ = processor_->info();
    after_loss_.provider_note = "provider " + std::string(to_string(device_->info().provider)) +
                                " failed while serving: " + why + "; cpu is used since";
    info_ = &after_loss_;
    lost_ = true;
    if (options_.log) options_.log(after_loss_.provider_note);
    if (when_lost_) when_lost_(after_loss_);
  }

  // Kept when it is lost: other threads may be inside, and a driver may not survive its end.
  const std::unique_ptr<Session> device_;
  const FallbackOptions options_;
  std::function<void(const SessionInfo&)> when_lost_{};
  std::mutex device_mutex_{};
  std::mutex processor_mutex_{};  // of what follows, but for what is atomic
  std::unique_ptr<Session> processor_{};
  SessionInfo after_loss_{};
  std::atomic<int> bad_answers_{0};
  std::atomic<bool> lost_{false};
  std::atomic<const SessionInfo*> info_;
};

}  // namespace

std::unique_ptr<Session> make_fallback_session(std::unique_ptr<Session> device,
                                               FallbackOptions options) {
  return std::make_unique<FallbackSession>(std::move(device), std::move(options));
}

}  // namespace textvec::runtime
