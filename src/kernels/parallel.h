// In: nothing. Out: how a kernel shares its work among threads that it does not own.
#pragma once

#include <cstddef>
#include <functional>

namespace textvec::kernels {

// Calls the function with 0 to count - 1, on any threads, and returns when all calls have.
using Parallel = std::function<void(std::size_t count, const std::function<void(std::size_t)>&)>;

}  // namespace textvec::kernels
