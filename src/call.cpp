// In: the texts of one call. Out: their vectors, gathered. See call.h.
#include "call.h"

#include <algorithm>
#include <utility>

#include "vectors/vector.h"

namespace textvec {

Call::Call(std::size_t rows, std::size_t first_text, std::size_t dimension,
           const EmbedOptions& options)
    : first_text_(first_text),
      normalize_(options.normalize),
      report_(options.bad_text == BadText::Report) {
  deadline = options.deadline;
  stop = options.stop;
  texts.reserve(rows);
  rows_of_texts_.reserve(rows);
  embeddings_.dimension = dimension;
  embeddings_.values.assign(rows * dimension, 0.0F);
  embeddings_.tokens.assign(rows, 0);
  embeddings_.truncated.assign(rows, 0);
}

Call::~Call() {
  if (answered_) return;
  error_ = Error{ErrorCode::Internal, "out of memory"};  // short enough to need none
  answer();
}

void Call::add(std::size_t row, batch::Text text, bool truncated) {
  embeddings_.tokens[row] = static_cast<std::uint32_t>(text.ids.size());
  embeddings_.truncated[row] = truncated ? 1 : 0;
  rows_of_texts_.push_back(row);
  texts.push_back(std::move(text));
  ++unfinished_;
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
  const std::size_t dimension = embeddings_.dimension;
  if (vector) {
    const auto out = std::span<float>(embeddings_.values).subspan(row * dimension, dimension);
    auto finished = vectors::finish_vector(*vector, normalize_, out);
    if (!finished) fail_row(row, std::move(finished).error());
  } else {
    fail_row(row, std::move(vector).error());
  }
  if (--unfinished_ == 0) answer();
}

void Call::answer() {
  answered_ = true;
  if (error_) {
    promise_.set_value(std::move(*error_));
    return;
  }
  std::sort(embeddings_.failures.begin(), embeddings_.failures.end(),
            [](const Error& a, const Error& b) { return *a.text < *b.text; });
  promise_.set_value(std::move(embeddings_));
}

}  // namespace textvec
