// In: a model, and where it might run. Out: what a provider is worth. See provider_command.h.
#include "provider_command.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "batch/batch.h"
#include "load.h"
#include "model_session.h"
#include "model_vector.h"
#include "runtime/machine.h"
#include "runtime/trial.h"

namespace textvec {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCosineMin = 0.999;
constexpr int kRunsMax = 5;
constexpr std::chrono::seconds kRunsLimit{3};

// A query, and a batch of texts of other lengths; some scripts, so that ids are far apart.
constexpr std::array kTexts{
    "what is a vector?",
    "A cat sat on the mat, and nobody knew why it had come in the middle of the night.",
    "The quick brown fox jumps over the lazy dog.",
    "It was the best of times, it was the worst of times.",
    "\xc3\x9c"
    "ber allen Gipfeln ist Ruh",
    "\xd0\xb2\xd1\x81\xd0\xb5 \xd1\x81\xd1\x87\xd0\xb0\xd1\x81\xd1\x82\xd0\xbb\xd0\xb8\xd0\xb2"
    "\xd1\x8b\xd0\xb5 \xd1\x81\xd0\xb5\xd0\xbc\xd1\x8c\xd0\xb8",
    "int main() { return 0; }",
    "one"};

struct Outcome {
  std::vector<std::vector<float>> vectors{};
  double milliseconds = 0;  // of all batches, the median run
};

Result<std::vector<batch::Batch>> trial_batches(const LoadedModel& model) {
  std::vector<batch::Text> texts;
  for (const char* text : kTexts) {
    tokens::Limits limits;
    limits.tokens_max = model.info.tokens_max;
    auto encoding = model.tokenizer.encode(text, limits);
    if (!encoding) return std::move(encoding).error();
    if (encoding->ids.empty()) continue;  // a vocabulary that knows nothing of it
    texts.push_back({std::move(encoding->ids), std::move(encoding->type_ids), 0});
  }
  if (texts.empty()) texts.push_back({{0}, {}, 0});
  std::vector<const batch::Text*> all;
  all.reserve(texts.size());
  for (const batch::Text& text : texts) all.push_back(&text);
  const auto pad = static_cast<std::int64_t>(model.spec.transformer.pad_token_id);
  return std::vector<batch::Batch>{batch::make_batch({all.data(), 1}, pad),
                                   batch::make_batch(all, pad)};
}

Result<void> run_once(const LoadedModel& model, const std::vector<batch::Batch>& batches,
                      std::vector<std::vector<float>>& vectors) {
  const runtime::SessionInfo& info = model.session->info();
  vectors.clear();
  for (const batch::Batch& batch : batches) {
    const auto states = model.session->run(batch, {});
    if (!states) return states.error();
    if (auto checked = check_states(*states, batch, info, model.width); !checked) return checked;
    for (std::size_t row = 0; row < batch.rows; ++row) {
      auto vector = model_vector(*states, batch, row, info, model.info.pooling, model.dense);
      if (!vector) return std::move(vector).error();
      vectors.push_back(std::move(*vector));
    }
  }
  return {};
}

// Once to warm up, which is what opens late buckets; then timed.
Result<Outcome> run_all(const LoadedModel& model) {
  const auto batches = trial_batches(model);
  if (!batches) return batches.error();
  Outcome outcome;
  if (auto run = run_once(model, *batches, outcome.vectors); !run) return std::move(run).error();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (times.size() < kRunsMax && (times.empty() || Clock::now() < begin + kRunsLimit)) {
    const auto run_begin = Clock::now();
    if (auto run = run_once(model, *batches, outcome.vectors); !run) return std::move(run).error();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - run_begin).count());
  }
  std::sort(times.begin(), times.end());
  outcome.milliseconds = times[times.size() / 2];
  return outcome;
}

struct Compared {
  double cosine = 1;
  std::string wrong{};  // empty: nothing
};

Compared compare(const Outcome& device, const Outcome& processor) {
  Compared compared;
  for (std::size_t row = 0; row < processor.vectors.size(); ++row) {
    double dot = 0;
    double device_square = 0;
    double processor_square = 0;
    for (std::size_t i = 0; i < processor.vectors[row].size(); ++i) {
      const double a = device.vectors[row][i];
      const double b = processor.vectors[row][i];
      dot += a * b;
      device_square += a * a;
      processor_square += b * b;
    }
    if (!std::isfinite(device_square)) return {0, "it gives NaN or infinity"};
    if (device_square == 0) return {0, "it gives a vector of zeros"};
    const double cosine = dot / std::sqrt(device_square * processor_square);
    // Written so that what is not a number is less.
    if (!(cosine >= compared.cosine)) compared.cosine = std::isfinite(cosine) ? cosine : 0;
  }
  if (compared.cosine >= kCosineMin) return compared;
  char text[96];
  std::snprintf(text, sizeof text,
                "its vectors are not the processor's: the smallest cosine is %.5f",
                compared.cosine);
  compared.wrong = text;
  return compared;
}

runtime::Verdict try_device(std::string_view model, const LoadOptions& options,
                            const Outcome& processor) {
  runtime::Verdict verdict;
  verdict.cpu_ms = processor.milliseconds;
  const auto refuse = [&](const std::string& reason) {
    verdict.reason = runtime::one_line(reason);
    return verdict;
  };
  const std::uint64_t before = runtime::resident_memory_bytes();
  const auto device = load_model(model, options, Trust::Blind);
  if (!device) return refuse(device.error().message);
  verdict.placement = device->session->info().placement;
  const auto outcome = run_all(*device);
  if (!outcome && outcome.error().code == ErrorCode::NonFinite) {
    return refuse("it gives NaN or infinity");
  }
  if (!outcome) return refuse("its run failed: " + outcome.error().message);
  const std::uint64_t after = runtime::resident_memory_bytes();
  verdict.memory_bytes = after > before ? after - before : 0;
  verdict.provider_ms = outcome->milliseconds;
  const Compared compared = compare(*outcome, processor);
  verdict.cosine = compared.cosine;
  verdict.reason = compared.wrong;
  verdict.right = compared.wrong.empty();
  return verdict;
}

}  // namespace

Result<std::vector<ProviderReport>> report_providers(std::string_view model,
                                                     const LoadOptions& options) {
  auto files = find_model(model);
  if (!files) return std::move(files).error();
  if (options.pooling != Pooling::FromModel) files->spec.pooling = options.pooling;
  return report_providers(*files, options);
}

Result<std::string> try_provider_here(std::string_view model, LoadOptions options) {
  options.require_provider = true;
  LoadOptions on_processor = options;
  on_processor.provider = Provider::Cpu;
  on_processor.provider_options.clear();
  on_processor.provider_library.clear();
  on_processor.precision = Precision::Auto;
  on_processor.target = Target::Auto;
  on_processor.buckets.clear();
  Outcome processor;
  {
    // Gone before the device's session comes: a large model may not be there twice.
    const auto loaded = load_model(model, on_processor, Trust::Blind);
    if (!loaded) return loaded.error();
    auto outcome = run_all(*loaded);
    if (!outcome) return std::move(outcome).error();
    processor = std::move(*outcome);
  }
  return runtime::verdict_line(try_device(model, options, processor));
}

}  // namespace textvec
