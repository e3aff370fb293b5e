// In: the texts of a batch. Out: a stop token that fires when every job that has a text in it was
// stopped: one caller's stop must not end the work of another.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "batch/line.h"

namespace textvec::batch {

class SharedStop {
 public:
  explicit SharedStop(std::span<const Item> items);
  SharedStop(const SharedStop&) = delete;
  SharedStop& operator=(const SharedStop&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  using Callback = std::stop_callback<std::function<void()>>;
  std::stop_source source_{};
  std::atomic<std::size_t> running_{0};
  std::vector<std::unique_ptr<Callback>> callbacks_{};
};

}  // namespace textvec::batch
