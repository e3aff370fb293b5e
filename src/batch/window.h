// In: the texts that a worker took at a time. Out: one batch after the other, without the texts
// that nobody waits for, and a failed batch again in halves, until the text at fault stands alone.
// Knows no threads and no clock.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "batch/batch.h"
#include "batch/line.h"
#include "textvec/result.h"

namespace textvec::batch {

class Window {
 public:
  Window(std::span<const Item> items, const PlanLimits& limits);

  bool empty() const noexcept { return batches_.empty(); }
  // The next batch; only when not empty.
  std::vector<Item> next();
  // A batch that next() gave, or what drop_given_up() left of it, did not run: a text alone is
  // answered, several come again as two batches, before the others.
  void failed(std::vector<Item> batch, Error error);

 private:
  std::vector<std::vector<Item>> batches_{};  // the last is the next
};

// Why a text is not run any more at this moment; nothing: it is.
std::optional<Error> reason_to_drop(const Item& item, Moment now, bool closing);

// Answers the texts that have such a reason, and takes them out of the batch.
void drop_given_up(std::vector<Item>& batch, Moment now, bool closing);

}  // namespace textvec::batch
