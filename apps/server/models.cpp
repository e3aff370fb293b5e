// In: what models a server was told to serve. Out: engines with names. See models.h.
#include "server/models.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "model/utf8.h"

namespace textvec::server {
namespace {

// The first batch may compile programs of a device.
constexpr std::chrono::minutes kFirstBatchMax{10};

Error of_source(const Source& source, std::size_t sources, Error error) {
  if (sources > 1) error.message = model::shortened(source.model) + ": " + error.message;
  return error;
}

Result<ModelPointer> load_model(const Source& source, const LoadOptions& load,
                                std::vector<std::string> aliases, const Limits& limits) {
  auto engine = Engine::load(source.model, load);
  if (!engine) return engine.error();
  // The first batch is slower than others, and shows whether the model works at all.
  const auto health = engine->health(kFirstBatchMax);
  if (!health) return health.error();
  Served served{engine->info(),      source.name.empty() ? engine->info().name : source.name,
                std::move(aliases),  limits.texts_max,
                limits.requests_max, std::time(nullptr)};
  if (served.name.empty() || served.name.size() > Models::kNameBytesMax) {
    return Error{ErrorCode::InvalidArgument,
                 "the model's name has " + std::to_string(served.name.size()) +
                     " bytes; it takes 1 to " + std::to_string(Models::kNameBytesMax)};
  }
  return std::make_shared<const Model>(Model{std::move(*engine), std::move(served)});
}

}  // namespace

Result<Models> Models::load(std::span<const Source> sources, const LoadOptions& load,
                            const ServeOptions& options) {
  if (sources.empty() || sources.size() > kModelsMax) {
    return Error{ErrorCode::InvalidArgument, std::to_string(sources.size()) +
                                                 " models; a server takes 1 to " +
                                                 std::to_string(kModelsMax)};
  }
  std::vector<ModelPointer> models;
  for (const Source& source : sources) {
    auto model =
        load_model(source, load, models.empty() ? options.aliases : std::vector<std::string>(),
                   options.limits);
    if (!model) return of_source(source, sources.size(), std::move(model).error());
    const std::string& name = (*model)->served.name;
    if (std::any_of(models.begin(), models.end(),
                    [&](const ModelPointer& other) { return other->served.name == name; })) {
      return Error{ErrorCode::InvalidArgument, "two models are called " + model::shortened(name) +
                                                   "; --model NAME=MODEL gives one a name"};
    }
    models.push_back(std::move(*model));
  }
  return Models(std::move(models));
}

ModelPointer Models::find(std::string_view name) const {
  for (const ModelPointer& model : models_) {
    if (model->served.name == name) return model;
  }
  return first()->served.answers_to(name) ? first() : nullptr;
}

ModelPointer Models::choose(Body& body, Dialect dialect) const {
  if (dialect == Dialect::Tei) return first();
  const auto name = body.string("model");
  if (!name) return first();
  if (auto found = find(*name)) return found;
  constexpr std::string_view kTag = ":latest";
  if (dialect == Dialect::Ollama && name->ends_with(kTag)) {
    if (auto found = find(name->substr(0, name->size() - kTag.size()))) return found;
  }
  body.fail(no_such_model());
  return first();
}

Problem Models::no_such_model() const {
  std::string names;
  for (const ModelPointer& model : models_) {
    names += (names.empty() ? "" : ", ") + model->served.name;
  }
  // The name that was asked for is not repeated: it may be a megabyte, and it is the caller's own.
  return {{ErrorCode::NotFound,
           "is not served here; " + names + (models_.size() == 1 ? " is" : " are")},
          "model",
          {}};
}

}  // namespace textvec::server
