// In: a way to choose among what was compiled for each instruction set. Out: all that this
// processor can run.
#pragma once

#include <hwy/highway.h>

#include <cstdint>
#include <vector>

namespace textvec::kernels {

// What `choose` (Highway's dispatch) gives for each of them, the best first. For tests: not
// thread-safe.
template <class Choose>
auto of_every_target(const Choose& choose) {
  std::vector<decltype(choose())> usable;
  const std::int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  for (std::int64_t target = 1; target > 0 && target <= supported; target <<= 1) {
    if ((supported & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    usable.push_back(choose());
  }
  hwy::SetSupportedTargetsForTest(0);
  return usable;
}

}  // namespace textvec::kernels
