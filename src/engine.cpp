// The public API: a text's way, a line per stage. text -> prompt -> tokens -> queue -> (workers:
// batch, session, pooling) -> vector.
#include "textvec/engine.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "batch/queue.h"
#include "call.h"
#include "load.h"
#include "runtime/machine.h"
#include "tokens/windows.h"
#include "worker.h"

namespace textvec {
namespace {

// A blocking call hands its texts over in parts, two of them at a time, so that any number of texts
// needs room for a few thousand tokenised ones only. A window of a chunked text counts as a text.
constexpr std::size_t kPartTexts = 1024;

constexpr std::string_view kInstructionStart = "Instruct: ";
constexpr std::string_view kInstructionEnd = "\nQuery:";

std::string known_prompts(const ModelInfo& info) {
  if (info.prompts.empty()) return "the model has no prompts";
  std::string names;
  for (const auto& [name, text] : info.prompts) names += (names.empty() ? "" : ", ") + name;
  return "the model has " + names;
}

// The prompts that sentence-transformers' encode_query and encode_document look for, in its order.
std::string prompt_of_role(const ModelInfo& info, Role role) {
  static const std::vector<std::string> query{"query"};
  static const std::vector<std::string> document{"document", "passage", "corpus"};
  for (const std::string& name : role == Role::Query ? query : document) {
    const auto found = info.prompts.find(name);
    if (found != info.prompts.end()) return found->second;
  }
  return {};
}

Result<std::string> instruction_prompt(const ModelInfo& info, const std::string& instruction) {
  const std::string query = prompt_of_role(info, Role::Query);
  const std::size_t end = query.find(kInstructionEnd);
  if (!query.starts_with(kInstructionStart) || end == std::string::npos) {
    return Error{
        ErrorCode::Unsupported,
        "instruction: the model has no query prompt of the form \"Instruct: ...\\nQuery:\""};
  }
  return std::string(kInstructionStart) + instruction + query.substr(end);
}

Result<std::string> choose_prompt(const ModelInfo& info, const EmbedOptions& options) {
  const int choices = int{options.role != Role::Unspecified} + int{options.prompt.has_value()};
  if (choices > 1 || (options.instruction && (options.prompt || options.role == Role::Document))) {
    return Error{ErrorCode::InvalidArgument,
                 "give one of role, prompt and instruction; an instruction goes with queries only"};
  }
  if (options.instruction) return instruction_prompt(info, *options.instruction);
  if (options.role != Role::Unspecified) return prompt_of_role(info, options.role);
  const std::string& name = options.prompt ? *options.prompt : info.default_prompt;
  if (name.empty() && !options.prompt) return std::string();
  const auto found = info.prompts.find(name);
  if (found == info.prompts.end()) {
    return Error{ErrorCode::InvalidArgument,
                 "unknown prompt \"" + name + "\"; " + known_prompts(info)};
  }
  return found->second;
}

template <class T>
std::future<Result<T>> ready_future(Result<T> result) {
  std::promise<Result<T>> promise;
  promise.set_value(std::move(result));
  return promise.get_future();
}

void append(Embeddings& all, Embeddings part) {
  all.dimension = part.dimension;
  all.values.insert(all.values.end(), part.values.begin(), part.values.end());
  all.tokens.insert(all.tokens.end(), part.tokens.begin(), part.tokens.end());
  all.truncated.insert(all.truncated.end(), part.truncated.begin(), part.truncated.end());
  std::move(part.chunks.begin(), part.chunks.end(), std::back_inserter(all.chunks));
  std::move(part.failures.begin(), part.failures.end(), std::back_inserter(all.failures));
  all.text_durations.insert(all.text_durations.end(), part.text_durations.begin(),
                            part.text_durations.end());
  all.durations.tokenize += part.durations.tokenize;
  all.durations.queue += part.durations.queue;
  all.durations.inference += part.durations.inference;
}

// Moves only: the engine's thread must not run out of memory here.
TokenVectors token_vectors_of(Embeddings of_call) noexcept {
  TokenVectors vectors;
  vectors.values = std::move(of_call.values);
  vectors.dimension = of_call.dimension;
  vectors.tokens = std::move(of_call.tokens);
  vectors.truncated = std::move(of_call.truncated);
  vectors.failures = std::move(of_call.failures);
  vectors.durations = of_call.durations;
  vectors.text_durations = std::move(of_call.text_durations);
  return vectors;
}

// What a call gathers.
enum class Of : unsigned char { Texts, Tokens };

}  // namespace

struct Engine::Impl {
  Impl(LoadedModel loaded, const LoadOptions& options)
      : model(std::move(loaded)),
        live_info(model),
        text_bytes_max(options.text_bytes_max),
        queue_texts_max(options.queue_texts_max),
        batch_runs(options.batch_runs),
        queue(options.queue_texts_max) {}

  Result<void> start() {
    runtime::Session& few_cores = model.few_cores ? *model.few_cores : *model.session;
    auto started = Workers::start(
        queue, {*model.session, few_cores}, std::move(model.dense),
        {model.info.workers, model.info.batch_tokens_max, model.info.pooling, model.width,
         static_cast<std::int64_t>(model.spec.transformer.pad_token_id), batch_runs});
    if (!started) return std::move(started).error();
    workers = std::move(*started);
    return {};
  }

  // What the options mean for this model, worked out once per call.
  struct Plan {
    std::string prompt{};
    std::size_t pool_begin = 0;
    std::size_t dimension = 0;  // of a text's vector; 0: tokens are asked for
    tokens::Limits limits{};
    tokens::WindowLimits windows{};
  };

  Result<void> check_tokens(const EmbedOptions& options) const {
    if (model.info.pooled_by_graph) {
      return Error{ErrorCode::Unsupported,
                   "the model's graph gives one vector a text, and none of its tokens"};
    }
    if (!options.dimensions && options.too_long != TooLong::Chunk) return {};
    return Error{ErrorCode::InvalidArgument,
                 "dimensions and chunks go with vectors of texts, not with those of tokens"};
  }

  Result<Plan> plan(const EmbedOptions& options, Of of = Of::Texts) const {
    Plan plan;
    if (of == Of::Tokens) {
      if (auto valid = check_tokens(options); !valid) return std::move(valid).error();
    }
    auto prompt = choose_prompt(model.info, options);
    if (!prompt) return prompt.error();
    plan.prompt = std::move(*prompt);
    if (!plan.prompt.empty() && !model.spec.pool_prompt) {
      const auto tokens = model.tokenizer.prefix_tokens(plan.prompt);
      if (!tokens) return tokens.error();
      plan.pool_begin = *tokens;
    }
    plan.dimension = options.dimensions.value_or(model.info.dimension);
    if (plan.dimension < 1 || plan.dimension > model.info.dimension) {
      return Error{ErrorCode::InvalidArgument, "dimensions is " + std::to_string(plan.dimension) +
                                                   "; the model takes 1 to " +
                                                   std::to_string(model.info.dimension)};
    }
    if (of == Of::Tokens) plan.dimension = 0;
    plan.limits = {model.info.tokens_max, options.too_long, options.truncation_side,
                   text_bytes_max};
    auto windows = plan_windows(plan.prompt, options);
    if (!windows) return windows.error();
    plan.windows = *windows;
    return plan;
  }

  Result<tokens::WindowLimits> plan_windows(const std::string& prompt,
                                            const EmbedOptions& options) const {
    if (options.too_long != TooLong::Chunk) {
      if (!options.chunk_tokens && !options.chunk_overlap) return tokens::WindowLimits{};
      return Error{ErrorCode::InvalidArgument,
                   "chunk_tokens and chunk_overlap go with the policy chunk for long texts only"};
    }
    const std::size_t tokens_max = model.info.tokens_max;
    const tokens::WindowLimits windows{options.chunk_tokens.value_or(tokens_max),
                                       options.chunk_overlap};
    if (windows.tokens_max > tokens_max) {
      return Error{ErrorCode::InvalidArgument,
                   "chunk_tokens is " + std::to_string(windows.tokens_max) + "; the model takes " +
                       std::to_string(tokens_max)};
    }
    const auto around = model.tokenizer.encode(prompt, {});
    if (!around) return around.error();
    const auto room = tokens::window_room(windows, around->ids.size());
    if (!room) return room.error();
    return windows;
  }

  // Many long texts take their time: a caller who has stopped waiting is heeded between them.
  Result<tokens::Encoding> encode(const Plan& plan, std::string_view text,
                                  const EmbedOptions& options) const {
    if (options.stop.stop_requested()) return Error{ErrorCode::Cancelled, "stopped by the caller"};
    if (std::chrono::steady_clock::now() > options.deadline) {
      return Error{ErrorCode::TimedOut, "the deadline passed before the text ran"};
    }
    return model.tokenizer.encode(text, plan.limits, plan.prompt);
  }

  Result<void> add_chunked(Call& call, std::size_t row, const Plan& plan,
                           const tokens::Encoding& whole, std::size_t text_bytes) const {
    const auto windows = tokens::split(whole, text_bytes, plan.windows);
    if (!windows) return windows.error();
    std::vector<batch::Text> texts;
    std::vector<Chunk> chunks;
    texts.reserve(windows->size());
    chunks.reserve(windows->size());
    // Alone the prompt may have another number of tokens than before this text. A text that fits is
    // pooled as without chunking all the same.
    const bool split = windows->size() > 1 && plan.pool_begin > 0;
    const std::size_t pool_begin = split ? whole.text_begin : plan.pool_begin;
    for (const tokens::Window& window : *windows) {
      auto part = tokens::cut_out(whole, window);
      texts.push_back({std::move(part.ids), std::move(part.type_ids), 0});
      texts.back().pool_begin = std::min(pool_begin, texts.back().ids.size() - 1);
      chunks.push_back(window.chunk);
    }
    call.add_chunked(row, std::move(texts), std::move(chunks), whole.ids.size(),
                     model.info.dimension);
    return {};
  }

  // The call has as many rows as there are texts, or, once `texts_max` are ready to run, fewer.
  template <class Text>
  std::shared_ptr<Call> make_call(const Plan& plan, std::span<const Text> texts,
                                  std::size_t first_text, const EmbedOptions& options,
                                  std::size_t texts_max) const {
    auto call = std::make_shared<Call>(texts.size(), first_text, plan.dimension, options);
    for (std::size_t row = 0; row < texts.size() && !call->abandoned(); ++row) {
      if (call->texts.size() >= texts_max) {
        call->keep_rows(row);
        break;
      }
      auto encoding = encode(plan, texts[row], options);
      if (!encoding) {
        call->refuse(row, std::move(encoding).error());
        continue;
      }
      // A tokenizer without special tokens gives none to an empty text: there is nothing to pool.
      if (encoding->ids.empty()) {
        call->refuse(row, {ErrorCode::InvalidArgument, "the text has no tokens"});
        continue;
      }
      if (options.too_long == TooLong::Chunk) {
        auto added = add_chunked(*call, row, plan, *encoding, texts[row].size());
        if (!added) call->refuse(row, std::move(added).error());
        continue;
      }
      batch::Text text{std::move(encoding->ids), std::move(encoding->type_ids), 0};
      // A text that truncation shortened to its prompt is pooled over what is left of it.
      text.pool_begin = std::min(plan.pool_begin, text.ids.size() - 1);
      call->add(row, std::move(text), encoding->truncated);
    }
    return call;
  }

  void submit_token_vectors(Result<std::shared_ptr<Call>> call, const Admit& admit,
                            TokensDone done) const {
    if (!call) return done(std::move(call).error());
    if (!(*call)->abandoned()) {
      const auto admitted = admit ? admit((*call)->tokens()) : Result<void>();
      if (!admitted) return done(admitted.error());
      (*call)->want_every_token(model.width);
    }
    (*call)->on_done([done = std::move(done)](Result<Embeddings> embeddings) {
      if (!embeddings) return done(std::move(embeddings).error());
      done(token_vectors_of(std::move(*embeddings)));
    });
    enqueue(*call, false);
  }

  void enqueue(const std::shared_ptr<Call>& call, bool wait) const {
    call->ready();
    if (call->settled()) return call->close_early(std::nullopt);
    auto queued = wait ? queue.push_when_room(call) : queue.push(call);
    if (!queued) call->close_early(std::move(queued).error());
  }

  std::future<Result<Embeddings>> enqueue_for_future(const std::shared_ptr<Call>& call,
                                                     bool wait) const {
    auto future = call->future();
    enqueue(call, wait);
    return future;
  }

  // A whole job for submit(), or why not.
  Result<std::shared_ptr<Call>> make_job(std::span<const std::string> texts,
                                         const EmbedOptions& options, Of of = Of::Texts) const {
    if (auto fits = check_count(texts.size()); !fits) return std::move(fits).error();
    const auto plan = this->plan(options, of);
    if (!plan) return plan.error();
    const std::size_t windows_max = std::max(queue_texts_max, tokens::kWindowsMax);
    auto call = make_call(*plan, texts, 0, options, windows_max);
    if (call->rows() == texts.size()) return call;
    return Error{ErrorCode::InvalidArgument, "the texts make more than " +
                                                 std::to_string(windows_max) +
                                                 " windows, which is all that submit() takes"};
  }

  Result<void> check_count(std::size_t texts) const {
    if (texts <= queue_texts_max) return {};
    return Error{ErrorCode::InvalidArgument, std::to_string(texts) +
                                                 " texts; submit() takes at most " +
                                                 std::to_string(queue_texts_max)};
  }

  Result<void> check_ids(std::span<const std::uint32_t> ids) const {
    if (ids.empty()) return Error{ErrorCode::InvalidArgument, "the text has no tokens"};
    for (const std::uint32_t id : ids) {
      if (id < model.info.vocabulary_size) continue;
      return Error{ErrorCode::InvalidArgument, "token id " + std::to_string(id) +
                                                   " is not in the vocabulary of " +
                                                   std::to_string(model.info.vocabulary_size)};
    }
    if (ids.size() <= model.info.tokens_max) return {};
    return Error{ErrorCode::InputTooLong, "text of " + std::to_string(ids.size()) +
                                              " tokens; the model takes " +
                                              std::to_string(model.info.tokens_max)};
  }

  Result<std::shared_ptr<Call>> make_job(std::vector<std::vector<std::uint32_t>> texts,
                                         EmbedOptions options, Of of = Of::Texts) const {
    if (auto fits = check_count(texts.size()); !fits) return std::move(fits).error();
    if (options.role != Role::Unspecified || options.prompt || options.instruction ||
        options.too_long == TooLong::Chunk) {
      return Error{ErrorCode::InvalidArgument,
                   "role, prompt, instruction and chunks go with texts, not with token ids"};
    }
    const auto plan = this->plan(options, of);
    if (!plan) return plan.error();
    auto call = std::make_shared<Call>(texts.size(), 0, plan->dimension, options);
    for (std::size_t row = 0; row < texts.size() && !call->abandoned(); ++row) {
      if (auto valid = check_ids(texts[row]); !valid) {
        call->refuse(row, std::move(valid).error());
      } else {
        call->add(row, {std::move(texts[row]), {}, 0}, false);
      }
    }
    return call;
  }

  Result<std::vector<Token>> tokens(std::string_view text, const EmbedOptions& options) const {
    EmbedOptions whole = options;
    whole.too_long = TooLong::Chunk;  // never truncated, and with the places of tokens
    auto plan = this->plan(whole);
    if (!plan) return plan.error();
    const std::string joined = std::exchange(plan->prompt, {}).append(text);
    const auto encoding = encode(*plan, joined, whole);
    if (!encoding) return encoding.error();
    const auto specials = model.tokenizer.special_ids();
    std::vector<Token> tokens(encoding->ids.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      Token& token = tokens[i];
      token.id = encoding->ids[i];
      const bool of_text =
          i >= encoding->text_begin && i < encoding->text_begin + encoding->spans.size();
      token.added = !of_text;
      token.special = token.added || std::binary_search(specials.begin(), specials.end(), token.id);
      if (token.added) {
        auto name = model.tokenizer.token_string(token.id);
        if (!name) return name.error();
        token.text = std::move(*name);
        continue;
      }
      const tokens::Span span = encoding->spans[i - encoding->text_begin];
      token.begin_byte = span.begin;
      token.end_byte = span.end;
      token.text = joined.substr(span.begin, span.end - span.begin);
    }
    return tokens;
  }

  template <class Text>
  Result<Embeddings> embed(std::span<const Text> texts, const EmbedOptions& options,
                           Of of = Of::Texts) const {
    const auto plan = this->plan(options, of);
    if (!plan) return plan.error();
    Embeddings all;
    all.dimension = of == Of::Tokens ? model.width : plan->dimension;
    all.values.reserve(texts.size() * plan->dimension);
    std::deque<std::future<Result<Embeddings>>> running;
    std::optional<Error> error;
    const auto collect = [&] {
      auto part = running.front().get();
      running.pop_front();
      if (part && !error) append(all, std::move(*part));
      if (!part && !error) error = std::move(part).error();
    };
    for (std::size_t begin = 0; begin < texts.size() && !error;) {
      const auto part = texts.subspan(begin, std::min(kPartTexts, texts.size() - begin));
      const auto call = make_call(*plan, part, begin, options, kPartTexts);
      begin += call->rows();  // before the worker has it
      if (of == Of::Tokens) call->want_every_token(model.width);
      running.push_back(enqueue_for_future(call, true));
      if (running.size() == 2) collect();
    }
    while (!running.empty()) collect();
    if (error) return std::move(*error);
    return all;
  }

  LoadedModel model;
  const LiveInfo live_info;
  const std::size_t text_bytes_max;
  const std::size_t queue_texts_max;
  const std::function<void(std::size_t, std::size_t)> batch_runs;
  mutable batch::Queue queue;
  std::unique_ptr<Workers> workers{};  // last: they stop before what they use is gone
};

Engine::Engine(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&& other) noexcept {
  if (this == &other) return *this;
  const Engine old(std::move(*this));  // which gives its memory back
  impl_ = std::move(other.impl_);
  return *this;
}
Engine::~Engine() {
  if (!impl_) return;
  impl_.reset();
  // Where models come and go the next one would not fit into every gap of this one.
  runtime::return_freed_memory();
}

Result<Engine> Engine::load(std::string_view model, LoadOptions options) {
  auto loaded = load_model(model, options);
  if (!loaded) return loaded.error();
  auto impl = std::make_unique<Impl>(std::move(*loaded), options);
  if (auto started = impl->start(); !started) return std::move(started).error();
  return Engine(std::move(impl));
}

Result<Embeddings> Engine::embed(std::string_view text, const EmbedOptions& options) const {
  return impl_->embed(std::span<const std::string_view>(&text, 1), options);
}

Result<Embeddings> Engine::embed(std::span<const std::string> texts,
                                 const EmbedOptions& options) const {
  return impl_->embed(texts, options);
}

Result<Embeddings> Engine::embed(std::span<const std::string_view> texts,
                                 const EmbedOptions& options) const {
  return impl_->embed(texts, options);
}

std::future<Result<Embeddings>> Engine::submit(std::vector<std::string> texts,
                                               EmbedOptions options) const {
  auto call = impl_->make_job(std::span<const std::string>(texts), options);
  if (!call) return ready_future<Embeddings>(std::move(call).error());
  return impl_->enqueue_for_future(*call, false);
}

void Engine::submit(std::vector<std::string> texts, EmbedOptions options, Done done) const {
  auto call = impl_->make_job(std::span<const std::string>(texts), options);
  if (!call) return done(std::move(call).error());
  (*call)->on_done(std::move(done));
  impl_->enqueue(*call, false);
}

void Engine::submit_tokens(std::vector<std::vector<std::uint32_t>> texts, EmbedOptions options,
                           Done done) const {
  auto call = impl_->make_job(std::move(texts), options);
  if (!call) return done(std::move(call).error());
  (*call)->on_done(std::move(done));
  impl_->enqueue(*call, false);
}

Result<TokenVectors> Engine::token_vectors(std::span<const std::string> texts,
                                           const EmbedOptions& options) const {
  auto embeddings = impl_->embed(texts, options, Of::Tokens);
  if (!embeddings) return std::move(embeddings).error();
  return token_vectors_of(std::move(*embeddings));
}

void Engine::submit_token_vectors(std::vector<std::string> texts, EmbedOptions options,
                                  const Admit& admit, TokensDone done) const {
  auto call = impl_->make_job(std::span<const std::string>(texts), options, Of::Tokens);
  impl_->submit_token_vectors(std::move(call), admit, std::move(done));
}

void Engine::submit_token_vectors(std::vector<std::vector<std::uint32_t>> texts,
                                  EmbedOptions options, const Admit& admit, TokensDone done) const {
  auto call = impl_->make_job(std::move(texts), std::move(options), Of::Tokens);
  impl_->submit_token_vectors(std::move(call), admit, std::move(done));
}

Result<std::vector<std::vector<std::uint32_t>>> Engine::tokenize(
    std::span<const std::string> texts, const EmbedOptions& options) const {
  const auto plan = impl_->plan(options);
  if (!plan) return plan.error();
  std::vector<std::vector<std::uint32_t>> ids;
  ids.reserve(texts.size());
  for (std::size_t text = 0; text < texts.size(); ++text) {
    auto encoding = impl_->encode(*plan, texts[text], options);
    if (!encoding) {
      Error error = std::move(encoding).error();
      const bool whole_call =
          error.code == ErrorCode::Cancelled || error.code == ErrorCode::TimedOut;
      if (!whole_call) error.text = text;
      return error;
    }
    ids.push_back(std::move(encoding->ids));
  }
  return ids;
}

Result<std::vector<Token>> Engine::tokens(std::string_view text,
                                          const EmbedOptions& options) const {
  return impl_->tokens(text, options);
}

Result<std::string> Engine::decode(std::span<const std::uint32_t> ids,
                                   bool skip_special_tokens) const {
  return impl_->model.tokenizer.decode(ids, skip_special_tokens);
}

const ModelInfo& Engine::info() const noexcept { return impl_->live_info.now(); }

Result<Health> Engine::health(std::chrono::milliseconds limit) const {
  Health health;
  health.texts_queued = impl_->queue.texts_waiting();
  EmbedOptions options;
  const auto begin = std::chrono::steady_clock::now();
  constexpr auto kNever = std::chrono::steady_clock::time_point::max();
  const bool limited =
      limit < std::chrono::duration_cast<std::chrono::milliseconds>(kNever - begin);
  if (limited) options.deadline = begin + std::max(limit, std::chrono::milliseconds(0));
  const std::string text = "health";
  const auto plan = impl_->plan(options);
  if (!plan) return plan.error();
  auto answer = impl_->enqueue_for_future(
      impl_->make_call(*plan, std::span<const std::string>(&text, 1), 0, options, 1), false);
  if (limited && answer.wait_until(options.deadline) != std::future_status::ready) {
    return Error{ErrorCode::TimedOut,
                 "no vector came within " + std::to_string(limit.count()) + " ms"};
  }
  const auto vector = answer.get();
  if (!vector) return vector.error();
  health.latency = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  return health;
}

}  // namespace textvec
