// In: what models a server was told to serve. Out: checked engines with names. See models.h.
#include "server/models.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include "model/utf8.h"

namespace textvec::server {
namespace {

// How often is asked whether the last request of an old model is over.
constexpr std::chrono::milliseconds kOldModelCheck{5};

LoadOptions counting(LoadOptions load, const std::shared_ptr<BatchMetrics>& batches) {
  load.batch_runs = [batches](std::size_t texts, std::size_t tokens) {
    batches->ran(texts, tokens);
  };
  return load;
}

}  // namespace

Models::Models(std::vector<Source> sources, const LoadOptions& load, const ServeOptions& options)
    : sources_(std::move(sources)),
      load_(counting(load, batches_)),
      aliases_(options.aliases),
      limits_(options.limits) {}

Result<ModelPointer> Models::load_one(std::size_t index) const {
  const Source& source = sources_[index];
  Golden golden{describe_files(source.model), {}};
  auto engine = Engine::load(source.model, load_);
  if (!engine) return engine.error();
  // The first batch is slower than others, and shows whether the model works at all.
  auto vectors = golden_vectors(*engine);
  if (!vectors) return vectors.error();
  golden.vectors = std::move(*vectors);
  // A device may round otherwise each time; its trial has compared it with the processor.
  if (engine->info().provider != Provider::Cpu) golden.files.clear();
  Served served{engine->info(),
                source.name.empty() ? engine->info().name : source.name,
                index == 0 ? aliases_ : std::vector<std::string>(),
                limits_.texts_max,
                limits_.requests_max,
                std::time(nullptr)};
  if (served.name.empty() || served.name.size() > kNameBytesMax) {
    return Error{ErrorCode::InvalidArgument,
                 "the model's name has " + std::to_string(served.name.size()) +
                     " bytes; it takes 1 to " + std::to_string(kNameBytesMax)};
  }
  return std::make_shared<const Model>(
      Model{std::move(*engine), std::move(served), std::move(golden)});
}

Result<std::unique_ptr<Models>> Models::load(std::vector<Source> sources, const LoadOptions& load,
                                             const ServeOptions& options) {
  if (sources.empty() || sources.size() > kModelsMax) {
    return Error{ErrorCode::InvalidArgument, std::to_string(sources.size()) +
                                                 " models; a server takes 1 to " +
                                                 std::to_string(kModelsMax)};
  }
  auto models = std::unique_ptr<Models>(new Models(std::move(sources), load, options));
  for (std::size_t i = 0; i < models->sources_.size(); ++i) {
    auto model = models->load_one(i);
    if (!model) {
      Error error = std::move(model).error();
      if (models->sources_.size() > 1) {
        error.message = model::shortened(models->sources_[i].model) + ": " + error.message;
      }
      return error;
    }
    const std::string& name = (*model)->served.name;
    if (std::any_of(models->models_.begin(), models->models_.end(),
                    [&](const ModelPointer& other) { return other->served.name == name; })) {
      return Error{ErrorCode::InvalidArgument, "two models are called " + model::shortened(name) +
                                                   "; --model NAME=MODEL gives one a name"};
    }
    models->models_.push_back(std::move(*model));
  }
  return models;
}

Result<void> Models::reload(std::size_t index) {
  auto fresh = load_one(index);
  if (!fresh) return fresh.error();
  ModelPointer model = std::move(*fresh);
  const ModelPointer before = all()[index];
  if (auto same = compare(before->golden, model->golden); !same) return same;
  {
    const std::lock_guard lock(mutex_);
    models_[index] = std::move(model);
  }
  // The old engine ends here, with `before`: its own thread, which may drop a request last, cannot
  // end it.
  while (before.use_count() > 1) std::this_thread::sleep_for(kOldModelCheck);
  return {};
}

ModelPointer Models::first() const {
  const std::lock_guard lock(mutex_);
  return models_.front();
}

std::vector<ModelPointer> Models::all() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

ModelPointer Models::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  for (const ModelPointer& model : models_) {
    if (model->served.name == name) return model;
  }
  return models_.front()->served.answers_to(name) ? models_.front() : nullptr;
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
  for (const ModelPointer& model : all()) {
    names += (names.empty() ? "" : ", ") + model->served.name;
  }
  // The name that was asked for is not repeated: it may be a megabyte, and it is the caller's own.
  return {{ErrorCode::NotFound,
           "is not served here; " + names + (sources_.size() == 1 ? " is" : " are")},
          "model",
          {}};
}

}  // namespace textvec::server
