// In: what a request brings. Out: a place for it, or a refusal. See admission.h.
#include "server/admission.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace textvec::server {
namespace {

constexpr std::chrono::duration<double> kMemory{5};  // of the rate at which tokens are done
constexpr double kLateness = 1.25;                   // of what waits, beside the estimate

std::string room(std::size_t taken, std::size_t limit, std::string_view what) {
  return std::to_string(taken) + " " + std::string(what) + " are being answered, of " +
         std::to_string(limit) + " at most: retry later";
}

}  // namespace

Admission::Answer Admission::enter() {
  auto place = std::make_unique<Place>(*this);
  const std::lock_guard lock(mutex_);
  ++requests_;  // even when refused: the place gives it back
  if (requests_ <= limits_.requests_max) return {std::move(place), std::nullopt};
  return {std::move(place), Busy{room(requests_ - 1, limits_.requests_max, "requests")}};
}

Admission::Counts Admission::counts() const {
  const std::lock_guard lock(mutex_);
  return {requests_, texts_, bytes_};
}

Admission::Clock::duration Admission::stalled(Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  return texts_ == 0 ? Clock::duration(0) : now - progress_at_;
}

std::chrono::duration<double> Admission::wait() const {
  if (tokens_done_ <= 0 || busy_.count() <= 0) return {};
  return busy_ * (static_cast<double>(tokens_) / tokens_done_);
}

void Admission::measure(Clock::time_point now) {
  if (tokens_ > 0) busy_ += now - measured_at_;
  measured_at_ = now;
  if (busy_ <= kMemory) return;
  tokens_done_ *= kMemory / busy_;
  busy_ = kMemory;
}

Admission::Place::~Place() {
  texts_done(Clock::now(), false);
  const std::lock_guard lock(admission_->mutex_);
  admission_->bytes_ -= bytes_;
  --admission_->requests_;
}

std::optional<Busy> Admission::Place::add_bytes(std::size_t bytes) {
  const std::lock_guard lock(admission_->mutex_);
  const std::size_t limit = admission_->limits_.bytes_in_flight_max;
  if (bytes > limit - std::min(limit, admission_->bytes_)) {
    return Busy{room(admission_->bytes_, limit, "bytes")};
  }
  admission_->bytes_ += bytes;
  bytes_ += bytes;
  return std::nullopt;
}

std::optional<Busy> Admission::Place::expect_reply(std::size_t bytes) {
  const std::lock_guard lock(admission_->mutex_);
  const std::size_t limit = admission_->limits_.bytes_in_flight_max;
  const std::size_t others = admission_->bytes_ - bytes_;
  if (bytes > limit - std::min(limit, others)) return Busy{room(others, limit, "bytes")};
  admission_->bytes_ = others + bytes;
  bytes_ = bytes;
  return std::nullopt;
}

void Admission::Place::hold_reply(std::size_t bytes) {
  const std::lock_guard lock(admission_->mutex_);
  admission_->bytes_ += bytes;
  admission_->bytes_ -= bytes_;
  bytes_ = bytes;
}

std::optional<Busy> Admission::Place::add_texts(std::size_t texts, std::size_t tokens,
                                                Clock::time_point now, Clock::time_point deadline) {
  const std::lock_guard lock(admission_->mutex_);
  Admission& all = *admission_;
  all.measure(now);
  const std::size_t limit = all.limits_.texts_in_flight_max;
  // A request that fits alone is taken when nothing else is there.
  const auto wait = all.wait();
  const std::chrono::seconds later(static_cast<std::int64_t>(
      std::clamp(std::ceil(wait.count() / 2), 1.0, 30.0)));  // when half of it is done
  if (texts > limit - std::min(limit, all.texts_)) {
    return Busy{room(all.texts_, limit, "texts"), later};
  }
  // Taken at the last moment, many would end by their deadline and take what was done along.
  if (wait.count() > 0 && wait * kLateness > deadline - now) {
    return Busy{"what waits takes longer than this request may: retry later", later};
  }
  if (all.texts_ == 0) all.progress_at_ = now;
  all.texts_ += texts;
  all.tokens_ += tokens;
  texts_ += texts;
  tokens_ += tokens;
  return std::nullopt;
}

void Admission::Place::texts_done(Clock::time_point now, bool ran) {
  const std::lock_guard lock(admission_->mutex_);
  if (texts_ == 0) return;
  Admission& all = *admission_;
  all.measure(now);
  all.texts_ -= std::exchange(texts_, 0);
  all.progress_at_ = now;
  if (ran) all.tokens_done_ += static_cast<double>(tokens_);
  all.tokens_ -= std::exchange(tokens_, 0);
}

}  // namespace textvec::server
