// In: what models a server was told to serve. Out: each of them loaded, and found by name.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/body.h"
#include "server/dialects.h"
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
};
// Whoever asked a model holds it until the reply is made.
using ModelPointer = std::shared_ptr<const Model>;

class Models {
 public:
  static constexpr std::size_t kModelsMax = 16;
  static constexpr std::size_t kNameBytesMax = 256;

  // Loads them one after the other and embeds a text with each. The first has the aliases too.
  // Errors: InvalidArgument (no model or too many, a name too long or of two models); those of
  // Engine::load and Engine::health, after the model's name where there are several.
  static Result<Models> load(std::span<const Source> sources, const LoadOptions& load,
                             const ServeOptions& options);

  const ModelPointer& first() const noexcept { return models_.front(); }
  const std::vector<ModelPointer>& all() const noexcept { return models_; }
  // The model of that name, else the one with that alias; nullptr: there is none.
  ModelPointer find(std::string_view name) const;
  // Which model a body means; the first when it does not say, and when it says nothing right, which
  // is then the body's problem. TEI's bodies never say it.
  ModelPointer choose(Body& body, Dialect dialect) const;
  // What is said to a client who names another.
  Problem no_such_model() const;

 private:
  explicit Models(std::vector<ModelPointer> models) : models_(std::move(models)) {}

  std::vector<ModelPointer> models_;
};

}  // namespace textvec::server
