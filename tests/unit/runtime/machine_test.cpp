// What the machine says of this process.
#include "runtime/machine.h"

#include <gtest/gtest.h>

#include <vector>

namespace textvec::runtime {
namespace {

TEST(Machine, PeakMemoryGrowsByWhatIsHeldAndStays) {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const std::uint64_t before = peak_memory_bytes();
  ASSERT_GT(before, 0U);
  ASSERT_LT(before, describe_machine().memory_bytes);
  {
    const std::vector<char> held(kBytes, 'x');
    EXPECT_GE(peak_memory_bytes(), kBytes);
  }
  EXPECT_GE(peak_memory_bytes(), kBytes);
  EXPECT_GE(peak_memory_bytes(), before);
}

}  // namespace
}  // namespace textvec::runtime
