// In: the texts of one call. Out: their vectors, gathered. See call.h.
#include "call.h"

#include <algorithm>
#include <utility>

#include "vectors/vector.h"

namespace textvec {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::microseconds microseconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration_cast<std::chrono::microseconds>(end - begin);
}

}  // namespace

Call::Call(std::size_t rows, std::size_t first_text, std::size_t dimension,
           const EmbedOptions& options)
    : first_text_(first_text),
      normalize_(options.normalize),
      report_(options.bad_text == BadText::Report),
      texts_running_at_(rows) {
  deadline = options.deadline;
  stop = options.stop;
  texts.reserve(rows);
  rows_of_texts_.reserve(rows);
  embeddings_.dimension = dimension;
  embeddings_.values.assign(rows * dimension, 0.0F);
  embeddings_.tokens.assign(rows, 0);
  embeddings_.truncated.assign(rows, 0);
  embeddings_.text_durations.resize(rows);
  if (options.too_long == TooLong::Chunk) embeddings_.chunks.resize(rows);
}

Call::~Call() {
  if (answered_) return;
  error_ = Error{ErrorCode::Internal, "out of memory"};  // short enough to need none
  answer();
}

void Call::add(std::size_t row, batch::Text text, bool truncated) {
  embeddings_.tokens[row] = static_cast<std::uint32_t>(text.ids.size());
  embeddings_.truncated[row] = truncated ? 1 : 0;
  embeddings_.text_durations[row].tokenize = microseconds_between(made_at_, Clock::now());
  rows_of_texts_.push_back(row);
  texts.push_back(std::move(text));
  ++unfinished_;
}

void Call::add_chunked(std::size_t row, std::vector<batch::Text> windows, std::vector<Chunk> chunks,
                       std::size_t tokens, std::size_t width) {
  if (windows.size() > 1) {
    Windows& waiting = windows_[row];
    waiting.first_text = texts.size();
    waiting.unfinished = windows.size();
    for (const Chunk& chunk : chunks) waiting.weights.push_back(chunk.tokens);
    // All that finish() will need: it must not run out of memory.
    waiting.vectors.resize(windows.size() * width);
    waiting.mean.resize(width);
  }
  for (batch::Text& window : windows) add(row, std::move(window), false);
  embeddings_.tokens[row] = static_cast<std::uint32_t>(tokens);
  embeddings_.chunks[row] = std::move(chunks);
}

std::size_t Call::tokens() const noexcept {
  std::size_t tokens = 0;
  for (const std::uint32_t of_row : embeddings_.tokens) tokens += of_row;
  return tokens;
}

void Call::want_every_token(std::size_t width) {
  every_token = true;
  embeddings_.dimension = width;
  std::size_t values = 0;
  for (const std::uint32_t of_row : embeddings_.tokens) {
    first_values_.push_back(values);
    values += of_row * width;
  }
  embeddings_.values.assign(values, 0.0F);
}

void Call::keep_rows(std::size_t rows) {
  embeddings_.values.resize(rows * embeddings_.dimension);
  embeddings_.tokens.resize(rows);
  embeddings_.truncated.resize(rows);
  embeddings_.text_durations.resize(rows);
  if (!embeddings_.chunks.empty()) embeddings_.chunks.resize(rows);
}

void Call::refuse(std::size_t row, Error error) { fail_row(row, std::move(error)); }

void Call::close_early(std::optional<Error> error) {
  if (error && !error_) error_ = std::move(error);
  answer();
}

void Call::fail_row(std::size_t row, Error error) {
  // What ends a call as a whole is no text's fault, and does not name one.
  const bool whole_call = error.code == ErrorCode::Cancelled || error.code == ErrorCode::TimedOut;
  if (!whole_call) error.text = first_text_ + row;
  if (report_ && !whole_call) {
    embeddings_.failures.push_back(std::move(error));
    return;
  }
  if (!error_) error_ = std::move(error);
  failed_.store(true, std::memory_order_relaxed);
}

void Call::finish(std::size_t text, Result<std::span<const float>> vector) {
  const std::lock_guard lock(mutex_);
  const std::size_t row = rows_of_texts_[text];
  const auto found = windows_.find(row);
  Windows* windows = found == windows_.end() ? nullptr : &found->second;
  if (windows == nullptr || !windows->failed) {
    auto kept = vector ? keep(text, windows, *vector) : Result<void>(std::move(vector).error());
    if (!kept) {
      if (windows != nullptr) windows->failed = true;
      fail_row(row, std::move(kept).error());
    }
  }
  // Of several windows the last one counts.
  if (texts_running_at_[row] != Clock::time_point()) {
    embeddings_.text_durations[row].inference =
        microseconds_between(texts_running_at_[row], Clock::now());
  }
  if (--unfinished_ == 0) answer();
}

Result<void> Call::keep(std::size_t text, Windows* windows, std::span<const float> vector) {
  if (every_token) {
    const auto begin = static_cast<std::ptrdiff_t>(first_values_[rows_of_texts_[text]]);
    std::copy(vector.begin(), vector.end(), embeddings_.values.begin() + begin);
    return {};
  }
  const std::size_t dimension = embeddings_.dimension;
  const auto out =
      std::span<float>(embeddings_.values).subspan(rows_of_texts_[text] * dimension, dimension);
  if (windows == nullptr) return vectors::finish_vector(vector, normalize_, out);
  const std::size_t window = text - windows->first_text;
  const auto place =
      std::span<float>(windows->vectors).subspan(window * vector.size(), vector.size());
  if (auto checked = vectors::finish_vector(vector, normalize_, place); !checked) return checked;
  if (--windows->unfinished > 0) return {};
  vectors::weighted_mean(windows->vectors, windows->weights, windows->mean);
  windows->vectors = {};
  return vectors::finish_vector(windows->mean, normalize_, out);
}

void Call::running(std::size_t text) noexcept {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (running_at_ == Clock::time_point()) running_at_ = now;
  const std::size_t row = rows_of_texts_[text];
  if (texts_running_at_[row] != Clock::time_point()) return;
  texts_running_at_[row] = now;
  Durations& durations = embeddings_.text_durations[row];
  durations.queue = microseconds_between(made_at_, now) - durations.tokenize;
}

void Call::measure() noexcept {
  embeddings_.durations.tokenize = microseconds_between(made_at_, ready_at_);
  if (running_at_ == Clock::time_point()) return;
  embeddings_.durations.queue = microseconds_between(ready_at_, running_at_);
  embeddings_.durations.inference = microseconds_between(running_at_, Clock::now());
}

void Call::answer() {
  answered_ = true;
  if (error_) {
    if (done_) return done_(std::move(*error_));
    promise_.set_value(std::move(*error_));
    return;
  }
  measure();
  std::sort(embeddings_.failures.begin(), embeddings_.failures.end(),
            [](const Error& a, const Error& b) { return *a.text < *b.text; });
  if (done_) return done_(std::move(embeddings_));
  promise_.set_value(std::move(embeddings_));
}

}  // namespace textvec
