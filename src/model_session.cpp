// In: a model's files, and where it should run. Out: a session there, or on the processor with the
// reason. See model_session.h.
#include "model_session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "batch/buckets.h"
#include "graph/cache.h"
#include "graph/compile.h"
#include "graph/static_model.h"
#include "hub/locate.h"
#include "model/safetensors.h"
#include "runtime/fallback_session.h"
#include "runtime/machine.h"
#include "runtime/providers.h"
#include "runtime/static_session.h"
#include "runtime/trial.h"
#include "textvec/version.h"
#include "tuning.h"

namespace textvec {
namespace {

namespace fs = std::filesystem;

using runtime::ProviderUse;
using runtime::Verdict;

std::string name_of(Provider provider) { return "provider " + std::string(to_string(provider)); }

Error refused(Provider provider, const std::string& why) {
  return {ErrorCode::Provider, name_of(provider) + " " + runtime::one_line(why)};
}

// Empty when there is none.
fs::path cache_folder_of(const LoadOptions& options) {
  if (!options.cache_folder.empty()) return options.cache_folder;
  auto folder = hub::cache_folder();
  return folder ? std::move(*folder) : fs::path();
}

// The same, with a word in the log when there is none.
fs::path graphs_folder(const LoadOptions& options) {
  if (!options.cache_folder.empty()) return options.cache_folder;
  auto folder = hub::cache_folder();
  if (folder) return std::move(*folder);
  if (options.log) options.log(folder.error().message + "; the graph is built in memory");
  return {};
}

runtime::SessionOptions session_options_of(const LoadOptions& options) {
  runtime::SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.usual_tokens = options.batch_tokens_max;
  return session_options;
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

// What is opened: compiled, or the file that came with the model.
struct Prepared {
  GraphPath path = GraphPath::Fused;
  Precision precision = Precision::F32;
  std::optional<graph::OnnxModel> graph{};
  std::optional<graph::StaticModel> programs{};
  std::vector<Bucket> buckets{};
  std::string key{};  // stands for the graph; empty: it is in no cache
};

struct Opened {
  GraphPath path = GraphPath::Fused;
  Precision precision = Precision::F32;
  std::string graph_file{};
  std::vector<BucketInfo> buckets{};
  std::unique_ptr<runtime::Session> session{};
  std::unique_ptr<runtime::Session> few_cores{};  // on the processor, when there are workers
};

bool wants_static(const ModelFiles& files, const LoadOptions& options, Provider provider) {
  if (!files.onnx_file.empty()) return false;
  return options.target == Target::Static ||
         (options.target == Target::Auto && runtime::takes_static_graphs(provider));
}

Result<Prepared> prepare_static(const ModelFiles& files, const LoadOptions& options) {
  Prepared prepared;
  prepared.path = GraphPath::Static;
  const std::size_t tokens_max = tokens_max_of(files.spec);
  prepared.buckets = options.buckets.empty() ? batch::default_buckets(tokens_max) : options.buckets;
  if (auto valid = batch::check_buckets(prepared.buckets, tokens_max); !valid) {
    return std::move(valid).error();
  }
  auto weights = open_weights(files, options);
  if (!weights) return std::move(weights).error();
  auto model = graph::StaticModel::compile(files.spec, std::move(*weights), options.precision,
                                           graphs_folder(options), options.log, options.progress);
  if (!model) return std::move(model).error();
  prepared.precision = model->half() ? Precision::F16 : Precision::F32;
  prepared.key = model->key();
  prepared.programs = std::move(*model);
  return prepared;
}

Result<Prepared> prepare_as_is(const ModelFiles& files, const LoadOptions& options,
                               Provider provider) {
  if (auto possible = check_as_is(options); !possible) return std::move(possible).error();
  Prepared prepared;
  prepared.path = GraphPath::AsIs;
  prepared.graph.emplace().file = files.onnx_file;
  const fs::path cache = provider == Provider::Cpu ? fs::path() : cache_folder_of(options);
  if (cache.empty()) return prepared;
  // Its external data are told apart by the place alone.
  std::error_code error;
  const auto sha256 = graph::GraphCache(cache).file_sha256(files.onnx_file);
  if (sha256) prepared.key = *sha256 + " " + fs::canonical(files.onnx_file, error).string();
  return prepared;
}

// textvec's own operator runs on the processor alone: other providers get standard ones.
Result<Prepared> prepare(const ModelFiles& files, const LoadOptions& options, Provider provider) {
  if (!files.onnx_file.empty()) return prepare_as_is(files, options, provider);
  if (wants_static(files, options, provider)) return prepare_static(files, options);
  const auto weights = open_weights(files, options);
  if (!weights) return weights.error();
  const auto target = provider == Provider::Cpu ? graph::Target::Fused : graph::Target::Standard;
  auto graph = graph::compile(files.spec, **weights, target, options.precision,
                              graphs_folder(options), options.log, options.progress);
  if (!graph) return std::move(graph).error();
  Prepared prepared;
  if (options.precision != Precision::Auto) prepared.precision = options.precision;
  prepared.key = graph->file.parent_path().filename().string();
  prepared.graph = std::move(*graph);
  return prepared;
}

// The processor's graph of any shape: for texts that no bucket takes, and when a device is lost.
Result<std::unique_ptr<runtime::Session>> open_any_shape(const ModelFiles& files,
                                                         LoadOptions options) {
  options.precision = Precision::Auto;
  options.target = Target::Auto;
  options.check_weights = false;
  auto prepared = prepare(files, options, Provider::Cpu);
  if (!prepared) return std::move(prepared).error();
  return runtime::open_session(std::move(*prepared->graph), session_options_of(options));
}

// The same file again, for batches that run beside each other: its weights are mapped, once for
// both.
Result<std::unique_ptr<runtime::Session>> open_few_cores(const std::string& graph_file,
                                                         const LoadOptions& options) {
  runtime::SessionOptions session_options = session_options_of(options);
  session_options.threads = std::max(1U, options.threads / options.workers);
  graph::OnnxModel graph;
  graph.file = graph_file;
  return runtime::open_session(std::move(graph), session_options);
}

Result<Opened> open_prepared(Prepared prepared, const ModelFiles& files, const LoadOptions& options,
                             const ProviderUse& use) {
  Opened opened;
  opened.path = prepared.path;
  opened.precision = prepared.precision;
  runtime::SessionOptions session_options = session_options_of(options);
  session_options.use = use;
  // A full bucket is what it is for, and a device's memory is its own affair.
  if (prepared.programs || use.provider != Provider::Cpu) {
    session_options.usual_tokens = std::numeric_limits<std::size_t>::max();
  }
  if (prepared.programs) {
    runtime::StaticOptions static_options;
    static_options.session = session_options;
    static_options.buckets = std::move(prepared.buckets);
    static_options.cache_folder = cache_folder_of(options);
    static_options.open_any_shape = [files, options] { return open_any_shape(files, options); };
    auto session =
        runtime::open_static_session(std::move(*prepared.programs), std::move(static_options));
    if (!session) return std::move(session).error();
    opened.buckets = (*session)->buckets();
    opened.session = std::move(*session);
    return opened;
  }
  opened.graph_file = prepared.graph->file.string();
  const bool in_a_file = prepared.graph->model.empty();
  auto session = runtime::open_session(std::move(*prepared.graph), session_options);
  if (!session) return std::move(session).error();
  opened.session = std::move(*session);
  if (options.workers <= 1 || !in_a_file || use.provider != Provider::Cpu) return opened;
  auto few_cores = open_few_cores(opened.graph_file, options);
  if (!few_cores) return std::move(few_cores).error();
  opened.few_cores = std::move(*few_cores);
  return opened;
}

// --- The trial

// The program that tries a provider, or why there is none.
Result<std::string> trial_program(const LoadOptions& options) {
  const char* variable = std::getenv("TEXTVEC_PROGRAM");
  std::string program = options.trial_program;
  if (program.empty() && variable != nullptr) program = variable;
  if (program.empty()) {
    return Error{ErrorCode::Provider,
                 "was not tried, because no textvec program is named: LoadOptions::trial_program, "
                 "or TEXTVEC_PROGRAM"};
  }
  if (program.front() == '/' && ::access(program.c_str(), X_OK) == 0) return program;
  return Error{ErrorCode::Provider,
               "was not tried, because " + program + " is no program with an absolute path"};
}

std::vector<std::string> trial_command(const std::string& program, const ModelFiles& files,
                                       const LoadOptions& options, const ProviderUse& use) {
  std::error_code error;
  const fs::path& model = files.onnx_file.empty() ? files.folder : files.onnx_file;
  std::vector<std::string> words{program, "try-provider", "--model",
                                 fs::absolute(model, error).string()};
  const auto add = [&](const char* option, std::string value) {
    words.emplace_back(option);
    words.push_back(std::move(value));
  };
  add("--provider", std::string(to_string(use.provider)));
  if (!use.library.empty()) add("--provider-library", use.library);
  for (const auto& [key, value] : use.options) {
    add("--provider-option", std::string(key).append("=").append(value));
  }
  add("--precision", std::string(to_string(options.precision)));
  add("--target", std::string(to_string(options.target)));
  std::string buckets;
  for (const Bucket bucket : options.buckets) {
    buckets += (buckets.empty() ? "" : ",") + to_string(bucket);
  }
  if (!buckets.empty()) add("--buckets", buckets);
  if (options.pooling != Pooling::FromModel) {
    add("--pooling", std::string(to_string(options.pooling)));
  }
  add("--threads", std::to_string(options.threads));
  add("--trial-seconds", std::to_string(options.trial_limit.count()));
  const fs::path cache = cache_folder_of(options);
  if (!cache.empty()) add("--cache-folder", fs::absolute(cache, error).string());
  return words;
}

// What a verdict depends on. Another processor, driver's library, version or graph is another
// trial.
std::string trial_subject(const Prepared& prepared, const LoadOptions& options,
                          const ProviderUse& use) {
  const runtime::Machine machine = runtime::describe_machine();
  std::string text = "textvec " TEXTVEC_VERSION ", " + runtime::runtime_version() + "\n" +
                     machine.system + ", " + machine.processor + ", " +
                     std::to_string(machine.cores_logical) + " cores\n" + name_of(use.provider) +
                     "\n";
  for (const auto& [key, value] : use.options) {
    text.append(key).append("=").append(value).append("\n");
  }
  if (!use.library.empty()) {
    std::error_code error;
    const auto bytes = fs::file_size(use.library, error);
    // Of macOS's clock the count has no text of its own.
    const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(
        fs::last_write_time(use.library, error).time_since_epoch());
    text += use.library + " " + std::to_string(bytes) + " " + std::to_string(time.count()) + "\n";
  }
  text += std::string(to_string(prepared.path)) + " " + prepared.key;
  for (const Bucket bucket : prepared.buckets) text += " " + to_string(bucket);
  text += ", pooling " + std::string(to_string(options.pooling)) + ", " +
          std::to_string(options.threads) + " threads";
  return text;
}

Result<Verdict> try_it(const Prepared& prepared, const ModelFiles& files,
                       const LoadOptions& options, const ProviderUse& use) {
  const auto program = trial_program(options);
  if (!program) return program.error();
  runtime::TrialSettings settings;
  settings.subject = trial_subject(prepared, options, use);
  if (!prepared.key.empty()) settings.cache_folder = cache_folder_of(options);
  settings.command = trial_command(*program, files, options, use);
  settings.limit = options.trial_limit;
  settings.log = options.log;
  return runtime::try_provider(settings);
}

std::string why_slower(const Verdict& verdict) {
  char text[128];
  std::snprintf(text, sizeof text,
                "is slower than cpu: the trial's texts take %.1f ms there and %.1f ms on cpu",
                verdict.provider_ms, verdict.cpu_ms);
  return text;
}

// --- One provider

// Why the provider takes no graph of this model as it is asked for.
Result<void> check_fit(const ModelFiles& files, const LoadOptions& options, Provider provider) {
  if (options.precision == Precision::Int8) {
    return refused(provider, "does not compute precision int8");
  }
  if (runtime::takes_static_graphs(provider) && !files.onnx_file.empty()) {
    return refused(provider, "takes textvec's own static graphs, and no ONNX file as it is");
  }
  if (runtime::takes_static_graphs(provider) && options.target == Target::Fused) {
    return refused(provider, "takes target static, not fused");
  }
  return {};
}

Result<void> check_used(const runtime::SessionInfo& info, Provider provider) {
  const std::string name = runtime::runtime_name(provider);
  const bool used =
      std::any_of(info.placement.begin(), info.placement.end(),
                  [&](const auto& part) { return part.provider == name && part.nodes > 0; });
  if (used) return {};
  return refused(provider, "takes no node of this model's graph");
}

// What may be opened on a device, and what there is to say of it.
struct Judged {
  ProviderUse use{};
  Prepared prepared{};
  std::string note{};
};

// `verdict` is set when there was a trial.
Result<Judged> judge(Provider provider, const ModelFiles& files, const LoadOptions& options,
                     Trust trust, std::optional<Verdict>& verdict) {
  if (auto fits = check_fit(files, options, provider); !fits) return std::move(fits).error();
  auto use = runtime::find_provider(provider, options.provider_options, options.provider_library);
  if (!use) return std::move(use).error();
  auto prepared = prepare(files, options, provider);
  if (!prepared) return std::move(prepared).error();
  Judged judged{std::move(*use), std::move(*prepared), {}};
  if (trust == Trust::Blind) return judged;
  auto tried = try_it(judged.prepared, files, options, judged.use);
  if (!tried) {
    if (!options.require_provider) return refused(provider, tried.error().message);
    judged.note = name_of(provider) + " " + tried.error().message;
    return judged;
  }
  verdict = std::move(*tried);
  if (!verdict->right) return refused(provider, "failed its trial: " + verdict->reason);
  if (!verdict->slower()) return judged;
  if (!options.require_provider) return refused(provider, why_slower(*verdict));
  judged.note = name_of(provider) + " " + why_slower(*verdict);
  return judged;
}

Result<Opened> open_on_device(Judged judged, const ModelFiles& files, const LoadOptions& options,
                              Trust trust) {
  auto opened = open_prepared(std::move(judged.prepared), files, options, judged.use);
  if (!opened) {
    return Error{ErrorCode::Provider, runtime::one_line(opened.error().message)};
  }
  if (auto used = check_used(opened->session->info(), judged.use.provider); !used) {
    return std::move(used).error();
  }
  if (trust == Trust::Blind) return opened;
  runtime::FallbackOptions fallback;
  fallback.open_on_processor = [files, options] { return open_any_shape(files, options); };
  fallback.log = options.log;
  opened->session = runtime::make_fallback_session(std::move(opened->session), std::move(fallback));
  return opened;
}

// --- All of them

void take(Opened opened, Provider provider, const LoadOptions& options, ModelSessions& loaded) {
  loaded.info.path = opened.path;
  loaded.info.precision = opened.precision;
  loaded.info.graph_file = std::move(opened.graph_file);
  loaded.info.buckets = std::move(opened.buckets);
  loaded.info.provider = provider;
  loaded.info.threads = options.threads;
  loaded.info.workers = opened.few_cores ? options.workers : 1;
  loaded.info.batch_tokens_max = options.batch_tokens_max;
  loaded.session = std::move(opened.session);
  loaded.few_cores = std::move(opened.few_cores);
}

std::vector<Provider> candidates_of(const LoadOptions& options) {
  if (options.provider == Provider::Cpu) return {};
  if (options.provider != Provider::Auto) return {options.provider};
  // What they cannot do nobody asked them for.
  const bool for_processor =
      options.precision == Precision::Int8 || options.target == Target::Static;
  return for_processor ? std::vector<Provider>{} : runtime::automatic_providers();
}

bool is_here(Provider provider, const LoadOptions& options) {
  return runtime::find_provider(provider, {}, options.provider_library).has_value();
}

}  // namespace

Result<void> open_model_session(const ModelFiles& files, const LoadOptions& given, Trust trust,
                                ModelSessions& loaded) {
  // What was tuned holds for the processor. A trial, too, is the same before and after tuning.
  const LoadOptions options = untuned(given);
  const bool by_name = options.provider != Provider::Auto;
  std::string reasons;
  bool is_news = false;  // that nobody was told of at an earlier start
  for (const Provider provider : candidates_of(options)) {
    // Of what is not on this machine nobody hears who did not ask for it.
    if (!by_name && !is_here(provider, options)) continue;
    std::optional<Verdict> verdict;
    auto judged = judge(provider, files, options, trust, verdict);
    if (verdict) {
      loaded.info.provider_ms = verdict->provider_ms;
      loaded.info.cpu_ms = verdict->cpu_ms;
    }
    std::string note = judged ? judged->note : std::string();
    auto opened = judged ? open_on_device(std::move(*judged), files, options, trust)
                         : Result<Opened>(std::move(judged).error());
    if (opened) {
      loaded.info.provider_note = std::move(note);
      take(std::move(*opened), provider, options, loaded);
      return {};
    }
    if (trust == Trust::Blind) return std::move(opened).error();
    if (by_name && options.require_provider) {
      return Error{ErrorCode::Provider, opened.error().message + "; cpu is not used instead"};
    }
    reasons += (reasons.empty() ? "" : "; ") + opened.error().message;
    is_news = is_news || !verdict || !verdict->kept;
  }

  LoadOptions on_processor = given;
  if (!reasons.empty()) {
    // 16 bits are for devices; the processor computes what they stand for.
    if (options.precision == Precision::F16 && options.target == Target::Auto) {
      on_processor.precision = Precision::Auto;
    }
    if (options.target == Target::Auto) on_processor.buckets.clear();
    loaded.info.provider_note = reasons + "; cpu is used";
    if (options.log && (by_name || is_news)) options.log(loaded.info.provider_note);
  }
  on_processor = settled(files, std::move(on_processor), loaded.info.tuned);
  auto prepared = prepare(files, on_processor, Provider::Cpu);
  if (!prepared) return std::move(prepared).error();
  auto opened = open_prepared(std::move(*prepared), files, on_processor, {});
  if (!opened) return std::move(opened).error();
  take(std::move(*opened), Provider::Cpu, on_processor, loaded);
  return {};
}

bool opens_at_once(const ModelFiles& files, const LoadOptions& options) {
  const auto candidates = candidates_of(options);
  const bool may_use_device =
      std::any_of(candidates.begin(), candidates.end(), [&](Provider provider) {
        return provider == options.provider || is_here(provider, options);
      });
  if (may_use_device || options.check_weights) return false;
  if (!files.onnx_file.empty()) return true;
  if (wants_static(files, options, Provider::Cpu)) return false;
  const auto weights = model::Weights::open(files.folder);
  return weights && graph::is_compiled(files.spec, *weights, graph::Target::Fused,
                                       options.precision, graphs_folder(options));
}

std::vector<ProviderReport> report_providers(const ModelFiles& files, const LoadOptions& options) {
  std::vector<ProviderReport> reports;
  for (const Provider provider : runtime::device_providers()) {
    ProviderReport report;
    report.provider = provider;
    LoadOptions its = untuned(options);
    its.provider = provider;
    if (provider != options.provider) {
      its.provider_options.clear();
      its.provider_library.clear();
    }
    const auto use = runtime::find_provider(provider, its.provider_options, its.provider_library);
    report.present = use.has_value();
    if (!use) {
      report.why = use.error().message;
      reports.push_back(std::move(report));
      continue;
    }
    report.where = use->library.empty() ? "built in" : use->library;
    its.require_provider = false;
    std::optional<Verdict> verdict;
    const auto judged = judge(provider, files, its, Trust::AfterTrial, verdict);
    report.usable = judged.has_value();
    if (!judged) report.why = judged.error().message;
    if (verdict) {
      report.tried = true;
      report.provider_ms = verdict->provider_ms;
      report.cpu_ms = verdict->cpu_ms;
      report.placement = verdict->placement;
      report.memory_bytes = verdict->memory_bytes;
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace textvec
