// In: requests. Out: replies. See service.h.
#include "server/service.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <exception>
#include <utility>

#include "cli/json_object.h"
#include "server/page.h"
#include "server/status.h"

namespace textvec::server {
namespace {

constexpr std::array<Route, 38> kRoutes{{
    // Before the other GET /, which is there without the page.
    {"GET", "/", Action::Page, true},
    {"GET", "/page/page.css", Action::Page, true},
    {"GET", "/page/main.js", Action::Page, true},
    {"GET", "/page/api.js", Action::Page, true},
    {"GET", "/page/draw.js", Action::Page, true},
    {"GET", "/page/metrics.js", Action::Page, true},
    {"GET", "/page/tokens.js", Action::Page, true},
    {"GET", "/page/vectors.js", Action::Page, true},
    {"GET", "/page/icon.svg", Action::Page, true},
    {"GET", "/livez", Action::Live, true},
    {"GET", "/readyz", Action::Ready, true},
    {"GET", "/health", Action::Ready, true},
    {"GET", "/ping", Action::Ready, true},
    {"GET", "/", Action::Ready, true},
    {"GET", "/metrics", Action::MetricsText},
    {"GET", "/info", Action::Info},
    {"GET", "/v1/models", Action::ModelList},
    {"GET", "/v1/models/*", Action::OneModel},
    {"GET", "/openapi.json", Action::OpenApi},
    {"GET", "/api-doc/openapi.json", Action::OpenApi},
    {"POST", "/admin/reload", Action::Reload, false, true},
    {"POST", "/v1/embeddings", Action::EmbedOpenAi},
    {"POST", "/embeddings", Action::EmbedOpenAi},
    {"POST", "/embed", Action::EmbedTei},
    {"POST", "/", Action::EmbedTei},
    {"POST", "/invocations", Action::EmbedTei},
    {"POST", "/similarity", Action::Similarity},
    {"POST", "/tokenize", Action::Tokenize},
    {"POST", "/decode", Action::Decode},
    {"POST", "/api/embed", Action::EmbedOllama},
    {"POST", "/embed_all", Action::EmbedAll},
    {"POST", "/embed_sparse", Action::NoHead},
    {"POST", "/predict", Action::NoHead},
    {"POST", "/rerank", Action::NoHead},
    {"POST", "/v1/rerank", Action::NoHead},
    {"POST", "/v1/completions", Action::NoHead},
    {"POST", "/v1/chat/completions", Action::NoHead},
    {"POST", "/api/generate", Action::NoHead},
}};

bool matches(const Route& route, std::string_view path) {
  if (!route.path.ends_with('*')) return route.path == path;
  const auto begin = route.path.substr(0, route.path.size() - 1);
  return path.size() > begin.size() && path.starts_with(begin);
}

// Of a part of a path; nullopt: a '%' without two hexadecimal digits behind it.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char value = static_cast<unsigned char>(text[i]);
    if (text[i] == '%') {
      const char* end = text.data() + std::min(i + 3, text.size());
      const auto read = std::from_chars(text.data() + i + 1, end, value, 16);
      if (read.ec != std::errc() || read.ptr != text.data() + i + 3) return std::nullopt;
      i += 2;
    }
    out += static_cast<char>(value);
  }
  return out;
}

std::string milliseconds(std::chrono::duration<double, std::milli> time) {
  return std::to_string(std::llround(time.count()));
}

std::size_t characters_of(const std::vector<std::string>& texts) {
  std::size_t count = 0;
  for (const std::string& text : texts) {
    count += static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
  }
  return count;
}

// English has four bytes a token; other scripts have more tokens a byte, but not many times more.
std::size_t estimate_tokens(const Inputs& inputs, std::size_t tokens_max) {
  std::size_t sum = 0;
  for (const std::string& text : inputs.texts) sum += std::min(text.size() / 4 + 2, tokens_max);
  for (const auto& ids : inputs.ids) sum += std::min(ids.size(), tokens_max);
  return sum;
}

// Of `error` clients of this machine see all, paths too.
Reply reload_reply(const std::vector<Reloader::Outcome>& outcomes) {
  std::vector<std::string> reloaded;
  std::vector<std::string> failed;
  Reply reply;
  for (const Reloader::Outcome& outcome : outcomes) {
    if (!outcome.error) {
      reloaded.push_back(outcome.name);
      continue;
    }
    cli::JsonObject one;
    failed.push_back(
        one.string("name", outcome.name).string("error", outcome.error->message).text());
    reply.note += (reply.note.empty() ? "" : "; ") + outcome.name + ": " + outcome.error->message;
  }
  cli::JsonObject json;
  reply.status = failed.empty() ? 200 : 500;
  reply.body = json.json("reloaded", cli::json_strings(reloaded))
                   .json("failed", cli::json_array(failed))
                   .text();
  return reply;
}

}  // namespace

// A request on its way. Whoever drops it, for want of memory too, answers it.
struct Service::Ask {
  Ask(Service& its_service, const Route& its_route, Request its_request,
      std::shared_ptr<Admission::Place> its_place, Respond its_respond)
      : service(&its_service),
        route(&its_route),
        request(std::move(its_request)),
        place(std::move(its_place)),
        respond(std::move(its_respond)) {
    const std::lock_guard lock(service->idle_mutex_);
    ++service->asks_;
  }
  ~Ask() {
    answer_for_want_of_memory();
    place.reset();
    model.reset();
    const std::lock_guard lock(service->idle_mutex_);
    if (--service->asks_ == 0) service->idle_.notify_all();
  }
  void answer_for_want_of_memory() noexcept {
    try {
      answer(refusal_reply(dialect_of(route->path), 503, "out of memory: retry later"));
    } catch (const std::exception&) {
      return;  // the connection's own deadline answers
    }
  }
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;

  void answer(Reply reply) {
    if (answered.exchange(true)) return;
    place->hold_reply(reply.body.size());
    if (model != nullptr) reply.model = model->served.name;
    respond(std::move(reply));
  }

  Service* service;
  const Route* route;
  Request request;
  std::shared_ptr<Admission::Place> place;
  Respond respond;
  ModelPointer model{};
  std::atomic<bool> answered{false};
  EmbedRequest embed{};
  std::size_t texts = 0;
  std::size_t characters = 0;
  Admission::Clock::time_point submitted{};  // to the engine
};

Service::Service(const Models& models, const Limits& limits, unsigned threads, bool has_page)
    : models_(models), limits_(limits), has_page_(has_page), admission_(limits), pool_(threads) {}

const Route* Service::find(std::string_view method, std::string_view path,
                           std::string& allowed) const {
  if (method == "HEAD") method = "GET";
  for (const Route& route : kRoutes) {
    if (!matches(route, path) || (route.action == Action::Page && !has_page_)) continue;
    if (route.action == Action::Reload && reloader_ == nullptr) continue;
    if (route.method == method) return &route;
    if (allowed.find(route.method) != std::string::npos) continue;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  return nullptr;
}

bool Service::takes_time(const Route& route) noexcept { return route.action >= Action::Reload; }

bool Service::wait_until_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(idle_mutex_);
  return idle_.wait_for(lock, limit, [this] { return asks_ == 0; });
}

Reply Service::ready_reply(bool asks_for_drain) const {
  if (asks_for_drain && draining_) return refusal_reply(Dialect::Tei, 503, "shutting down");
  if (admission_.stalled(Admission::Clock::now()) > limits_.stall_max) {
    return refusal_reply(Dialect::Tei, 503, "texts wait, and none is being done");
  }
  Reply reply;
  reply.content_type.clear();
  return reply;
}

Reply Service::metrics_reply(std::size_t connections) const {
  const Admission::Counts counts = admission_.counts();
  Metrics::Gauges gauges{counts.texts, counts.requests, counts.bytes, connections, {}, {}};
  if (spans_ != nullptr) gauges.spans = spans_->counts();
  for (const ModelPointer& model : models_.all()) {
    const ModelInfo& info = model->engine.info();
    gauges.models.push_back({model->served.name, info.provider, info.provider_wanted,
                             info.provider == Provider::Cpu && !info.provider_note.empty()});
  }
  Reply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = metrics_.text(gauges, models_.batches());
  return reply;
}

Reply Service::one_model_reply(std::string_view path) const {
  constexpr std::string_view kBegin = "/v1/models/";
  const auto name = percent_decoded(path.substr(kBegin.size()));
  const ModelPointer model = name ? models_.find(*name) : nullptr;
  if (model == nullptr) return problem_reply(Dialect::OpenAi, models_.no_such_model());
  Reply reply;
  reply.body = openai_model(model->served);
  return reply;
}

Reply Service::answer_now(const Route& route, const Visit& visit) {
  Reply reply;
  switch (route.action) {
    case Action::Live:
      return ready_reply(false);
    case Action::Ready:
      return ready_reply(true);
    case Action::MetricsText:
      return metrics_reply(visit.connections);
    case Action::Info:
      reply.body = tei_info(models_.first()->served, models_.first()->engine.info());
      return reply;
    case Action::ModelList: {
      std::vector<std::string> models;
      for (const ModelPointer& model : models_.all()) models.push_back(openai_model(model->served));
      reply.body = openai_models(models);
      return reply;
    }
    case Action::OneModel:
      return one_model_reply(visit.path);
    case Action::OpenApi:
      reply.body = openapi_document();
      return reply;
    case Action::Page:
      // GET / is a probe of TEI's too.
      reply = ready_reply(true);
      return reply.status == 200 ? page_reply(route.path, visit.if_none_match) : reply;
    default:
      metrics_.failed("model_type");
      return problem_reply(dialect_of(route.path),
                           {{ErrorCode::Unsupported,
                             "the model makes vectors of texts and of tokens, and nothing else"},
                            {},
                            {}});
  }
}

void Service::answer(const Route& route, Request request, std::shared_ptr<Admission::Place> place,
                     Respond respond) {
  auto ask =
      std::make_shared<Ask>(*this, route, std::move(request), std::move(place), std::move(respond));
  if (route.action == Action::Reload) return reload(ask);
  pool_.post([this, ask = std::move(ask)] {
    try {
      run(ask);
    } catch (const std::exception&) {
      return;  // no memory: the request is dropped, which answers it
    }
  });
}

void Service::reload(const Asked& ask) {
  const bool started = reloader_->start([ask](const std::vector<Reloader::Outcome>& outcomes) {
    ask->answer(reload_reply(outcomes));
  });
  if (!started) ask->answer(refusal_reply(Dialect::Tei, 409, "a reload is under way"));
}

void Service::run(const Asked& ask) {
  if (ask->request.stop.stop_requested()) {
    return fail(ask, {{ErrorCode::Cancelled, "the client left"}, {}, {}});
  }
  switch (ask->route->action) {
    case Action::Tokenize:
      return tokenize(ask);
    case Action::Decode:
      return decode(ask);
    default:
      return embed(ask);
  }
}

void Service::fail(const Asked& ask, const Problem& problem) {
  metrics_.failed(row_of(problem.error.code).failure);
  Reply reply = problem_reply(dialect_of(ask->route->path), problem);
  reply.texts = ask->texts;
  ask->answer(std::move(reply));
}

void Service::embed(const Asked& ask) {
  Body body(ask->request.body);
  ask->model = models_.choose(body, dialect_of(ask->route->path));
  const Served& served = ask->model->served;
  EmbedRequest& embed = ask->embed;
  switch (ask->route->action) {
    case Action::EmbedOpenAi:
      embed = read_openai_embed(body, served);
      break;
    case Action::Similarity:
      embed = read_similarity(body, served);
      break;
    case Action::EmbedOllama:
      embed = read_ollama_embed(body, served);
      break;
    case Action::EmbedAll:
      embed = read_tei_embed_all(body, served);
      break;
    default:
      embed = read_tei_embed(body, served);
  }
  ask->texts = embed.inputs.size();
  metrics_.asked(embed.inputs.single, ask->texts);
  if (body.problem()) return fail(ask, *body.problem());
  ask->request.body = {};
  embed.options.deadline = ask->request.deadline;
  embed.options.stop = ask->request.stop;
  ask->characters = characters_of(embed.inputs.texts);

  const auto busy =
      ask->place->add_texts(ask->texts, estimate_tokens(embed.inputs, served.info.tokens_max),
                            Admission::Clock::now(), ask->request.deadline);
  if (busy) {
    metrics_.failed("overloaded");
    ask->answer(busy_reply(dialect_of(ask->route->path), *busy));
    return;
  }
  submit(ask);
}

// The reply, and the numbers that it is made of, until it is made.
Result<void> Service::admit_tokens(const Ask& ask, std::size_t tokens) const {
  const std::size_t dimension = ask.model->served.info.hidden_size;
  const std::size_t reply = token_vectors_bytes(tokens, dimension);
  const std::size_t bytes = reply + tokens * dimension * sizeof(float);
  const bool fits = reply <= limits_.reply_bytes_max && bytes <= limits_.bytes_in_flight_max;
  if (!fits) {
    return Error{ErrorCode::InvalidArgument,
                 std::to_string(tokens) + " tokens, whose vectors of " + std::to_string(dimension) +
                     " numbers may make a reply of " + std::to_string(reply) +
                     " bytes; this server makes " + std::to_string(limits_.reply_bytes_max) +
                     " at most, and holds " + std::to_string(limits_.bytes_in_flight_max)};
  }
  if (const auto busy = ask.place->expect_reply(bytes)) {
    return Error{ErrorCode::Overloaded, busy->message};
  }
  return {};
}

void Service::submit(const Asked& ask) {
  const auto done = [this, ask]<class Vectors>(Result<Vectors> vectors) {
    ask->place->texts_done(Admission::Clock::now(), vectors.has_value());
    try {  // without memory the request is dropped, which answers it
      auto result = std::make_shared<Result<Vectors>>(std::move(vectors));
      // Not on the engine's thread: a reply may have megabytes.
      pool_.post([this, ask, result] {
        try {
          embedded(ask, *result);
        } catch (const std::exception&) {
          return;
        }
      });
    } catch (const std::exception&) {
      return;
    }
  };
  const Engine& engine = ask->model->engine;
  Inputs& inputs = ask->embed.inputs;
  const EmbedOptions& options = ask->embed.options;
  ask->submitted = Admission::Clock::now();
  if (ask->route->action == Action::EmbedAll) {
    const auto admit = [this, &ask](std::size_t tokens) { return admit_tokens(*ask, tokens); };
    if (inputs.ids.empty()) {
      engine.submit_token_vectors(std::move(inputs.texts), options, admit, done);
    } else {
      engine.submit_token_vectors(std::move(inputs.ids), options, admit, done);
    }
  } else if (inputs.ids.empty()) {
    engine.submit(std::move(inputs.texts), options, done);
  } else {
    engine.submit_tokens(std::move(inputs.ids), options, done);
  }
}

template <class Vectors>
void Service::embedded(const Asked& ask, Result<Vectors>& vectors) {
  if (!vectors) return embedding_failed(ask, std::move(vectors).error());
  const Work work(*vectors);
  metrics_.answered(ask->model->served.name, ask->embed.inputs.single, work,
                    Admission::Clock::now() - ask->request.arrived);
  ask->answer(embed_reply(*ask, work, body_of(*ask, *vectors)));
}

void Service::embedding_failed(const Asked& ask, Error error) {
  Problem problem{std::move(error), {}, Fault::Plain};
  if (problem.error.text) {
    problem.field = ask->embed.field;
    if (ask->route->action == Action::Similarity) {
      if (*problem.error.text == 0) {
        problem.field = "inputs.source_sentence";
        problem.error.text.reset();
      } else {
        --*problem.error.text;
      }
    } else if (ask->embed.inputs.single) {
      problem.error.text.reset();
    }
  }
  fail(ask, problem);
}

std::string Service::body_of(const Ask& ask, const Embeddings& embeddings) {
  switch (ask.route->action) {
    case Action::EmbedOpenAi:
      return openai_embeddings(ask.embed, embeddings, ask.model->served);
    case Action::Similarity:
      return similarities(embeddings);
    case Action::EmbedOllama:
      return ollama_embeddings(embeddings, ask.model->served,
                               Admission::Clock::now() - ask.request.arrived);
    default:
      return tei_embeddings(embeddings);
  }
}

std::string Service::body_of(const Ask&, const TokenVectors& vectors) {
  return tei_token_vectors(vectors);
}

Reply Service::embed_reply(const Ask& ask, const Work& work, std::string body) {
  Reply reply;
  reply.body = std::move(body);
  const auto total = Admission::Clock::now() - ask.request.arrived;
  reply.texts = work.tokens.size();
  for (const std::uint32_t tokens : work.tokens) reply.tokens += tokens;
  const Durations& durations = work.durations;
  reply.stages = Stages{ask.submitted, durations};
  reply.fields = {
      {"x-compute-type", std::string(to_string(ask.model->engine.info().provider))},
      {"x-compute-time", milliseconds(total)},
      {"x-compute-characters", std::to_string(ask.characters)},
      {"x-compute-tokens", std::to_string(reply.tokens)},
      {"x-total-time", milliseconds(total)},
      {"x-tokenization-time", milliseconds(durations.tokenize)},
      {"x-queue-time", milliseconds(durations.queue)},
      {"x-inference-time", milliseconds(durations.inference)},
  };
  return reply;
}

void Service::tokenize(const Asked& ask) {
  Body body(ask->request.body);
  ask->model = models_.first();
  const Served& served = ask->model->served;
  TokenizeRequest request = read_tokenize(body, served);
  if (body.problem()) return fail(ask, *body.problem());
  ask->texts = request.texts.size();
  request.options.deadline = ask->request.deadline;
  request.options.stop = ask->request.stop;
  const auto prompt =
      served.info.prompts.find(request.options.prompt.value_or(served.info.default_prompt));
  Reply reply;
  reply.body = "[";
  for (std::size_t i = 0; i < request.texts.size(); ++i) {
    const auto tokens = ask->model->engine.tokens(request.texts[i], request.options);
    if (!tokens) {
      Error error = tokens.error();
      error.text = i;
      return fail(ask, {std::move(error), "inputs", {}});
    }
    std::string whole = prompt == served.info.prompts.end() ? std::string() : prompt->second;
    whole += request.texts[i];
    if (i > 0) reply.body += ',';
    reply.body += tei_tokens(*tokens, whole, request.special_tokens);
    reply.tokens += tokens->size();
  }
  reply.body += ']';
  reply.texts = request.texts.size();
  ask->answer(std::move(reply));
}

void Service::decode(const Asked& ask) {
  Body body(ask->request.body);
  ask->model = models_.first();
  const DecodeRequest request = read_decode(body, ask->model->served);
  if (body.problem()) return fail(ask, *body.problem());
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < request.ids.size(); ++i) {
    auto text = ask->model->engine.decode(request.ids[i], request.skip_special_tokens);
    if (!text) {
      Error error = std::move(text).error();
      error.text = i;
      return fail(ask, {std::move(error), "ids", {}});
    }
    texts.push_back(std::move(*text));
  }
  Reply reply;
  reply.body = cli::json_strings(texts);
  reply.texts = texts.size();
  ask->answer(std::move(reply));
}

}  // namespace textvec::server
