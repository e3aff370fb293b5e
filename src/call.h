// In: the texts of one call and its options. Out: a batch::Job that gathers their vectors into one
// Embeddings, and a future for it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "batch/queue.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"

namespace textvec {

class Call final : public batch::Job {
 public:
  // For `rows` texts, which are then added or refused one by one; `first_text` is the index of the
  // first in the caller's list.
  Call(std::size_t rows, std::size_t first_text, std::size_t dimension,
       const EmbedOptions& options);

  // Before the job is queued, on one thread:
  void add(std::size_t row, batch::Text text, bool truncated);
  // A text of `tokens` that runs as several: `windows`, which are `chunks` of it. `width` is that
  // of the model's vectors.
  void add_chunked(std::size_t row, std::vector<batch::Text> windows, std::vector<Chunk> chunks,
                   std::size_t tokens, std::size_t width);
  // When all texts are added, none of them chunked, and `dimension` was 0: not the texts' vectors
  // are gathered but those of their tokens, of this width.
  void want_every_token(std::size_t width);
  // With BadText::FailCall the first refusal fails the call.
  void refuse(std::size_t row, Error error);
  // The call ends before row `rows`: the texts from there on are another's.
  void keep_rows(std::size_t rows);
  std::size_t rows() const noexcept { return embeddings_.rows(); }
  // Of all rows.
  std::size_t tokens() const noexcept;
  // Nothing is left to wait for: every text was refused, or one refusal failed the call.
  bool settled() const noexcept { return texts.empty() || abandoned(); }
  // Fails what cannot be queued, or answers a call that is settled. No more finish() afterwards.
  void close_early(std::optional<Error> error);

  // Nobody waits for ever: what was not answered by then fails with Internal.
  ~Call() override;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  std::future<Result<Embeddings>> future() { return promise_.get_future(); }
  // Before the job is queued: `done` gets the answer, and the future none.
  void on_done(std::function<void(Result<Embeddings>)> done) { done_ = std::move(done); }
  // All texts are tokenised.
  void ready() noexcept { ready_at_ = Clock::now(); }

  void finish(std::size_t text, Result<std::span<const float>> vector) override;
  void running(std::size_t text) noexcept override;
  bool abandoned() const noexcept override { return failed_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;

  // The vectors of a chunked text's windows, kept until all are there: they are added up in the
  // order of the text, so that its vector does not depend on which window was done first.
  struct Windows {
    std::size_t first_text = 0;  // theirs are texts[first_text], ...
    std::size_t unfinished = 0;
    std::vector<std::uint32_t> weights{};
    std::vector<float> vectors{};
    std::vector<float> mean{};
    bool failed = false;  // and said so
  };

  Result<void> keep(std::size_t text, Windows* windows, std::span<const float> vector);
  void fail_row(std::size_t row, Error error);
  void answer();
  void measure() noexcept;

  const std::size_t first_text_;
  const bool normalize_;
  const bool report_;
  std::vector<std::size_t> rows_of_texts_{};  // texts[i] is row rows_of_texts_[i]
  std::map<std::size_t, Windows> windows_{};  // by row
  std::vector<std::size_t> first_values_{};   // by row, of every token: where theirs begin
  std::promise<Result<Embeddings>> promise_{};
  std::function<void(Result<Embeddings>)> done_{};
  const Clock::time_point made_at_ = Clock::now();
  Clock::time_point ready_at_ = made_at_;

  std::mutex mutex_{};
  Embeddings embeddings_{};
  std::optional<Error> error_{};  // of the call
  std::size_t unfinished_ = 0;
  Clock::time_point running_at_{};                   // the epoch: not yet
  std::vector<Clock::time_point> texts_running_at_;  // by row; the same
  bool answered_ = false;
  std::atomic<bool> failed_{false};
};

}  // namespace textvec
