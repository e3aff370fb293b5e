// In: what models a server was told to serve. Out: each of them loaded and checked, found by name,
// and loaded again without a gap.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "server/body.h"
#include "server/dialects.h"
#include "server/golden.h"
#include "server/metrics.h"
#include "server/options.h"
#include "server/reply.h"
#include "textvec/engine.h"

namespace textvec::server {

struct Source {
  std::string model{};  // as Engine::load takes it
  std::string name{};   // to clients; empty: its own
};

struct Model {
  Engine engine;
  Served served;
  Golden golden;
};
// Whoever asked a model holds it until the reply is made. Never the last to do so, which would end
// the engine: Models is.
using ModelPointer = std::shared_ptr<const Model>;

class Models {
 public:
  static constexpr std::size_t kModelsMax = 16;
  static constexpr std::size_t kNameBytesMax = 256;

  // Loads them one after the other and embeds golden.h's texts with each. The first has the aliases
  // too. Errors: InvalidArgument (no model or too many, a name too long or of two models); those of
  // Engine::load and golden_vectors(), after the model's name where there are several.
  static Result<std::unique_ptr<Models>> load(std::vector<Source> sources, const LoadOptions& load,
                                              const ServeOptions& options);

  // Loads a model again beside the one that is served, and puts it in its place when it is right;
  // returns when the last request of the old one is over and its memory given back. One at a time.
  // Errors: those of load(), and BadModel (other vectors of the same files); then all is as before.
  Result<void> reload(std::size_t index);

  ModelPointer first() const;
  std::vector<ModelPointer> all() const;
  // The model of that name, else the one with that alias; nullptr: there is none.
  ModelPointer find(std::string_view name) const;
  // Which model a body means; the first when it does not say, and when it says nothing right, which
  // is then the body's problem. TEI's bodies never say it.
  ModelPointer choose(Body& body, Dialect dialect) const;
  // Of all engines, those of reloads included.
  const BatchMetrics& batches() const noexcept { return *batches_; }
  // What is said to a client who names another.
  Problem no_such_model() const;

 private:
  Models(std::vector<Source> sources, const LoadOptions& load, const ServeOptions& options);
  Result<ModelPointer> load_one(std::size_t index) const;

  const std::vector<Source> sources_;
  const std::shared_ptr<BatchMetrics> batches_ = std::make_shared<BatchMetrics>();
  const LoadOptions load_;
  const std::vector<std::string> aliases_;
  const Limits limits_;
  mutable std::mutex mutex_{};
  std::vector<ModelPointer> models_{};
};

}  // namespace textvec::server
