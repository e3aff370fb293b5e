// In: what a request brings. Out: a place for it, or a refusal at once. A request is taken whole or
// refused whole, before anything of it is tokenised or run. All counts are of this process.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/options.h"

namespace textvec::server {

struct Busy {
  std::string message{};
  std::chrono::seconds retry_after{1};
};

class Admission {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Admission(const Limits& limits) : limits_(limits) {}

  // Of one request, from its head to its last byte of reply. Gives everything back when it goes.
  // Its members may be called from any thread, one at a time; the admission must outlive it.
  class Place {
   public:
    explicit Place(Admission& admission) : admission_(&admission) {}
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // More bytes of its body have arrived, or are announced.
    std::optional<Busy> add_bytes(std::size_t bytes);
    // The body is gone, and its reply, with what it is made of, will take `bytes` at most.
    std::optional<Busy> expect_reply(std::size_t bytes);
    // The reply takes the place of either; a reply is never refused.
    void hold_reply(std::size_t bytes);
    // Its texts are about to be tokenised. `tokens` is an estimate. Refused also when what was
    // taken before, and a quarter more, will not be done by `deadline`, as the last seconds tell.
    std::optional<Busy> add_texts(std::size_t texts, std::size_t tokens, Clock::time_point now,
                                  Clock::time_point deadline);
    // They have their vectors, or never will.
    void texts_done(Clock::time_point now, bool ran);

   private:
    Admission* admission_;
    std::size_t bytes_ = 0;
    std::size_t texts_ = 0;
    std::size_t tokens_ = 0;
  };

  // Refused: as many requests are being answered as may be.
  struct Answer {
    std::unique_ptr<Place> place{};
    std::optional<Busy> busy{};
  };
  Answer enter();

  struct Counts {
    std::size_t requests = 0;
    std::size_t texts = 0;
    std::size_t bytes = 0;
  };
  Counts counts() const;
  // Texts wait, and for this long none was done. Zero when nothing waits.
  Clock::duration stalled(Clock::time_point now) const;

 private:
  std::chrono::duration<double> wait() const;  // REQUIRES: mutex_ is held
  void measure(Clock::time_point now);

  const Limits limits_;
  mutable std::mutex mutex_{};
  std::size_t requests_ = 0;
  std::size_t bytes_ = 0;
  std::size_t texts_ = 0;
  std::size_t tokens_ = 0;
  // Tokens that were done while the engine had work, and how long it had; old ones fade.
  double tokens_done_ = 0;
  std::chrono::duration<double> busy_{};
  Clock::time_point measured_at_{};
  Clock::time_point progress_at_{};
};

}  // namespace textvec::server
