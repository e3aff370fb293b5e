// In: a model and a shape. Out: how long each stage takes. See bench_command.h.
#include "bench_command.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <utility>

#include "batch/batch.h"
#include "load.h"
#include "model_vector.h"
#include "vectors/vector.h"

namespace textvec {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kWarmUpRunsMax = 3;
constexpr auto kWarmUpMax = std::chrono::milliseconds(500);
// One run of more tokens than this is not warmed up: it may take half an hour.
constexpr std::size_t kSmallTokensMax = 4096;
constexpr std::size_t kWordBytesMax = 16;
constexpr std::size_t kWordsTriedMax = 4096;  // of the vocabulary
constexpr std::size_t kTextBytesMax = (kWordBytesMax + 1) << 20;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string repeated(const std::string& word, std::size_t times) {
  std::string text;
  text.reserve(times * (word.size() + 1));
  for (std::size_t i = 0; i < times; ++i) text += (i == 0 ? "" : " ") + word;
  return text;
}

// Words that may be one token each: common ones, then the vocabulary's own.
std::string word_to_try(const tokens::Tokenizer& tokenizer, std::size_t index) {
  static const std::vector<std::string> common{"water", "the", "a", "1"};
  if (index < common.size()) return common[index];
  const auto id = static_cast<std::uint32_t>(index - common.size());
  const auto word = tokenizer.decode({&id, 1}, true);
  if (!word) return {};
  const std::size_t begin = word->find_first_not_of(' ');
  return begin == std::string::npos ? std::string() : word->substr(begin);
}

Result<std::size_t> count_tokens(const tokens::Tokenizer& tokenizer, const std::string& text) {
  tokens::Limits limits;
  limits.bytes_max = kTextBytesMax;
  const auto encoding = tokenizer.encode(text, limits);
  if (!encoding) return encoding.error();
  return encoding->ids.size();
}

Result<void> make_vectors(const runtime::HiddenStates& states, const batch::Batch& batch,
                          const LoadedModel& model) {
  const runtime::SessionInfo& session = model.session->info();
  if (auto checked = check_states(states, batch, session, model.width); !checked) return checked;
  std::vector<float> finished(model.info.dimension);
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const auto vector = model_vector(states, batch, row, session, model.info.pooling, model.dense);
    if (!vector) return vector.error();
    if (auto done = vectors::finish_vector(*vector, true, finished); !done) return done;
  }
  return {};
}

}  // namespace

Bench::Bench(std::unique_ptr<LoadedModel> model)
    : model_(std::move(model)), live_info_(std::make_unique<LiveInfo>(*model_)) {}
Bench::Bench(Bench&&) noexcept = default;
Bench& Bench::operator=(Bench&&) noexcept = default;
Bench::~Bench() = default;

const ModelInfo& Bench::info() const noexcept { return live_info_->now(); }

Result<Bench> Bench::load(std::string_view model, LoadOptions options) {
  auto loaded = load_model(model, options);
  if (!loaded) return std::move(loaded).error();
  loaded->few_cores.reset();  // one batch after the other is what is measured
  return Bench(std::make_unique<LoadedModel>(std::move(*loaded)));
}

Result<void> Bench::check(const BenchShape& shape) const {
  const std::size_t min = model_->tokenizer.special_tokens_added() + 1;
  const std::size_t max = model_->info.tokens_max;
  if (shape.tokens >= min && shape.tokens <= max) return {};
  return Error{ErrorCode::InvalidArgument, "shape " + std::to_string(shape.texts) + "x" +
                                               std::to_string(shape.tokens) +
                                               ": a text of this model has " + std::to_string(min) +
                                               " to " + std::to_string(max) + " tokens"};
}

// One word again and again. Each further word must be one token more; what the first words make
// beside that, with the special tokens, is known from a short text.
Result<std::string> Bench::text_of(std::size_t tokens) const {
  constexpr std::size_t kShort = 8;
  const tokens::Tokenizer& tokenizer = model_->tokenizer;
  const std::size_t tries = std::min(kWordsTriedMax, tokenizer.vocabulary_size());
  for (std::size_t index = 0; index < tries; ++index) {
    const std::string word = word_to_try(tokenizer, index);
    if (word.empty() || word.size() > kWordBytesMax) continue;
    const auto before = count_tokens(tokenizer, repeated(word, kShort - 1));
    const auto after = count_tokens(tokenizer, repeated(word, kShort));
    if (!before || !after || *after != *before + 1 || *after < kShort) continue;
    const std::size_t surplus = *after - kShort;
    if (tokens <= surplus) continue;
    std::string text = repeated(word, tokens - surplus);
    const auto count = count_tokens(tokenizer, text);
    if (count && *count == tokens) return text;
  }
  return Error{ErrorCode::Unsupported,
               "none of " + std::to_string(tries) + " words makes a text of exactly " +
                   std::to_string(tokens) + " tokens; choose another number"};
}

Result<BenchRun> Bench::measure(const std::vector<std::string>& texts, const std::stop_token& stop,
                                BenchResult& result) const {
  tokens::Limits limits;
  limits.bytes_max = kTextBytesMax;
  BenchRun run;
  const auto begin = Clock::now();
  auto lap_begin = begin;
  const auto end_lap = [&lap_begin](double& stage) {
    const auto now = Clock::now();
    stage += milliseconds(now - std::exchange(lap_begin, now));
  };

  std::vector<batch::Text> encoded;
  std::vector<std::size_t> lengths;
  for (const std::string& text : texts) {
    if (stop.stop_requested()) return Error{ErrorCode::Cancelled, "interrupted"};
    auto encoding = model_->tokenizer.encode(text, limits);
    if (!encoding) return std::move(encoding).error();
    lengths.push_back(encoding->ids.size());
    encoded.push_back({std::move(encoding->ids), std::move(encoding->type_ids), 0});
  }
  end_lap(run.tokenize);

  const auto planned =
      batch::plan(lengths, {model_->info.batch_tokens_max, !model_->session->info().packs});
  result.batches = planned.size();
  result.tokens = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
  for (const auto& indices : planned) {
    std::vector<const batch::Text*> rows;
    rows.reserve(indices.size());
    for (const std::size_t index : indices) rows.push_back(&encoded[index]);
    const batch::Batch batch =
        batch::make_batch(rows, static_cast<std::int64_t>(model_->spec.transformer.pad_token_id));
    end_lap(run.batch);
    const auto states = model_->session->run(batch, stop);
    if (!states) return states.error();
    end_lap(run.inference);
    if (auto made = make_vectors(*states, batch, *model_); !made) return std::move(made).error();
    end_lap(run.pool);
  }
  run.total = milliseconds(Clock::now() - begin);
  return run;
}

Result<BenchResult> Bench::run(const BenchShape& shape, const BenchLimits& limits,
                               const std::stop_token& stop) const {
  const auto text = text_of(shape.tokens);
  if (!text) return text.error();
  const std::vector<std::string> texts(shape.texts, *text);
  BenchResult result;

  const bool small = shape.texts * shape.tokens <= kSmallTokensMax;
  if (small || limits.runs_max > 1) {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < kWarmUpRunsMax && (i == 0 || Clock::now() < begin + kWarmUpMax);
         ++i) {
      if (auto run = measure(texts, stop, result); !run) return std::move(run).error();
    }
  }
  const auto begin = Clock::now();
  do {
    const auto run = measure(texts, stop, result);
    if (!run) return run.error();
    result.runs.push_back(*run);
  } while (result.runs.size() < limits.runs_max &&
           milliseconds(Clock::now() - begin) < limits.seconds_max * 1000);
  return result;
}

}  // namespace textvec
