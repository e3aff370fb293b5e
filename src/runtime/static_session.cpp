// In: static graphs and batches of any shape. Out: hidden states. See static_session.h.
#include "runtime/static_session.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "batch/buckets.h"
#include "runtime/input_rows.h"
#include "runtime/machine.h"
#include "runtime/program_cache.h"

namespace textvec::runtime {
namespace {

// "1.32.0" of "ONNX Runtime 1.32.0"
std::string version_number() {
  const std::string version = runtime_version();
  return version.substr(version.rfind(' ') + 1);
}

// One text of a batch, without its padding.
batch::Batch alone(const batch::Batch& batch, std::size_t row) {
  batch::Batch one;
  one.rows = 1;
  one.length = batch.lengths[row];
  const auto cut = [&](const std::vector<std::int64_t>& values) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * batch.length);
    return std::vector<std::int64_t>(begin, begin + static_cast<std::ptrdiff_t>(one.length));
  };
  one.ids = cut(batch.ids);
  one.mask = cut(batch.mask);
  one.type_ids = cut(batch.type_ids);
  one.lengths = {one.length};
  one.pool_begins = {batch.pool_begins[row]};
  return one;
}

class Buckets final : public StaticSession {
 public:
  Buckets(graph::StaticModel model, InputRows rows, StaticOptions options)
      : model_(std::move(model)),
        rows_(std::move(rows)),
        options_(std::move(options)),
        programs_(options_.cache_folder, model_.key(), version_number()),
        sessions_(options_.buckets.size()),
        memory_bytes_(options_.buckets.size()) {}

  Result<void> start() {
    const auto cheapest = std::min_element(
        options_.buckets.begin(), options_.buckets.end(),
        [](Bucket a, Bucket b) { return batch::run_cost(a) < batch::run_cost(b); });
    const auto session = session_of(*cheapest);
    if (!session) return session.error();
    info_ = (*session)->info();
    return {};
  }

  Result<HiddenStates> run(const batch::Batch& batch, const std::stop_token& stop) override {
    HiddenStates states;
    states.rows = batch.rows;
    states.length = info_.pooled ? 1 : batch.length;
    states.width = info_.width;
    auto values = std::make_shared<std::vector<float>>(states.rows * states.length * states.width);
    const auto row_of = [&](std::size_t row) {
      const std::size_t size = states.length * states.width;
      return std::span<float>(*values).subspan(row * size, size);
    };
    const batch::BucketPlan plan = batch::plan_buckets(batch.lengths, options_.buckets);
    for (const batch::BucketRun& run : plan.runs) {
      const auto given = run_bucket(run, batch, stop);
      if (!given) return given.error();
      for (std::size_t i = 0; i < run.texts.size(); ++i) {
        const std::size_t tokens = info_.pooled ? 1 : batch.lengths[run.texts[i]];
        const auto row = given->row(i).first(tokens * states.width);
        std::copy(row.begin(), row.end(), row_of(run.texts[i]).begin());
      }
    }
    for (const std::size_t text : plan.too_long) {
      const auto given = run_long(batch, text, stop);
      if (!given) return given.error();
      if (given->values.size() > row_of(text).size()) return shapes_differ();
      std::copy(given->values.begin(), given->values.end(), row_of(text).begin());
    }
    states.values = *values;
    states.owner = std::move(values);
    return states;
  }

  const SessionInfo& info() const noexcept override { return info_; }

  std::vector<BucketInfo> buckets() const override {
    const std::lock_guard lock(mutex_);
    std::vector<BucketInfo> infos;
    for (std::size_t i = 0; i < options_.buckets.size(); ++i) {
      const Bucket bucket = options_.buckets[i];
      const auto bytes = model_.program_bytes(bucket);
      infos.push_back({bucket, bytes ? *bytes : 0, memory_bytes_[i], programs_.bytes(bucket)});
    }
    return infos;
  }

 private:
  static Error shapes_differ() {
    return {ErrorCode::Internal, "a static graph and the fused one give other shapes"};
  }

  Result<Session*> session_of(Bucket bucket) {
    const std::lock_guard lock(mutex_);
    const auto index = static_cast<std::size_t>(
        std::find(options_.buckets.begin(), options_.buckets.end(), bucket) -
        options_.buckets.begin());
    if (sessions_[index]) return sessions_[index].get();
    const std::uint64_t before = resident_memory_bytes();
    auto graph = model_.graph(bucket);
    if (!graph) return std::move(graph).error();
    SessionOptions options = options_.session;
    options.static_graph = true;
    options.program_folder = programs_.folder(bucket);
    auto session = open_session(std::move(*graph), options);
    if (!session) return std::move(session).error();
    programs_.used(bucket);
    const std::uint64_t after = resident_memory_bytes();
    memory_bytes_[index] = after > before ? after - before : 0;
    sessions_[index] = std::move(*session);
    return sessions_[index].get();
  }

  // The bucket's cells that no token of the batch takes repeat the last one: rows of zeros would be
  // the hardest case for a norm in 16 bits.
  Result<batch::Batch> padded(const batch::BucketRun& run, const batch::Batch& batch) const {
    batch::Batch out;
    out.rows = run.bucket.texts;
    out.length = run.bucket.tokens;
    out.mask.assign(out.rows * out.length, 0);
    out.embeddings.resize(out.rows * out.length * rows_.width());
    for (std::size_t row = 0; row < out.rows; ++row) {
      const std::size_t text = run.texts[std::min(row, run.texts.size() - 1)];
      const std::size_t length = batch.lengths[text];
      out.lengths.push_back(length);
      std::fill_n(out.mask.begin() + static_cast<std::ptrdiff_t>(row * out.length), length, 1);
      const auto cells = std::span<float>(out.embeddings)
                             .subspan(row * out.length * rows_.width(), out.length * rows_.width());
      const auto ids = std::span(batch.ids).subspan(text * batch.length, length);
      if (auto written = rows_.write(ids, cells); !written) return std::move(written).error();
      const auto last = cells.subspan((length - 1) * rows_.width(), rows_.width());
      for (std::size_t token = length; token < out.length; ++token) {
        std::copy(last.begin(), last.end(),
                  cells.begin() + static_cast<std::ptrdiff_t>(token * rows_.width()));
      }
    }
    return out;
  }

  Result<HiddenStates> run_bucket(const batch::BucketRun& run, const batch::Batch& batch,
                                  const std::stop_token& stop) {
    if (stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
    const auto session = session_of(run.bucket);
    if (!session) return session.error();
    const auto input = padded(run, batch);
    if (!input) return input.error();
    auto states = (*session)->run(*input, stop);
    const std::size_t length = info_.pooled ? 1 : run.bucket.tokens;
    if (states && (states->rows != run.bucket.texts || states->length != length ||
                   states->width != info_.width)) {
      return shapes_differ();
    }
    return states;
  }

  Result<HiddenStates> run_long(const batch::Batch& batch, std::size_t text,
                                const std::stop_token& stop) {
    {
      const std::lock_guard lock(mutex_);
      if (!any_shape_) {
        auto opened = options_.open_any_shape();
        if (!opened) return std::move(opened).error();
        any_shape_ = std::move(*opened);
      }
    }
    return any_shape_->run(alone(batch, text), stop);
  }

  const graph::StaticModel model_;
  const InputRows rows_;
  const StaticOptions options_;
  const ProgramCache programs_;
  SessionInfo info_{};
  mutable std::mutex mutex_{};  // of what is opened late
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::uint64_t> memory_bytes_;
  std::unique_ptr<Session> any_shape_{};
};

}  // namespace

Result<std::unique_ptr<StaticSession>> open_static_session(graph::StaticModel model,
                                                           StaticOptions options) {
  auto rows = InputRows::open(model.weights(), model.embedding_names());
  if (!rows) return std::move(rows).error();
  auto buckets = std::make_unique<Buckets>(std::move(model), std::move(*rows), std::move(options));
  if (auto started = buckets->start(); !started) return std::move(started).error();
  return std::unique_ptr<StaticSession>(std::move(buckets));
}

}  // namespace textvec::runtime
