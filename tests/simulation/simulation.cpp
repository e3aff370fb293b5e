// In: a seed. Out: whether the promises hold. See simulation.h.
#include "simulation.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "batch/line.h"
#include "batch/shared_stop.h"
#include "batch/window.h"
#include "call.h"

namespace textvec::simulation {
namespace {

using batch::Item;
using batch::Moment;
using std::chrono::nanoseconds;

// splitmix64: the same numbers with every standard library, which its distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  std::size_t below(std::size_t end) { return static_cast<std::size_t>(next() % end); }
  std::size_t between(std::size_t first, std::size_t last) {
    return first + below(last - first + 1);
  }
  bool chance(std::size_t percent) { return below(100) < percent; }
  template <class T, std::size_t n>
  T one_of(const std::array<T, n>& choices) {
    return choices[below(n)];
  }

 private:
  std::uint64_t state_;
};

// Of one engine's life, which ends by being drained or closed; then comes the next.
struct Settings {
  std::size_t texts_max, workers, batch_tokens, portion_min, steps;
  std::size_t length_max, job_texts_max;
  // Percent of the jobs, or of the texts.
  std::size_t bad, with_deadline, with_stop, report;
  std::size_t out_of_memory;  // percent of batches of several texts
  std::size_t work;           // percent of the steps that are a worker's
  bool pads;                  // the session computes padding
};

Settings draw_settings(Random& random) {
  Settings s{};
  s.texts_max = random.one_of<std::size_t, 6>({1, 2, 7, 16, 64, 300});
  s.workers = random.one_of<std::size_t, 5>({1, 1, 2, 3, 5});
  s.batch_tokens = random.one_of<std::size_t, 5>({1, 8, 24, 64, 200});
  s.portion_min = random.one_of<std::size_t, 4>({0, 1, 20, 256});
  s.steps = random.between(200, 4000);
  s.length_max = random.one_of<std::size_t, 5>({1, 3, 10, 30, 90});
  s.job_texts_max = random.one_of<std::size_t, 5>({1, 2, 5, 12, 40});
  s.bad = random.one_of<std::size_t, 4>({0, 0, 3, 40});
  s.with_deadline = random.one_of<std::size_t, 3>({0, 30, 100});
  s.with_stop = random.one_of<std::size_t, 3>({0, 40, 100});
  s.report = random.one_of<std::size_t, 3>({0, 50, 100});
  s.out_of_memory = random.one_of<std::size_t, 4>({0, 0, 0, 10});
  s.work = random.one_of<std::size_t, 4>({30, 50, 65, 80});
  s.pads = random.between(0, 1) == 0;
  return s;
}

enum class At : std::uint8_t { Waiting, Taken, Running, Answered };

class World;

// A caller's job. It watches what becomes of each text, and hands it to the real Call.
class SimulatedJob final : public batch::Job {
 public:
  SimulatedJob(World& world, std::size_t place) : place_in_live(place), world_(world) {}
  ~SimulatedJob() override;
  SimulatedJob(const SimulatedJob&) = delete;
  SimulatedJob& operator=(const SimulatedJob&) = delete;

  void finish(std::size_t text, Result<std::span<const float>> vector) override;
  bool abandoned() const noexcept override { return call->abandoned(); }
  void answered(const Result<Embeddings>& answer);

  struct Fate {
    At at = At::Waiting;
    bool bad = false;
    bool failed = false;       // by itself
    std::uint64_t number = 0;  // in order of arrival; set when the job is accepted
  };

  std::shared_ptr<Call> call{};
  std::vector<Fate> fates{};
  std::optional<std::stop_source> source{};
  std::optional<ErrorCode> first_error{};  // of those that end a call
  std::size_t unanswered = 0;
  bool report = false;
  bool accepted = false;
  bool has_answer = false;
  std::size_t place_in_live;

 private:
  World& world_;
};

// A worker's thread, as far as its order of doing things goes.
struct Worker {
  std::optional<batch::Window> window{};
  std::vector<Item> batch{};                  // taken out of the window, perhaps waiting its turn
  std::unique_ptr<batch::SharedStop> stop{};  // it runs
  // Of the planned batch that is being worked at: its texts, its bad ones, and its runs so far.
  std::size_t planned = 0, bad = 0, runs = 0;
  std::size_t halves = 0;   // of it that are to come
  std::size_t longest = 0;  // text of the window that was planned so far
  std::uint64_t next = 0;   // the number of the text behind it
  bool by_chance = false;   // it failed once with no text at fault
};

class World {
 public:
  World(std::uint64_t seed, bool trace) : random_(seed), trace_(trace) {}

  void run(std::uint64_t steps) {
    while (step_ < steps) {
      live_one_engine(steps);
    }
  }

  template <class... Parts>
  void require(bool kept, const char* promise, const Parts&... parts) const {
    if (!kept) broken(promise, std::string() + (... + (" " + std::to_string(parts))));
  }
  void require(bool kept, const char* promise) const {
    if (!kept) broken(promise, "");
  }

  Counts counts{};

 private:
  friend class SimulatedJob;
  static constexpr std::size_t kPatientMax = 6;
  static constexpr std::size_t kWindowBatches = 8;

  [[noreturn]] void broken(const char* promise, const std::string& numbers) const;
  void say(const char* event, std::size_t a = 0, std::size_t b = 0) const {
    if (trace_) std::fprintf(stderr, "%llu: %s %zu %zu\n", ull(step_), event, a, b);
  }
  static unsigned long long ull(std::uint64_t value) { return value; }

  void live_one_engine(std::uint64_t steps);
  void step();
  void work(Worker& worker);
  void take(Worker& worker);
  void begin_run(Worker& worker);
  void end_run(Worker& worker);
  std::shared_ptr<SimulatedJob> draw_job();
  void submit();
  void submit_patiently();
  void wake(std::size_t index);
  void refuse(SimulatedJob& job, Error error, ErrorCode expected);
  void accept(const std::shared_ptr<SimulatedJob>& job);
  bool expect_room(std::size_t texts) const;
  void stop_one();
  void close();
  void check_counts() const;
  bool idle() const;
  SimulatedJob& job_of(const Item& item) const { return static_cast<SimulatedJob&>(*item.job); }
  SimulatedJob::Fate& fate(const Item& item) const { return job_of(item).fates[item.text]; }
  void move(SimulatedJob::Fate& fate, At to) {
    --at_[static_cast<std::size_t>(fate.at)];
    ++at_[static_cast<std::size_t>(to)];
    fate.at = to;
  }
  std::size_t count(At at) const { return at_[static_cast<std::size_t>(at)]; }

  bool let_go_ = false;  // first, because the jobs below set it when they go
  Random random_;
  const bool trace_;
  std::uint64_t step_ = 0;
  std::uint64_t numbers_ = 0;
  Moment now_{};
  Settings settings_{};
  std::optional<batch::Line> line_{};
  bool closing_ = false;
  std::vector<Worker> workers_{};
  std::vector<std::shared_ptr<SimulatedJob>> patient_{};  // wait for room
  std::vector<SimulatedJob*> live_{};  // without an answer; owned by who has them
  // The obvious twin of the line: every text, in order.
  std::deque<std::pair<SimulatedJob*, std::size_t>> waiting_{};
  std::size_t tokens_waiting_ = 0;
  std::array<std::size_t, 4> at_{};
  // What the batch that just ends may do to its texts.
  bool ended_well_ = false;
  std::size_t ended_rows_ = 0;
};

void World::broken(const char* promise, const std::string& numbers) const {
  const Settings& s = settings_;
  std::string what = "step " + std::to_string(step_) + ": broken: " + promise + numbers + "; with";
  const auto add = [&](const char* name, std::size_t value) {
    what += std::string(" ") + name + "=" + std::to_string(value);
  };
  add("queue", s.texts_max);
  add("workers", s.workers);
  add("batch_tokens", s.batch_tokens);
  add("portion_min", s.portion_min);
  add("lengths", s.length_max);
  add("job_texts", s.job_texts_max);
  add("pads", s.pads);
  throw Broken(what);
}

SimulatedJob::~SimulatedJob() {
  if (has_answer) return;
  // A destructor must not throw: the next check does. Nor may the call tell a job that is no more.
  if (accepted) world_.let_go_ = true;
  call->on_done([](const Result<Embeddings>&) {});
}

void SimulatedJob::finish(std::size_t text, Result<std::span<const float>> vector) {
  Fate& fate = fates.at(text);
  const bool running = fate.at == At::Running;
  world_.require(accepted, "a text of a refused job is answered");
  world_.require(fate.at != At::Answered, "a text is answered once", text);
  if (vector) {
    world_.require(running && world_.ended_well_, "a vector comes from a batch that ran");
    world_.require(!fate.bad, "a bad text has no vector");
    ++world_.counts.vectors;
  } else {
    const ErrorCode code = vector.error().code;
    switch (code) {
      case ErrorCode::TimedOut:
        world_.require(world_.now_ > deadline, "only a text whose deadline passed is late");
        world_.require(fate.at == At::Taken, "a text that runs is not late any more");
        ++world_.counts.late;
        break;
      case ErrorCode::Cancelled:
        world_.require(world_.closing_ || stop.stop_requested() || abandoned(),
                       "only what nobody waits for is cancelled");
        ++world_.counts.cancelled;
        break;
      case ErrorCode::Internal:
        world_.require(running && world_.ended_rows_ == 1, "a bad text fails alone",
                       world_.ended_rows_);
        world_.require(fate.bad, "only a bad text fails");
        ++world_.counts.failed;
        fate.failed = true;
        break;
      default:
        world_.require(false, "an error of a kind that there is", static_cast<int>(code));
    }
    if (!first_error && (!report || code != ErrorCode::Internal)) first_error = code;
  }
  world_.move(fate, At::Answered);
  --unanswered;
  call->finish(text, vector);
  world_.require(has_answer == (unanswered == 0), "a caller is answered with its last text");
}

void SimulatedJob::answered(const Result<Embeddings>& answer) {
  world_.require(!has_answer, "a caller is answered once");
  has_answer = true;
  SimulatedJob* last = world_.live_.back();
  world_.live_[place_in_live] = last;
  last->place_in_live = place_in_live;
  world_.live_.pop_back();
  if (!accepted) return;
  world_.require(answer.has_value() == !first_error.has_value(),
                 "a call fails when one of its texts made it fail, and then only");
  if (!answer) {
    world_.require(answer.error().code == *first_error, "a call fails by its first error",
                   static_cast<int>(answer.error().code), static_cast<int>(*first_error));
    return;
  }
  std::size_t failures = 0;
  for (std::size_t row = 0; row < fates.size(); ++row) {
    const bool listed = failures < answer->failures.size() &&
                        answer->failures[failures].text == std::optional<std::size_t>(row);
    world_.require(listed == fates[row].failed, "exactly the failed texts are reported", row);
    if (listed) {
      ++failures;
    } else {
      world_.require(answer->row(row)[0] == static_cast<float>(texts[row].ids[0]),
                     "a text has its own vector", row);
    }
  }
  world_.require(failures == answer->failures.size(), "no failure is reported twice");
}

void World::live_one_engine(std::uint64_t steps) {
  settings_ = draw_settings(random_);
  line_.emplace(settings_.texts_max);
  closing_ = false;
  workers_.clear();
  workers_.resize(settings_.workers);
  const std::uint64_t end = std::min(steps, step_ + settings_.steps);
  while (step_ < end && !(closing_ && idle())) {
    step();
    check_counts();
  }
  // Nobody comes any more: everything that was accepted has to be answered.
  for (std::size_t quiet = 0; !idle(); ++quiet) {
    require(quiet < 1'000'000, "all work ends");
    for (Worker& worker : workers_) work(worker);
    for (std::size_t i = patient_.size(); i-- > 0;) wake(i);
    check_counts();
  }
  require(live_.empty(), "every caller is answered in the end", live_.size());
  at_ = {};
}

bool World::idle() const {
  return line_->empty() && patient_.empty() &&
         std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return !worker.window && worker.batch.empty(); });
}

void World::step() {
  ++step_;
  if (random_.chance(settings_.work)) return work(workers_[random_.below(workers_.size())]);
  const std::size_t what = random_.below(100);
  if (what < 45) return submit();
  if (what < 55) return submit_patiently();
  if (what < 70) {
    if (!patient_.empty()) wake(random_.below(patient_.size()));
    return;
  }
  if (what < 85) {
    now_ += nanoseconds(random_.one_of<int, 4>({1, 3, 20, 200}));
    return say("time", static_cast<std::size_t>(now_.time_since_epoch().count()));
  }
  if (what < 99 || closing_ || !random_.chance(5)) return stop_one();
  close();
}

// --- Callers

std::shared_ptr<SimulatedJob> World::draw_job() {
  auto job = std::make_shared<SimulatedJob>(*this, live_.size());
  live_.push_back(job.get());
  EmbedOptions options;
  options.normalize = false;
  job->report = random_.chance(settings_.report);
  options.bad_text = job->report ? BadText::Report : BadText::FailCall;
  if (random_.chance(settings_.with_deadline)) {
    options.deadline = now_ + nanoseconds(random_.below(300)) - nanoseconds(random_.below(20));
  }
  if (random_.chance(settings_.with_stop)) {
    options.stop = job->source.emplace().get_token();
    if (random_.chance(3)) job->source->request_stop();
  }
  job->deadline = options.deadline;
  job->stop = options.stop;
  const std::size_t texts = random_.between(1, settings_.job_texts_max);
  job->call = std::make_shared<Call>(texts, 0, 1, options);
  job->fates.resize(texts);
  job->unanswered = texts;
  for (std::size_t row = 0; row < texts; ++row) {
    const std::size_t length = random_.between(1, settings_.length_max);
    const auto id = static_cast<std::uint32_t>(random_.between(1, 1000));
    job->call->add(row, {std::vector<std::uint32_t>(length, id), {}, 0}, false);
    job->fates[row].bad = random_.chance(settings_.bad);
  }
  job->texts = std::move(job->call->texts);
  job->call->on_done([caller = job.get()](const Result<Embeddings>& a) { caller->answered(a); });
  return job;
}

bool World::expect_room(std::size_t texts) const {
  return waiting_.empty() || waiting_.size() + texts <= settings_.texts_max;
}

void World::accept(const std::shared_ptr<SimulatedJob>& job) {
  job->accepted = true;
  counts.texts += job->texts.size();
  for (std::size_t text = 0; text < job->texts.size(); ++text) {
    job->fates[text].number = numbers_++;
    waiting_.emplace_back(job.get(), text);
    tokens_waiting_ += job->texts[text].ids.size();
  }
  at_[static_cast<std::size_t>(At::Waiting)] += job->texts.size();
  say("accepted", job->texts.size());
}

void World::refuse(SimulatedJob& job, Error error, ErrorCode expected) {
  require(error.code == expected, "a job is refused for the reason that holds",
          static_cast<int>(error.code), static_cast<int>(expected));
  ++counts.refused_jobs;
  say("refused", job.texts.size(), static_cast<std::size_t>(error.code));
  job.call->close_early(std::move(error));
  require(job.has_answer, "a caller that is refused is told");
}

void World::submit() {
  const auto job = draw_job();
  const bool expected = !closing_ && expect_room(job->texts.size());
  auto added = line_->add(job);
  require(added.has_value() == expected, "a job is taken whole when there is room, and then only",
          job->texts.size(), waiting_.size());
  if (added) return accept(job);
  refuse(*job, std::move(added).error(), closing_ ? ErrorCode::Cancelled : ErrorCode::Overloaded);
}

void World::submit_patiently() {
  if (patient_.size() == kPatientMax) return;
  patient_.push_back(draw_job());
  wake(patient_.size() - 1);
}

void World::wake(std::size_t index) {
  const auto job = patient_[index];
  auto told = line_->add_when_room(job, now_);
  const bool stopped = job->stop.stop_requested();
  const bool room = expect_room(job->texts.size());
  const bool late = now_ >= job->deadline;
  const bool waits = !closing_ && !stopped && !room && !late;
  require(told.has_value() == !waits, "who waits for room waits as long as there is none");
  if (!told) return;
  patient_.erase(patient_.begin() + static_cast<std::ptrdiff_t>(index));
  require(told->has_value() == (!closing_ && !stopped && room), "who waits is taken when he fits");
  if (*told) return accept(job);
  refuse(*job, std::move(*told).error(),
         closing_ || stopped ? ErrorCode::Cancelled : ErrorCode::TimedOut);
}

void World::stop_one() {
  if (live_.empty()) return;
  SimulatedJob& job = *live_[random_.below(live_.size())];
  if (!job.source) return;
  say("stop", job.texts.size());
  job.source->request_stop();
}

// --- Workers

void World::work(Worker& worker) {
  if (worker.stop) return end_run(worker);
  if (!worker.batch.empty()) return begin_run(worker);
  if (!worker.window) return take(worker);
  if (worker.window->empty()) return worker.window.reset();
  worker.batch = worker.window->next();
  require(!worker.batch.empty(), "no batch is empty");
  for (const Item& item : worker.batch) {
    require(fate(item).at == At::Taken, "a batch is made of what was taken");
  }
  if (worker.halves > 0) {
    --worker.halves;
    return;
  }
  worker.planned = worker.batch.size();
  worker.runs = 0;
  worker.by_chance = false;
  const auto& batch = worker.batch;
  worker.bad = static_cast<std::size_t>(
      std::count_if(batch.begin(), batch.end(), [&](const Item& item) { return fate(item).bad; }));
  std::size_t rows = 0;
  for (const Item& item : batch) {
    if (!settings_.pads) {
      require(fate(item).number >= worker.next, "a window runs in order of arrival");
      worker.next = fate(item).number + 1;
      continue;
    }
    const std::size_t length = item.content().ids.size();
    require(length >= worker.longest, "a window runs in order of length", length, worker.longest);
    require(rows == 0 || (length - worker.longest) * rows <= batch::PlanLimits{}.run_cost,
            "a longer text does not pad the others much", length, worker.longest, rows);
    worker.longest = length;
    ++rows;
  }
}

void World::take(Worker& worker) {
  if (line_->empty()) return;
  const std::size_t window_tokens = (settings_.pads ? kWindowBatches : 1) * settings_.batch_tokens;
  const auto items = line_->take({window_tokens, settings_.workers, settings_.portion_min});
  // In order, up to a worker's share, and not less than that.
  const std::size_t share = (tokens_waiting_ + settings_.workers - 1) / settings_.workers;
  const std::size_t most = std::min(window_tokens, std::max(settings_.portion_min, share));
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    require(!waiting_.empty(), "nothing is taken twice");
    const auto [job, text] = waiting_.front();
    require(items[i].job.get() == job && items[i].text == text, "texts leave as they came");
    require(fate(items[i]).at == At::Waiting, "what is taken was waiting");
    waiting_.pop_front();
    tokens += job->texts[text].ids.size();
    tokens_waiting_ -= job->texts[text].ids.size();
    require(i == 0 || tokens <= most, "a worker takes its share and no more", tokens, most);
    move(fate(items[i]), At::Taken);
  }
  require(!items.empty(), "a worker takes something when something waits");
  require(waiting_.empty() ||
              tokens + waiting_.front().first->texts[waiting_.front().second].ids.size() > most,
          "a worker takes all of its share");
  say("take", items.size(), tokens);
  worker.window.emplace(items, batch::PlanLimits{settings_.batch_tokens, settings_.pads});
  worker.longest = 0;
  worker.next = 0;
  worker.halves = 0;
}

// Between next() and here time has passed: a long text waits for its turn.
void World::begin_run(Worker& worker) {
  auto& batch = worker.batch;
  batch::drop_given_up(batch, now_, closing_);
  if (batch.empty()) return;
  std::size_t longest = 0;
  std::size_t tokens = 0;
  for (const Item& item : batch) {
    const batch::Job& job = *item.job;
    require(!closing_, "nothing runs after closing has begun");
    require(now_ <= job.deadline, "no text runs after its deadline");
    require(!job.stop.stop_requested(), "no text runs after its stop");
    require(!job.abandoned(), "no text runs for a call that failed");
    require(waiting_.empty() ||
                fate(item).number < waiting_.front().first->fates[waiting_.front().second].number,
            "nothing that waits came before what runs");
    longest = std::max(longest, item.content().ids.size());
    tokens += item.content().ids.size();
    move(fate(item), At::Running);
  }
  if (settings_.pads) tokens = batch.size() * longest;
  require(batch.size() == 1 || tokens <= settings_.batch_tokens, "a batch keeps within its tokens",
          batch.size(), longest);
  worker.stop = std::make_unique<batch::SharedStop>(batch);
  ++worker.runs;
  ++counts.batches;
  const std::size_t halvings = std::bit_width(worker.planned - 1);
  require(worker.by_chance || worker.runs <= 1 + 2 * worker.bad * halvings,
          "a bad text is found in few runs", worker.runs, worker.planned, worker.bad);
  require(worker.runs < 2 * worker.planned, "halving ends", worker.runs, worker.planned);
  say("run", batch.size(), longest);
}

void World::end_run(Worker& worker) {
  auto batch = std::exchange(worker.batch, {});
  const bool stopped = worker.stop->token().stop_requested();
  worker.stop.reset();
  const bool all_stopped = std::all_of(
      batch.begin(), batch.end(), [](const Item& item) { return item.job->stop.stop_requested(); });
  require(stopped == all_stopped, "a batch is stopped when all its callers have, and then only");
  const bool bad =
      std::any_of(batch.begin(), batch.end(), [&](const Item& item) { return fate(item).bad; });
  const bool by_chance = batch.size() > 1 && random_.chance(settings_.out_of_memory);
  ended_rows_ = batch.size();
  say(stopped ? "stopped" : bad ? "failed" : "done", batch.size());
  if (stopped || bad || by_chance) {
    if (stopped) ++counts.ended_by_stop;
    worker.by_chance |= by_chance || stopped;
    if (batch.size() > 1) {
      for (const Item& item : batch) move(fate(item), At::Taken);
      worker.halves += 2;
      ++counts.halved;
    }
    const ErrorCode code = stopped ? ErrorCode::Cancelled : ErrorCode::Internal;
    worker.window->failed(std::move(batch), {code, "the session failed"});
    return;
  }
  ended_well_ = true;
  for (const Item& item : batch) {
    const auto value = static_cast<float>(item.content().ids[0]);
    item.job->finish(item.text, std::span<const float>(&value, 1));
  }
  ended_well_ = false;
}

void World::close() {
  say("close");
  ++counts.closings;
  closing_ = true;
  for (const Item& item : line_->close()) {
    require(!waiting_.empty() && item.job.get() == waiting_.front().first &&
                item.text == waiting_.front().second,
            "closing gives back what waited");
    waiting_.pop_front();
    item.job->finish(item.text, Error{ErrorCode::Cancelled, "the engine is closing"});
  }
  require(waiting_.empty(), "closing forgets nobody", waiting_.size());
  tokens_waiting_ = 0;
}

void World::check_counts() const {
  require(!let_go_, "no job is let go before its texts are answered");
  require(line_->texts_waiting() == waiting_.size(), "the line counts its texts",
          line_->texts_waiting(), waiting_.size());
  require(line_->tokens_waiting() == tokens_waiting_, "the line counts its tokens",
          line_->tokens_waiting(), tokens_waiting_);
  require(line_->empty() == waiting_.empty(), "the line knows whether it is empty");
  require(count(At::Waiting) == waiting_.size(), "no text is lost or made up");
  require(waiting_.size() <= std::max(settings_.texts_max, settings_.job_texts_max),
          "the line is bounded");
}

}  // namespace

Counts simulate(std::uint64_t seed, std::uint64_t steps, bool trace) {
  World world(seed, trace);
  world.run(steps);
  return world.counts;
}

}  // namespace textvec::simulation
