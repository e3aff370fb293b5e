// In: nothing. Out: how a kernel shares its work among threads that it does not own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

namespace textvec::kernels {

// Calls the function with 0 to count - 1, on any threads, and returns when all calls have. A thread
// that is not the caller's must not throw, so that nothing that it runs takes memory: functions are
// given by reference.
using Parallel = std::function<void(std::size_t count, const std::function<void(std::size_t)>&)>;

// Calls `work` with every row's index, in jobs of several rows. Rows of so few numbers that another
// thread would not have woken up before they are done stay on this one.
template <class Work>
void for_rows(std::size_t rows, std::size_t width, const Work& work, const Parallel& parallel) {
  constexpr std::size_t kJobNumbers = std::size_t{1} << 14;
  const std::size_t rows_each = std::max<std::size_t>(1, kJobNumbers / width);
  const std::size_t jobs = (rows + rows_each - 1) / rows_each;
  const auto run = [&](std::size_t job) {
    const std::size_t end = std::min(rows, (job + 1) * rows_each);
    for (std::size_t row = job * rows_each; row < end; ++row) work(row);
  };
  if (jobs > 2) return parallel(jobs, std::cref(run));
  for (std::size_t job = 0; job < jobs; ++job) run(job);
}

}  // namespace textvec::kernels
