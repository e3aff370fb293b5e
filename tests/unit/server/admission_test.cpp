// Places for requests: whole or not at all, given back, each limit at n-1, n, n+1.
#include "server/admission.h"

#include <gtest/gtest.h>

namespace textvec::server {
namespace {

using namespace std::chrono_literals;
using Clock = Admission::Clock;

constexpr Clock::time_point kStart{1h};
constexpr Clock::time_point kNever = Clock::time_point::max();

Limits small() {
  Limits limits;
  limits.requests_max = 2;
  limits.texts_in_flight_max = 10;
  limits.bytes_in_flight_max = 100;
  return limits;
}

TEST(Admission, TakesSoManyRequests) {
  Admission admission(small());
  const auto first = admission.enter();
  EXPECT_FALSE(first.busy);
  auto second = admission.enter();
  EXPECT_FALSE(second.busy);
  {
    const auto third = admission.enter();
    ASSERT_TRUE(third.busy);
    EXPECT_EQ(third.busy->message, "2 requests are being answered, of 2 at most: retry later");
  }
  second = {};
  EXPECT_FALSE(admission.enter().busy);
  EXPECT_EQ(admission.counts().requests, 1U);
}

TEST(Admission, TakesSoManyBytes) {
  Admission admission(small());
  const auto first = admission.enter();
  EXPECT_FALSE(first.place->add_bytes(60));
  {
    const auto second = admission.enter();
    EXPECT_TRUE(second.place->add_bytes(41));  // nothing of it was taken
    EXPECT_EQ(admission.counts().bytes, 60U);
    EXPECT_FALSE(second.place->add_bytes(40));
    EXPECT_TRUE(second.place->add_bytes(1));
  }
  EXPECT_EQ(admission.counts().bytes, 60U);
  first.place->hold_reply(500);  // a reply is never refused
  EXPECT_EQ(admission.counts().bytes, 500U);
  const auto second = admission.enter();
  EXPECT_TRUE(second.place->add_bytes(1));
  EXPECT_FALSE(second.place->add_bytes(0));
}

TEST(Admission, AReplyThatIsExpectedTakesTheBodysPlaceWithinTheLimit) {
  Admission admission(small());
  const auto first = admission.enter();
  EXPECT_FALSE(first.place->add_bytes(30));
  const auto second = admission.enter();
  EXPECT_FALSE(second.place->add_bytes(40));
  EXPECT_TRUE(second.place->expect_reply(71));  // the body stays counted
  EXPECT_EQ(admission.counts().bytes, 70U);
  EXPECT_FALSE(second.place->expect_reply(70));
  EXPECT_EQ(admission.counts().bytes, 100U);
  EXPECT_FALSE(second.place->expect_reply(69));
  second.place->hold_reply(5);
  EXPECT_EQ(admission.counts().bytes, 35U);
}

TEST(Admission, TakesSoManyTexts) {
  Admission admission(small());
  const auto first = admission.enter();
  EXPECT_FALSE(first.place->add_texts(9, 90, kStart, kNever));
  const auto second = admission.enter();
  EXPECT_TRUE(second.place->add_texts(2, 20, kStart, kNever));
  EXPECT_EQ(admission.counts().texts, 9U);
  EXPECT_FALSE(second.place->add_texts(1, 10, kStart, kNever));
  first.place->texts_done(kStart + 1s, true);
  EXPECT_EQ(admission.counts().texts, 1U);
  first.place->texts_done(kStart + 1s, true);  // a second time means nothing
  EXPECT_EQ(admission.counts().texts, 1U);
}

TEST(Admission, RefusesWhatWouldComeTooLate) {
  Limits limits = small();
  limits.requests_max = 10;
  Admission admission(limits);
  const auto first = admission.enter();
  EXPECT_FALSE(first.place->add_texts(1, 100, kStart, kStart + 1ms));  // nothing is known yet
  first.place->texts_done(kStart + 2s, true);                          // 50 tokens a second
  const auto second = admission.enter();
  EXPECT_FALSE(second.place->add_texts(1, 200, kStart + 2s, kStart + 2s + 1ms));  // nothing waits
  // Now four seconds' work waits, and a quarter may be added.
  const auto third = admission.enter();
  const auto busy = third.place->add_texts(1, 1, kStart + 2s, kStart + 2s + 4900ms);
  ASSERT_TRUE(busy);
  EXPECT_EQ(busy->retry_after, 2s);
  EXPECT_FALSE(third.place->add_texts(1, 1, kStart + 2s, kStart + 2s + 5100ms));
}

TEST(Admission, KnowsWhenNothingMoves) {
  Admission admission(small());
  EXPECT_EQ(admission.stalled(kStart), 0s);
  auto first = admission.enter();
  const auto second = admission.enter();
  EXPECT_FALSE(first.place->add_texts(1, 1, kStart, kNever));
  EXPECT_FALSE(second.place->add_texts(1, 1, kStart + 1s, kNever));
  EXPECT_EQ(admission.stalled(kStart + 5s), 5s);
  first.place->texts_done(kStart + 6s, true);
  EXPECT_EQ(admission.stalled(kStart + 7s), 1s);
  second.place->texts_done(kStart + 8s, false);
  EXPECT_EQ(admission.stalled(kStart + 99s), 0s);
}

}  // namespace
}  // namespace textvec::server
