// In: a model. Out: its fastest settings here. See tune_command.h.
#include "tune_command.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <optional>
#include <utility>

#include "hub/locate.h"
#include "load.h"
#include "runtime/machine.h"
#include "textvec/engine.h"
#include "tuning.h"

namespace textvec {
namespace {

using Clock = std::chrono::steady_clock;

// Words a text, so that short ones are the most: 3 to 90 words, 26 on average.
constexpr std::array<std::size_t, 8> kWords{3, 6, 9, 12, 18, 27, 45, 90};
constexpr std::size_t kTextsMax = 4096;
constexpr std::size_t kRoundsOfATrial = 5;
// Between rounds of the same setting a quiet machine differs by about as much.
constexpr double kClearlyFaster = 1.03;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<std::string> mixed_texts(std::size_t count) {
  std::vector<std::string> texts;
  texts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::string text;
    for (std::size_t word = 0; word < kWords[i % kWords.size()]; ++word) text += "water ";
    texts.push_back(std::move(text));
  }
  return texts;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[16];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d", &parts)};
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One setting, loaded.
struct Candidate {
  Engine engine;
  TuneTrial trial{};
};

class Tuner {
 public:
  Tuner(std::string_view model, LoadOptions options, double seconds, const std::stop_token& stop)
      : model_(model), options_(std::move(options)), seconds_(seconds) {
    embed_.stop = stop;
  }

  Result<TuneResult> run() {
    const runtime::Machine machine = runtime::describe_machine();
    auto usual = load({machine.cores_physical, options_.workers, 0, 1});
    if (!usual) return std::move(usual).error();
    best_.emplace(std::move(*usual));
    if (auto sized = choose_texts(); !sized) return std::move(sized).error();
    begin_ = Clock::now();
    const TuneTrial first = best_->trial;
    result_.trials.push_back(first);

    std::vector<TuneTrial> tries;
    for (unsigned workers = 1; workers < machine.cores_physical; workers *= 2) {
      tries.push_back({machine.cores_physical, workers, first.batch_tokens_max, 1});
    }
    tries.push_back({machine.cores_physical, machine.cores_physical, first.batch_tokens_max, 1});
    if (auto tried = try_each(tries); !tried) return std::move(tried).error();
    tries.clear();
    for (const std::size_t tokens : {256U, 512U, 1024U, 2048U, 4096U}) {
      tries.push_back({best_->trial.threads, best_->trial.workers, tokens, 1});
    }
    if (auto tried = try_each(tries); !tried) return std::move(tried).error();
    if (machine.cores_logical != machine.cores_physical) {
      TuneTrial more = best_->trial;
      if (more.workers == more.threads) more.workers = machine.cores_logical;
      more.threads = machine.cores_logical;
      if (auto tried = try_each({more}); !tried) return std::move(tried).error();
    }
    const ModelInfo& info = best_->engine.info();
    result_.model = info.name;
    result_.path = to_string(info.path);
    result_.precision = info.precision;
    result_.best = best_->trial;
    return std::move(result_);
  }

 private:
  Result<Candidate> load(const TuneTrial& trial) const {
    LoadOptions options = options_;
    options.threads = trial.threads;
    options.workers = trial.workers;
    options.batch_tokens_max = trial.batch_tokens_max;
    auto engine = Engine::load(model_, options);
    if (!engine) return std::move(engine).error();
    const ModelInfo& info = engine->info();
    TuneTrial loaded{info.threads, info.workers, info.batch_tokens_max, 1};
    return Candidate{std::move(*engine), loaded};
  }

  Result<double> texts_per_second(const Candidate& candidate) {
    const auto begin = Clock::now();
    const auto vectors = candidate.engine.embed(texts_, embed_);
    if (!vectors) return vectors.error();
    const auto tokens =
        std::accumulate(vectors->tokens.begin(), vectors->tokens.end(), std::size_t{0});
    result_.tokens_per_text = static_cast<double>(tokens) / static_cast<double>(texts_.size());
    return static_cast<double>(texts_.size()) / seconds_since(begin);
  }

  // So many texts that all trials fit into the time. The first round is the slowest.
  Result<void> choose_texts() {
    constexpr double kRounds =
        std::size_t{8} * 2 * kRoundsOfATrial;  // of eight trials and what they are held to
    texts_ = mixed_texts(2 * kWords.size());
    double rate = 0;
    for (int round = 0; round < 2; ++round) {
      const auto measured = texts_per_second(*best_);
      if (!measured) return measured.error();
      rate = *measured;
    }
    result_.texts_per_second = rate;
    const auto fitting = static_cast<std::size_t>(std::min(rate * seconds_ / kRounds, 1e6));
    const std::size_t sets =
        std::clamp<std::size_t>(fitting / kWords.size(), 2, kTextsMax / kWords.size());
    texts_ = mixed_texts(sets * kWords.size());
    return {};
  }

  // Rounds of the best so far and of another setting in turn, so that both meet the same machine.
  Result<void> try_each(const std::vector<TuneTrial>& tries) {
    for (const TuneTrial& wanted : tries) {
      if (was_tried(wanted)) continue;
      if (seconds_since(begin_) > seconds_) {
        result_.complete = false;
        return {};
      }
      auto candidate = load(wanted);
      if (!candidate) return std::move(candidate).error();
      std::vector<double> ours;
      std::vector<double> theirs;
      for (std::size_t round = 0; round <= kRoundsOfATrial; ++round) {
        const auto best = texts_per_second(*best_);
        if (!best) return best.error();
        const auto other = texts_per_second(*candidate);
        if (!other) return other.error();
        if (round == 0) continue;  // what is new is slow
        ours.push_back(*best);
        theirs.push_back(*other);
      }
      const double ratio = median(theirs) / median(ours);
      candidate->trial.speed = best_->trial.speed * ratio;
      result_.trials.push_back(candidate->trial);
      const bool better = ratio > kClearlyFaster;
      result_.texts_per_second = median(better ? theirs : ours);
      if (better) best_.emplace(std::move(*candidate));
    }
    return {};
  }

  bool was_tried(const TuneTrial& wanted) const {
    return std::any_of(result_.trials.begin(), result_.trials.end(), [&](const TuneTrial& trial) {
      return trial.threads == wanted.threads && trial.workers == wanted.workers &&
             trial.batch_tokens_max == wanted.batch_tokens_max;
    });
  }

  const std::string model_;
  const LoadOptions options_;
  const double seconds_;
  Clock::time_point begin_{};
  EmbedOptions embed_{};
  std::vector<std::string> texts_{};
  std::optional<Candidate> best_{};
  TuneResult result_{};
};

}  // namespace

Result<TuneResult> tune(std::string_view model, LoadOptions options, double seconds,
                        const std::stop_token& stop) {
  if (options.target == Target::Static) {
    return Error{ErrorCode::InvalidArgument, "a static graph has one worker: nothing to tune"};
  }
  options.provider = Provider::Cpu;  // a device has one worker, and what was tuned is not for it
  const auto cache_folder = options.cache_folder.empty()
                                ? hub::cache_folder()
                                : Result<std::filesystem::path>(options.cache_folder);
  if (!cache_folder) return cache_folder.error();
  const auto files = find_model(model);
  if (!files) return files.error();
  const auto key = tuning_key(*files, options.precision, *cache_folder);
  if (!key) return key.error();
  auto result = Tuner(model, std::move(options), seconds, stop).run();
  if (!result) return result;
  const TuneTrial& best = result->best;
  const auto file = store_tuning(
      *cache_folder, *key, result->model,
      {best.threads, best.workers, best.batch_tokens_max, result->texts_per_second, today()});
  if (!file) return file.error();
  result->file = file->string();
  return result;
}

}  // namespace textvec
