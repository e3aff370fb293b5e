// In: requests. Out: replies. See service.h.
#include "server/service.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <utility>

#include "cli/json_object.h"
#include "server/page.h"
#include "server/status.h"

namespace textvec::server {
namespace {

constexpr std::array<Route, 36> kRoutes{{
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
    {"GET", "/v1/models", Action::Models},
    {"GET", "/openapi.json", Action::OpenApi},
    {"GET", "/api-doc/openapi.json", Action::OpenApi},
    {"POST", "/v1/embeddings", Action::EmbedOpenAi},
    {"POST", "/embeddings", Action::EmbedOpenAi},
    {"POST", "/embed", Action::EmbedTei},
    {"POST", "/", Action::EmbedTei},
    {"POST", "/invocations", Action::EmbedTei},
    {"POST", "/similarity", Action::Similarity},
    {"POST", "/tokenize", Action::Tokenize},
    {"POST", "/decode", Action::Decode},
    {"POST", "/api/embed", Action::EmbedOllama},
    {"POST", "/embed_all", Action::NoHead},
    {"POST", "/embed_sparse", Action::NoHead},
    {"POST", "/predict", Action::NoHead},
    {"POST", "/rerank", Action::NoHead},
    {"POST", "/v1/rerank", Action::NoHead},
    {"POST", "/v1/completions", Action::NoHead},
    {"POST", "/v1/chat/completions", Action::NoHead},
    {"POST", "/api/generate", Action::NoHead},
}};

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
    respond(std::move(reply));
  }

  Service* service;
  const Route* route;
  Request request;
  std::shared_ptr<Admission::Place> place;
  Respond respond;
  std::atomic<bool> answered{false};
  EmbedRequest embed{};
  std::size_t texts = 0;
  std::size_t characters = 0;
};

Service::Service(const Engine& engine, Served served, const Limits& limits, unsigned threads,
                 bool has_page)
    : engine_(engine),
      served_(std::move(served)),
      limits_(limits),
      has_page_(has_page),
      admission_(limits),
      pool_(threads) {}

const Route* Service::find(std::string_view method, std::string_view path,
                           std::string& allowed) const {
  if (method == "HEAD") method = "GET";
  for (const Route& route : kRoutes) {
    if (route.path != path || (route.action == Action::Page && !has_page_)) continue;
    if (route.method == method) return &route;
    if (allowed.find(route.method) != std::string::npos) continue;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  return nullptr;
}

bool Service::needs_pool(const Route& route) noexcept {
  return route.action >= Action::EmbedOpenAi;
}

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

Reply Service::answer_now(const Route& route, std::size_t connections,
                          std::string_view if_none_match) {
  Reply reply;
  switch (route.action) {
    case Action::Live:
      return ready_reply(false);
    case Action::Ready:
      return ready_reply(true);
    case Action::MetricsText: {
      const Admission::Counts counts = admission_.counts();
      reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
      const ModelInfo& info = engine_.info();
      const bool fell_back = info.provider == Provider::Cpu && !info.provider_note.empty();
      reply.body = metrics_.text({counts.texts, counts.requests, counts.bytes, connections,
                                  info.provider, info.provider_wanted, fell_back});
      return reply;
    }
    case Action::Info:
      reply.body = tei_info(served_, engine_.info());
      return reply;
    case Action::Models:
      reply.body = openai_models(served_);
      return reply;
    case Action::OpenApi:
      reply.body = openapi_document();
      return reply;
    case Action::Page:
      // GET / is a probe of TEI's too.
      reply = ready_reply(true);
      return reply.status == 200 ? page_reply(route.path, if_none_match) : reply;
    default:
      metrics_.failed("model_type");
      return problem_reply(
          dialect_of(route.path),
          {{ErrorCode::Unsupported, "the model makes one vector of each text, and nothing else"},
           {},
           {}});
  }
}

void Service::answer(const Route& route, Request request, std::shared_ptr<Admission::Place> place,
                     Respond respond) {
  auto ask =
      std::make_shared<Ask>(*this, route, std::move(request), std::move(place), std::move(respond));
  pool_.post([this, ask = std::move(ask)] {
    try {
      run(ask);
    } catch (const std::exception& exception) {
      Reply reply = refusal_reply(dialect_of(ask->route->path), 503, "out of memory: retry later");
      reply.note = exception.what();
      ask->answer(std::move(reply));
    }
  });
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
  EmbedRequest& embed = ask->embed;
  switch (ask->route->action) {
    case Action::EmbedOpenAi:
      embed = read_openai_embed(body, served_);
      break;
    case Action::Similarity:
      embed = read_similarity(body, served_);
      break;
    case Action::EmbedOllama:
      embed = read_ollama_embed(body, served_);
      break;
    default:
      embed = read_tei_embed(body, served_);
  }
  ask->texts = embed.inputs.size();
  metrics_.asked(embed.inputs.single, ask->texts);
  if (body.problem()) return fail(ask, *body.problem());
  ask->request.body = {};
  embed.options.deadline = ask->request.deadline;
  embed.options.stop = ask->request.stop;
  ask->characters = characters_of(embed.inputs.texts);

  const auto busy =
      ask->place->add_texts(ask->texts, estimate_tokens(embed.inputs, served_.info.tokens_max),
                            Admission::Clock::now(), ask->request.deadline);
  if (busy) {
    metrics_.failed("overloaded");
    ask->answer(busy_reply(dialect_of(ask->route->path), *busy));
    return;
  }
  const auto done = [this, ask](Result<Embeddings> embeddings) {
    ask->place->texts_done(Admission::Clock::now(), embeddings.has_value());
    try {  // without memory the request is dropped, which answers it
      auto result = std::make_shared<Result<Embeddings>>(std::move(embeddings));
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
  if (embed.inputs.ids.empty()) {
    engine_.submit(std::move(embed.inputs.texts), embed.options, done);
  } else {
    engine_.submit_tokens(std::move(embed.inputs.ids), embed.options, done);
  }
}

void Service::embedded(const Asked& ask, Result<Embeddings>& embeddings) {
  if (embeddings) {
    metrics_.answered(ask->embed.inputs.single, *embeddings,
                      Admission::Clock::now() - ask->request.arrived);
    return ask->answer(embed_reply(*ask, *embeddings));
  }
  Problem problem{std::move(embeddings).error(), {}, Fault::Plain};
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

Reply Service::embed_reply(const Ask& ask, const Embeddings& embeddings) const {
  Reply reply;
  const auto total = Admission::Clock::now() - ask.request.arrived;
  switch (ask.route->action) {
    case Action::EmbedOpenAi:
      reply.body = openai_embeddings(ask.embed, embeddings, served_);
      break;
    case Action::Similarity:
      reply.body = similarities(embeddings);
      break;
    case Action::EmbedOllama:
      reply.body = ollama_embeddings(embeddings, served_, total);
      break;
    default:
      reply.body = tei_embeddings(embeddings);
  }
  reply.texts = embeddings.rows();
  for (const std::uint32_t tokens : embeddings.tokens) reply.tokens += tokens;
  const Durations& durations = embeddings.durations;
  reply.fields = {
      {"x-compute-type", std::string(to_string(engine_.info().provider))},
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
  TokenizeRequest request = read_tokenize(body, served_);
  if (body.problem()) return fail(ask, *body.problem());
  ask->texts = request.texts.size();
  request.options.deadline = ask->request.deadline;
  request.options.stop = ask->request.stop;
  const auto prompt = request.options.prompt
                          ? served_.info.prompts.find(*request.options.prompt)
                          : served_.info.prompts.find(served_.info.default_prompt);
  Reply reply;
  reply.body = "[";
  for (std::size_t i = 0; i < request.texts.size(); ++i) {
    const auto tokens = engine_.tokens(request.texts[i], request.options);
    if (!tokens) {
      Error error = tokens.error();
      error.text = i;
      return fail(ask, {std::move(error), "inputs", {}});
    }
    std::string whole = prompt == served_.info.prompts.end() ? std::string() : prompt->second;
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
  const DecodeRequest request = read_decode(body, served_);
  if (body.problem()) return fail(ask, *body.problem());
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < request.ids.size(); ++i) {
    auto text = engine_.decode(request.ids[i], request.skip_special_tokens);
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
