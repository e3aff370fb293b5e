// What the machine says of this process.
#include "runtime/machine.h"

#include <gtest/gtest.h>

#include <memory>
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

// A sanitizer's allocator has rules of its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Machine, WhatWasFreedInSmallPiecesGoesBackToTheSystem) {
  constexpr std::size_t kPieces = 65536;
  constexpr std::size_t kPieceBytes = 1000;
  std::vector<std::unique_ptr<char[]>> pieces(kPieces);
  for (auto& piece : pieces) piece.reset(new char[kPieceBytes]());
  // The last one stays, so that the heap does not end before it.
  for (std::size_t i = 0; i + 1 < kPieces; ++i) pieces[i].reset();
  const std::uint64_t before = resident_memory_bytes();
  return_freed_memory();
  EXPECT_LT(resident_memory_bytes() + kPieces * kPieceBytes / 2, before);
}
#endif

}  // namespace
}  // namespace textvec::runtime
