// In: the texts of a batch. Out: the stop token of all their jobs. See shared_stop.h.
#include "batch/shared_stop.h"

#include <algorithm>

namespace textvec::batch {

SharedStop::SharedStop(std::span<const Item> items) {
  std::vector<const Job*> jobs;
  jobs.reserve(items.size());
  for (const Item& item : items) jobs.push_back(item.job.get());
  std::sort(jobs.begin(), jobs.end());
  jobs.erase(std::unique(jobs.begin(), jobs.end()), jobs.end());
  running_ = jobs.size();
  for (const Job* job : jobs) {
    callbacks_.push_back(std::make_unique<Callback>(job->stop, [this] {
      if (running_.fetch_sub(1) == 1) source_.request_stop();
    }));
  }
}

}  // namespace textvec::batch
