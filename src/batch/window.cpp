// In: the texts that a worker took. Out: its batches, one after the other. See window.h.
#include "batch/window.h"

#include <algorithm>
#include <utility>

namespace textvec::batch {

Window::Window(std::span<const Item> items, const PlanLimits& limits) {
  std::vector<std::size_t> lengths;
  lengths.reserve(items.size());
  for (const Item& item : items) lengths.push_back(item.content().ids.size());
  for (const auto& indices : plan(lengths, limits)) {
    auto& batch = batches_.emplace_back();
    batch.reserve(indices.size());
    for (const std::size_t index : indices) batch.push_back(items[index]);
  }
  std::reverse(batches_.begin(), batches_.end());
}

std::vector<Item> Window::next() {
  auto batch = std::move(batches_.back());
  batches_.pop_back();
  return batch;
}

void Window::failed(std::vector<Item> batch, Error error) {
  if (batch.size() == 1) {
    return batch.front().job->finish(batch.front().text, std::move(error));
  }
  const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(batch.size() / 2);
  batches_.emplace_back(middle, batch.end());
  batches_.emplace_back(batch.begin(), middle);
}

std::optional<Error> reason_to_drop(const Item& item, Moment now, bool closing) {
  if (closing) return Error{ErrorCode::Cancelled, "the engine is closing"};
  if (item.job->abandoned()) return Error{ErrorCode::Cancelled, "another text of the call failed"};
  if (item.job->stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
  if (now > item.job->deadline) {
    return Error{ErrorCode::TimedOut, "the deadline passed before the text ran"};
  }
  return std::nullopt;
}

void drop_given_up(std::vector<Item>& batch, Moment now, bool closing) {
  std::erase_if(batch, [&](const Item& item) {
    auto reason = reason_to_drop(item, now, closing);
    if (reason) item.job->finish(item.text, std::move(*reason));
    return reason.has_value();
  });
}

}  // namespace textvec::batch
