// In: requests whose head was taken and whose body has come. Out: replies. Knows routes and
// engines, and nothing of sockets: http.h does.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "server/admission.h"
#include "server/dialects.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/options.h"
#include "server/pool.h"
#include "server/reload.h"
#include "server/reply.h"
#include "server/span_exporter.h"
#include "server/status.h"

namespace textvec::server {

enum class Action : std::uint8_t {
  // Answered at once.
  Live,
  Ready,
  MetricsText,
  Info,
  ModelList,
  OneModel,  // whose name is the rest of the path
  OpenApi,
  Page,    // a file of the page for browsers
  NoHead,  // a route of TEI for models with another head
  Reload,  // answered when it is over
  // Answered by the pool and the engine.
  EmbedOpenAi,
  EmbedTei,
  EmbedAll,
  Similarity,
  EmbedOllama,
  Tokenize,
  Decode,
};

struct Route {
  std::string_view method;  // "GET" or "POST"; GET routes answer HEAD too
  std::string_view path;    // with a '*' at its end: and whatever follows, which is not empty
  Action action;
  bool is_open = false;   // without a key too
  bool is_local = false;  // for programs of this machine
};

class Service {
 public:
  // `models` must outlive the service. `threads` parse, tokenise and write replies. Without the
  // page GET / says whether the server is ready, as TEI's does.
  Service(const Models& models, const Limits& limits, unsigned threads, bool has_page = true);

  // `reloader` must outlive the last answer. Without one nothing can be reloaded.
  void set_reloader(Reloader& reloader) noexcept { reloader_ = &reloader; }
  // `spans` must outlive the last reply. Without them there are no spans.
  void set_spans(SpanExporter& spans) noexcept { spans_ = &spans; }
  SpanExporter* spans() noexcept { return spans_; }
  // What libraries keep for each thread and each model is dropped: the threads are new ones.
  void renew_threads() { pool_.renew(); }

  // The route, or nullptr; then `allowed` lists the methods that the path takes, if any. Paths are
  // compared as they are: nothing but a model's name is decoded, and "//v1" is not "/v1".
  const Route* find(std::string_view method, std::string_view path, std::string& allowed) const;
  // Whether the route needs answer() below.
  static bool takes_time(const Route& route) noexcept;
  struct Visit {
    std::string_view path{};
    std::size_t connections = 0;
    std::string_view if_none_match{};  // the request's field of this name; empty: it has none
  };
  Reply answer_now(const Route& route, const Visit& visit);
  // `respond` is called once, on any thread, whatever happens.
  void answer(const Route& route, Request request, std::shared_ptr<Admission::Place> place,
              Respond respond);

  // Whether all that answer() was given is over, engine and all, within `limit`. REQUIRES before
  // the service may go: true.
  bool wait_until_idle(std::chrono::milliseconds limit);
  // From now on /readyz says no.
  void drain() noexcept { draining_ = true; }
  Admission& admission() noexcept { return admission_; }
  Metrics& metrics() noexcept { return metrics_; }

 private:
  struct Ask;
  using Asked = std::shared_ptr<Ask>;

  Reply metrics_reply(std::size_t connections) const;
  Reply one_model_reply(std::string_view path) const;
  void reload(const Asked& ask);
  void run(const Asked& ask);
  void embed(const Asked& ask);
  void submit(const Asked& ask);
  Result<void> admit_tokens(const Ask& ask, std::size_t tokens) const;
  // Of Embeddings or TokenVectors.
  template <class Vectors>
  void embedded(const Asked& ask, Result<Vectors>& vectors);
  void embedding_failed(const Asked& ask, Error error);
  static std::string body_of(const Ask& ask, const Embeddings& embeddings);
  static std::string body_of(const Ask& ask, const TokenVectors& vectors);
  static Reply embed_reply(const Ask& ask, const Work& work, std::string body);
  void tokenize(const Asked& ask);
  void decode(const Asked& ask);
  void fail(const Asked& ask, const Problem& problem);
  Reply ready_reply(bool asks_for_drain) const;

  const Models& models_;
  const Limits limits_;
  const bool has_page_;
  Reloader* reloader_ = nullptr;
  SpanExporter* spans_ = nullptr;
  Admission admission_;
  Metrics metrics_{};
  std::atomic<bool> draining_{false};
  std::mutex idle_mutex_{};
  std::condition_variable idle_{};
  std::size_t asks_ = 0;
  Pool pool_;  // last: it stops before what it uses is gone
};

// The OpenAPI document, as it is served.
std::string_view openapi_document() noexcept;

}  // namespace textvec::server
