// In: what --model says. Out: everything that an engine is made of. See load.h.
#include "load.h"

#include <algorithm>
#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "batch/buckets.h"
#include "graph/compile.h"
#include "graph/static_model.h"
#include "hub/locate.h"
#include "model/folder.h"
#include "model/safetensors.h"
#include "runtime/machine.h"
#include "runtime/static_session.h"
#include "tuning.h"

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
  if (options.target != Target::Static && !options.buckets.empty()) {
    return Error{ErrorCode::InvalidArgument,
                 "buckets are for target static; a fused graph takes any shape"};
  }
  for (const auto& checked :
       {check_range("queue_texts_max", options.queue_texts_max, kQueueTextsMax),
        check_range("text_bytes_max", options.text_bytes_max, kTextBytesMax)}) {
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

Result<fs::path> user_cache_folder(const LoadOptions& options) {
  if (!options.cache_folder.empty()) return fs::path(options.cache_folder);
  return hub::cache_folder();
}

Result<void> check_as_is(const LoadOptions& options) {
  if (options.precision != Precision::Auto && options.precision != Precision::F32) {
    return Error{ErrorCode::Unsupported, "precision " + std::string(to_string(options.precision)) +
                                             ": an ONNX file runs as it is; choose another file"};
  }
  if (options.target != Target::Auto) {
    return Error{ErrorCode::Unsupported, "target " + std::string(to_string(options.target)) +
                                             ": an ONNX file runs as it is"};
  }
  if (options.check_weights) {
    return Error{ErrorCode::Unsupported,
                 "check_weights: an ONNX file runs as it is; its weights are not looked at"};
  }
  return {};
}

Result<std::shared_ptr<const model::Weights>> open_weights(const ModelFiles& files,
                                                           const LoadOptions& options) {
  auto weights = model::Weights::open(files.folder);
  if (!weights) return std::move(weights).error();
  if (options.check_weights) {
    if (auto finite = weights->check_finite(); !finite) return std::move(finite).error();
  }
  return std::make_shared<const model::Weights>(std::move(*weights));
}

// Empty, with a word in the log, when there is none.
fs::path graphs_folder(const LoadOptions& options) {
  const auto folder = user_cache_folder(options);
  if (folder) return *folder;
  if (options.log) options.log(folder.error().message + "; the graph is built in memory");
  return {};
}

Result<graph::OnnxModel> make_graph(const ModelFiles& files, const LoadOptions& options) {
  if (!files.onnx_file.empty()) {
    if (auto possible = check_as_is(options); !possible) return std::move(possible).error();
    graph::OnnxModel model;
    model.file = files.onnx_file;
    return model;
  }
  const auto weights = open_weights(files, options);
  if (!weights) return weights.error();
  return graph::compile(files.spec, **weights, graph::Target::Fused, options.precision,
                        graphs_folder(options), options.log, options.progress);
}

// The fused graph on the processor, for texts that no bucket takes.
Result<std::unique_ptr<runtime::Session>> open_any_shape(const ModelFiles& files,
                                                         LoadOptions options,
                                                         runtime::SessionOptions session_options) {
  options.precision = Precision::Auto;
  options.check_weights = false;
  auto graph = make_graph(files, options);
  if (!graph) return std::move(graph).error();
  session_options.provider = Provider::Cpu;
  return runtime::open_session(std::move(*graph), session_options);
}

// What of a LoadedModel is the runtime's.
struct Opened {
  std::unique_ptr<runtime::Session> session{};
  std::unique_ptr<runtime::Session> few_cores{};
  ModelInfo info{};
};

Result<void> open_static(const ModelFiles& files, const LoadOptions& options,
                         const runtime::SessionOptions& session_options, Opened& opened) {
  const std::size_t tokens_max = tokens_max_of(files.spec);
  runtime::StaticOptions static_options;
  static_options.session = session_options;
  static_options.buckets =
      options.buckets.empty() ? batch::default_buckets(tokens_max) : options.buckets;
  if (auto valid = batch::check_buckets(static_options.buckets, tokens_max); !valid) return valid;
  auto weights = open_weights(files, options);
  if (!weights) return std::move(weights).error();
  static_options.cache_folder = graphs_folder(options);
  auto model =
      graph::StaticModel::compile(files.spec, std::move(*weights), options.precision,
                                  static_options.cache_folder, options.log, options.progress);
  if (!model) return std::move(model).error();
  opened.info.precision = model->half() ? Precision::F16 : Precision::F32;
  static_options.open_any_shape = [files, options, session_options] {
    return open_any_shape(files, options, session_options);
  };
  auto session = runtime::open_static_session(std::move(*model), std::move(static_options));
  if (!session) return std::move(session).error();
  opened.info.path = GraphPath::Static;
  opened.info.buckets = (*session)->buckets();
  opened.session = std::move(*session);
  return {};
}

// The same file again, for batches that run beside each other: its weights are mapped, once for
// both.
Result<void> open_few_cores(const LoadOptions& options, runtime::SessionOptions session_options,
                            Opened& opened) {
  session_options.threads = std::max(1U, options.threads / options.workers);
  graph::OnnxModel graph;
  graph.file = opened.info.graph_file;
  auto session = runtime::open_session(std::move(graph), session_options);
  if (!session) return std::move(session).error();
  opened.few_cores = std::move(*session);
  opened.info.workers = options.workers;
  return {};
}

Result<void> open_session(const ModelFiles& files, const LoadOptions& options, Opened& opened) {
  runtime::SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.usual_tokens = options.batch_tokens_max;
  session_options.provider = options.provider;
  session_options.require_provider = options.require_provider;
  opened.info.threads = options.threads;
  opened.info.workers = 1;
  if (files.onnx_file.empty() && options.target == Target::Static) {
    return open_static(files, options, session_options, opened);
  }
  auto graph = make_graph(files, options);
  if (!graph) return std::move(graph).error();
  opened.info.graph_file = graph->file.string();
  opened.info.path = files.onnx_file.empty() ? GraphPath::Fused : GraphPath::AsIs;
  if (options.precision != Precision::Auto) opened.info.precision = options.precision;
  const bool in_a_file = graph->model.empty();
  auto session = runtime::open_session(std::move(*graph), session_options);
  if (!session) return std::move(session).error();
  opened.session = std::move(*session);
  const bool divided =
      options.workers > 1 && in_a_file && opened.session->info().provider == Provider::Cpu;
  return divided ? open_few_cores(options, session_options, opened) : Result<void>();
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
  info.provider = session.provider;
  info.provider_note = session.provider_note;
  info.placement = session.placement;
  info.batch_tokens_max = options.batch_tokens_max;
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

Result<LoadedModel> load_model(std::string_view model, const LoadOptions& given) {
  if (const auto valid = check_options(given); !valid) return valid.error();
  auto files = find_model(model);
  if (!files) return files.error();
  std::string tuned;
  const LoadOptions options = settled(*files, given, tuned);
  // Before compiling: a graph may pool by itself.
  if (options.pooling != Pooling::FromModel) files->spec.pooling = options.pooling;
  // A large vocabulary takes longer to read than a compiled graph, so both are read at once.
  auto tokenizer_read = std::async([&] { return load_tokenizer(*files); });
  Opened opened;
  const auto session_opened = open_session(*files, options, opened);
  auto tokenizer = tokenizer_read.get();
  if (!tokenizer) return tokenizer.error();
  if (!session_opened) return session_opened.error();
  LoadedModel loaded{files->spec,
                     std::move(*tokenizer),
                     {},
                     std::move(opened.session),
                     std::move(opened.few_cores),
                     0,
                     std::move(opened.info)};
  loaded.info.tuned = std::move(tuned);
  for (const model::DenseSpec& spec : files->spec.dense) {
    auto dense = vectors::Dense::load(spec);
    if (!dense) return dense.error();
    loaded.dense.push_back(std::move(*dense));
  }

  const auto width = find_width(*loaded.session, loaded.tokenizer);
  if (!width) return width.error();
  if (const auto fits = check_width(loaded.spec, *width); !fits) return fits.error();
  describe(*files, options, loaded);
  loaded.width = *width;
  loaded.info.dimension =
      loaded.spec.dense.empty() ? *width : loaded.spec.dense.back().out_features;
  return loaded;
}

}  // namespace textvec
