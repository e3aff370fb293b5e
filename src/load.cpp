// In: what --model says. Out: everything that an engine is made of. See load.h.
#include "load.h"

#include <algorithm>
#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "hub/locate.h"
#include "model/folder.h"
#include "model/safetensors.h"
#include "model_session.h"
#include "runtime/machine.h"
#include "runtime/providers.h"
#include "runtime/session.h"

namespace textvec {
namespace {

namespace fs = std::filesystem;

// Exported graphs hold a position table, and nothing says how long: BERT's length is the safe
// guess.
constexpr std::size_t kTokensMaxAssumed = 512;
// More than these are worth a warning: each waits for the others at the end of every node.
constexpr unsigned kThreadsOfACoreMax = 4;
constexpr std::size_t kQueueTextsMax = std::size_t{1} << 20;
constexpr std::size_t kTextBytesMax = std::size_t{1} << 30;
constexpr std::size_t kTrialSecondsMax = 3600;

Result<void> check_range(const char* name, std::size_t value, std::size_t max) {
  if (value >= 1 && value <= max) return {};
  return Error{ErrorCode::InvalidArgument, std::string(name) + " is " + std::to_string(value) +
                                               "; it takes 1 to " + std::to_string(max)};
}

Result<void> check_options(const LoadOptions& options) {
  for (const auto& [name, value, max] :
       {std::tuple("threads", std::size_t{options.threads}, std::size_t{kThreadsMax}),
        std::tuple("workers", std::size_t{options.workers}, std::size_t{kThreadsMax}),
        std::tuple("batch_tokens_max", options.batch_tokens_max, kBatchTokensMax)}) {
    if (value <= max) continue;
    return Error{ErrorCode::InvalidArgument, std::string(name) + " is " + std::to_string(value) +
                                                 "; it takes 0 to " + std::to_string(max)};
  }
  if (options.target != Target::Static && !options.buckets.empty() &&
      (options.target == Target::Fused || !runtime::takes_static_graphs(options.provider))) {
    return Error{ErrorCode::InvalidArgument,
                 "buckets are for target static; a fused graph takes any shape"};
  }
  if (options.provider == Provider::Auto && !options.provider_library.empty()) {
    return Error{ErrorCode::InvalidArgument,
                 "provider_library is the library of a provider; name the provider too"};
  }
  if (auto valid = runtime::check_provider_options(options.provider, options.provider_options);
      !valid) {
    return valid;
  }
  for (const auto& checked :
       {check_range("queue_texts_max", options.queue_texts_max, kQueueTextsMax),
        check_range("text_bytes_max", options.text_bytes_max, kTextBytesMax),
        check_range("trial_limit", static_cast<std::size_t>(options.trial_limit.count()),
                    kTrialSecondsMax)}) {
    if (!checked) return checked.error();
  }
  return {};
}

// The ONNX file of a folder: onnx/model.onnx, model.onnx, or the only .onnx there is in the folder
// and its onnx/.
Result<std::optional<fs::path>> find_onnx_file(const fs::path& folder) {
  std::error_code error;
  for (const char* usual : {"onnx/model.onnx", "model.onnx"}) {
    if (fs::is_regular_file(folder / usual, error)) return std::optional(folder / usual);
  }
  std::vector<fs::path> found;
  for (const fs::path& place : {folder, folder / "onnx"}) {
    for (const fs::path& entry : model::entries_of(place)) {
      if (entry.extension() == ".onnx") found.push_back(entry);
    }
  }
  if (found.empty()) return std::optional<fs::path>();
  if (found.size() == 1) return std::optional(found.front());
  return Error{ErrorCode::NotFound, std::to_string(found.size()) + " ONNX files in " +
                                        folder.string() + ", and none is called model.onnx; name " +
                                        "one of them, such as " +
                                        std::min_element(found.begin(), found.end())->string()};
}

std::string join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined;
}

Error nothing_to_run(const ModelFiles& files) {
  if (files.spec.known_architecture) {
    return {ErrorCode::NotFound,
            "no model.safetensors, model.safetensors.index.json or ONNX file in " +
                files.folder.string()};
  }
  if (!files.spec.has_config) {
    return {ErrorCode::NotFound, "no config.json and no ONNX file in " + files.folder.string()};
  }
  return {ErrorCode::Unsupported,
          "config.json: model_type \"" + files.spec.transformer.type +
              "\" is not one that textvec compiles (" + join(model::known_architectures()) +
              "); an ONNX file of the model, in the folder, would run as it is"};
}

Result<tokens::Tokenizer> load_tokenizer(const ModelFiles& files) {
  tokens::Wishes wishes{files.spec.lower_case, {}};
  if (files.spec.pooling == Pooling::LastToken) wishes.final_token = files.spec.final_token;
  auto tokenizer = tokens::Tokenizer::load(files.folder / "tokenizer.json", wishes);
  if (!tokenizer) return tokenizer.error();
  const std::size_t rows = files.spec.transformer.vocabulary_size;
  if (rows != 0 && tokenizer->id_max() >= rows) {
    return Error{ErrorCode::BadModel, "tokenizer.json gives ids up to " +
                                          std::to_string(tokenizer->id_max()) +
                                          "; config.json: vocab_size is " + std::to_string(rows)};
  }
  return tokenizer;
}

// What the graph gives must be what the modules behind it take.
Result<void> check_width(const model::ModelSpec& spec, std::size_t width) {
  const std::size_t wanted =
      spec.dense.empty() ? spec.transformer.hidden_size : spec.dense.front().in_features;
  if (wanted == 0 || wanted == width) return {};
  return Error{ErrorCode::BadModel, "the graph gives vectors of " + std::to_string(width) +
                                        " components; the model's configuration says " +
                                        std::to_string(wanted)};
}

// All but the sessions.
Result<LoadedModel> read_parts(const ModelFiles& files) {
  auto tokenizer = load_tokenizer(files);
  if (!tokenizer) return tokenizer.error();
  LoadedModel loaded{files.spec, std::move(*tokenizer), {}, {}, {}, 0, {}};
  for (const model::DenseSpec& spec : files.spec.dense) {
    auto dense = vectors::Dense::load(spec);
    if (!dense) return dense.error();
    loaded.dense.push_back(std::move(*dense));
  }
  return loaded;
}

// A large vocabulary takes longer to read than a compiled graph, so both are read at once. Where
// opening takes long it comes second: a fault of the other files is told before, and a provider's
// trial, which reads them too, must not take it for the provider's.
Result<LoadedModel> load_parts(const ModelFiles& files, const LoadOptions& options, Trust trust) {
  auto reading = std::async([&] { return read_parts(files); });  // or later, without a thread
  std::optional<Result<LoadedModel>> read;
  const auto finish_reading = [&] {
    if (!read) read.emplace(reading.get());
    return read->has_value();
  };
  if (!opens_at_once(files, options) && !finish_reading()) return std::move(*read);
  ModelSessions sessions;
  const auto opened = open_model_session(files, options, trust, sessions);
  if (!finish_reading()) return std::move(*read);
  if (!opened) return opened.error();
  LoadedModel& loaded = **read;
  loaded.session = std::move(sessions.session);
  loaded.few_cores = std::move(sessions.few_cores);
  loaded.info = std::move(sessions.info);
  return std::move(*read);
}

// The width that the graph states, or that one token shows.
Result<std::size_t> find_width(runtime::Session& session, const tokens::Tokenizer& tokenizer) {
  if (session.info().width != 0) return session.info().width;
  const auto encoding = tokenizer.encode("a", {});
  if (!encoding) return encoding.error();
  batch::Text text{encoding->ids, encoding->type_ids, 0};
  if (text.ids.empty()) text = {{0}, {}, 0};  // any token shows the width
  const batch::Text* only = &text;
  const auto states = session.run(batch::make_batch({&only, 1}, 0), {});
  if (!states) return states.error();
  return states->width;
}

void describe(const ModelFiles& files, const LoadOptions& options, LoadedModel& model) {
  const model::ModelSpec& spec = files.spec;
  const runtime::SessionInfo& session = model.session->info();
  ModelInfo& info = model.info;
  info.name = files.name;
  info.folder = files.folder.string();
  info.architecture = spec.transformer.type.empty() ? "onnx" : spec.transformer.type;
  info.vocabulary_size = spec.transformer.vocabulary_size != 0 ? spec.transformer.vocabulary_size
                                                               : model.tokenizer.vocabulary_size();
  info.pooling = spec.pooling;
  info.pooled_by_graph = session.pooled;
  info.prompts = spec.prompts;
  info.default_prompt = spec.default_prompt;
  info.similarity = spec.similarity;
  info.provider_wanted = options.provider;
  // A session that lost its device while the width was looked for says why itself.
  if (info.provider != session.provider) info.provider_note = session.provider_note;
  info.provider = session.provider;
  info.placement = session.placement;
  info.runtime = runtime::runtime_version();
  info.notes = spec.notes;
  if (model.tokenizer.final_token_added()) {
    info.notes.push_back("tokenizer.json does not end a text with " + spec.final_token +
                         ", where the model pools; textvec puts it there");
  }
  info.tokens_max = tokens_max_of(spec);
  std::size_t bucket_tokens = 0;
  for (const BucketInfo& bucket : info.buckets) {
    bucket_tokens = std::max(bucket_tokens, bucket.bucket.tokens);
  }
  if (info.path == GraphPath::Static && bucket_tokens < info.tokens_max) {
    info.notes.push_back("texts of more than " + std::to_string(bucket_tokens) +
                         " tokens run on the processor, on the fused graph");
  }
  const unsigned cores = runtime::describe_machine().cores_logical;
  if (info.threads > kThreadsOfACoreMax * cores) {
    info.notes.push_back(std::to_string(info.threads) + " threads on " + std::to_string(cores) +
                         " cores wait for each other; fewer are faster");
    if (options.log) options.log(info.notes.back());
  }
  if (spec.tokens_max == 0) {
    info.notes.push_back("no file states a token limit; " + std::to_string(kTokensMaxAssumed) +
                         " is assumed");
  }
}

}  // namespace

Result<ModelFiles> find_model(std::string_view model) {
  auto location = hub::locate(model);
  if (!location) return location.error();
  ModelFiles files;
  files.name = location->name;
  fs::path folder = location->path;
  std::error_code error;
  if (fs::is_regular_file(location->path, error)) {
    if (location->path.extension() != ".onnx") {
      return Error{ErrorCode::InvalidArgument,
                   location->path.string() + " is neither a folder nor an .onnx file"};
    }
    files.onnx_file = location->path;
    folder = location->path.has_parent_path() ? location->path.parent_path() : fs::path(".");
    // Exports keep their graphs in onnx/ and the tokenizer one level up.
    if (!fs::exists(folder / "tokenizer.json", error)) {
      folder = (folder / "..").lexically_normal();
    }
  }
  auto spec = model::read_spec(folder);
  if (!spec) return spec.error();
  files.spec = std::move(*spec);
  files.spec.name = files.name;
  files.folder = files.spec.folder;
  if (!files.onnx_file.empty()) return files;
  if (files.spec.known_architecture && model::Weights::present(files.folder)) return files;
  const auto onnx_file = find_onnx_file(folder);
  if (!onnx_file) return onnx_file.error();
  if (!*onnx_file) return nothing_to_run(files);
  files.onnx_file = **onnx_file;
  return files;
}

std::size_t tokens_max_of(const model::ModelSpec& spec) {
  return spec.tokens_max == 0 ? kTokensMaxAssumed : spec.tokens_max;
}

Result<LoadedModel> load_model(std::string_view model, const LoadOptions& options, Trust trust) {
  if (const auto valid = check_options(options); !valid) return valid.error();
  auto files = find_model(model);
  if (!files) return files.error();
  // Before compiling: a graph may pool by itself.
  if (options.pooling != Pooling::FromModel) files->spec.pooling = options.pooling;
  auto all = load_parts(*files, options, trust);
  if (!all) return all;
  LoadedModel& loaded = *all;
  const auto width = find_width(*loaded.session, loaded.tokenizer);
  if (!width) return width.error();
  if (const auto fits = check_width(loaded.spec, *width); !fits) return fits.error();
  describe(*files, options, loaded);
  loaded.width = *width;
  loaded.info.hidden_size = *width;
  loaded.info.dimension =
      loaded.spec.dense.empty() ? *width : loaded.spec.dense.back().out_features;
  // Of a large vocabulary's file more was taken apart than is kept.
  runtime::return_freed_memory();
  return all;
}

LiveInfo::LiveInfo(LoadedModel& model) : first_(model.info), now_(&first_) {
  model.session->when_device_is_lost([this](const runtime::SessionInfo& session) {
    after_loss_ = first_;
    after_loss_.provider = session.provider;
    after_loss_.provider_note = session.provider_note;
    after_loss_.placement = session.placement;
    now_ = &after_loss_;
  });
}

}  // namespace textvec
