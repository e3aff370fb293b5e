// In: a seed. Out: whether queue, planner, deadlines and the halving of failed batches keep their
// promises while callers come, leave, stop and run late, batches fail and engines close.
//
// What runs is the product's own code (batch::Line, Window, SharedStop, plan, and Call); the
// threads and the clock around it are made up, so that any order of events can happen and happens
// again.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace textvec::simulation {

// A promise that was broken: what() says which, at which step, and under which settings.
class Broken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a seed did, for the report, and because a simulation in which nothing happens finds nothing.
struct Counts {
  std::uint64_t texts = 0;  // accepted
  std::uint64_t vectors = 0;
  std::uint64_t failed = 0;  // alone, because they were bad
  std::uint64_t late = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t refused_jobs = 0;
  std::uint64_t batches = 0;
  std::uint64_t halved = 0;
  std::uint64_t ended_by_stop = 0;
  std::uint64_t closings = 0;
};

// Throws Broken. With `trace` every event is a line on standard error.
Counts simulate(std::uint64_t seed, std::uint64_t steps, bool trace);

}  // namespace textvec::simulation
