// In: jobs. Out: their texts in order of arrival. See line.h.
#include "batch/line.h"

#include <algorithm>
#include <string>
#include <utility>

namespace textvec::batch {
namespace {

Error closed_error() { return {ErrorCode::Cancelled, "the engine is closing"}; }

}  // namespace

bool Line::has_room(std::size_t texts) const noexcept {
  return texts_waiting_ == 0 || texts <= texts_max_ - std::min(texts_max_, texts_waiting_);
}

void Line::append(std::shared_ptr<Job> job) {
  std::size_t tokens = 0;
  for (const Text& text : job->texts) tokens += text.ids.size();
  const std::size_t texts = job->texts.size();
  entries_.push_back({std::move(job), 0});
  texts_waiting_ += texts;
  tokens_waiting_ += tokens;
}

Result<void> Line::add(std::shared_ptr<Job> job) {
  if (closed_) return closed_error();
  if (job->texts.empty()) return {};
  if (!has_room(job->texts.size())) {
    return Error{ErrorCode::Overloaded, "the queue holds " + std::to_string(texts_waiting_) +
                                            " texts and takes " + std::to_string(texts_max_) +
                                            "; " + std::to_string(job->texts.size()) +
                                            " more do not fit: retry later"};
  }
  append(std::move(job));
  return {};
}

std::optional<Result<void>> Line::add_when_room(const std::shared_ptr<Job>& job, Moment now) {
  if (closed_) return closed_error();
  if (job->texts.empty()) return Result<void>();
  if (job->stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
  if (has_room(job->texts.size())) {
    append(job);
    return Result<void>();
  }
  if (now < job->deadline) return std::nullopt;
  return Error{ErrorCode::TimedOut, "the deadline passed while the queue was full"};
}

std::vector<Item> Line::take(const Portion& portion) {
  const std::size_t share = (tokens_waiting_ + portion.workers - 1) / portion.workers;
  const std::size_t tokens_max = std::min(portion.tokens_max, std::max(portion.tokens_min, share));
  std::vector<Item> items;
  std::size_t tokens = 0;
  while (!entries_.empty()) {
    Entry& entry = entries_.front();
    const std::size_t length = entry.job->texts[entry.next].ids.size();
    if (!items.empty() && tokens + length > tokens_max) break;
    tokens += length;
    items.push_back({entry.job, entry.next});
    --texts_waiting_;  // here, so that the counts are right when memory ends
    tokens_waiting_ -= length;
    if (++entry.next == entry.job->texts.size()) entries_.pop_front();
  }
  return items;
}

std::vector<Item> Line::close() {
  closed_ = true;
  std::vector<Item> items;
  for (const Entry& entry : entries_) {
    for (std::size_t text = entry.next; text < entry.job->texts.size(); ++text) {
      items.push_back({entry.job, text});
    }
  }
  entries_.clear();
  texts_waiting_ = 0;
  tokens_waiting_ = 0;
  return items;
}

}  // namespace textvec::batch
