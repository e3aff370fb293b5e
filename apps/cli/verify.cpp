// In: the options of `textvec verify`. Out: how far textvec's ids and vectors are from those that
// the Python libraries gave.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_object.h"
#include "output_file.h"
#include "progress.h"
#include "reference.h"
#include "table.h"
#include "textvec/engine.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kWindowTexts = 1024;

struct Comparison {
  std::size_t ids_differ = 0;  // texts
  std::size_t ids_differ_first = 0;
  double difference_max = 0;  // of any component
  std::size_t difference_max_text = 0;
  double cosine_min = 1;
  double cosine_sum = 0;
  double norm_error_max = 0;
};

Error not_honoured(const Reference& reference, const std::string& why) {
  return {ErrorCode::Unsupported, reference.file + ": " + why};
}

// The script takes sentence-transformers' names.
Result<Pooling> pooling_named(const Reference& reference, const std::string& name) {
  constexpr std::pair<std::string_view, Pooling> kNames[] = {
      {"cls", Pooling::Cls},
      {"mean", Pooling::Mean},
      {"max", Pooling::Max},
      {"lasttoken", Pooling::LastToken},
      {"mean_sqrt_len_tokens", Pooling::MeanSqrtLen}};
  for (const auto& [known, pooling] : kNames) {
    if (name == known) return pooling;
  }
  return not_honoured(reference, "was pooled by \"" + name + "\", which textvec does not know");
}

Result<LoadOptions> load_options(const VerifyCommand& command, const Reference& reference) {
  LoadOptions options = command.model.load;
  if (!reference.settings.pooling) return options;
  const auto pooling = pooling_named(reference, *reference.settings.pooling);
  if (!pooling) return pooling.error();
  if (options.pooling != Pooling::FromModel && options.pooling != *pooling) {
    return not_honoured(reference, "was pooled by " + *reference.settings.pooling + "; --pooling " +
                                       std::string(to_string(options.pooling)) +
                                       " gives other vectors");
  }
  options.pooling = *pooling;
  return options;
}

Result<EmbedOptions> embed_options(const VerifyCommand& command, const Reference& reference,
                                   const ModelInfo& info) {
  EmbedOptions options;
  const ReferenceSettings& settings = reference.settings;
  options.normalize = reference.normalized;
  options.prompt = settings.prompt_name;
  options.instruction = settings.instruction;
  if (settings.role) {
    if (*settings.role != "query" && *settings.role != "document") {
      return not_honoured(reference, "was made with the role \"" + *settings.role +
                                         "\"; textvec has query and document");
    }
    options.role = *settings.role == "query" ? Role::Query : Role::Document;
  }
  if (settings.pooling && !info.default_prompt.empty()) {
    return not_honoured(reference, "was made without a prompt, and the model puts its prompt \"" +
                                       info.default_prompt + "\" before each text");
  }
  if (settings.pooling && info.path == GraphPath::AsIs && info.pooled_by_graph) {
    return not_honoured(
        reference, "was pooled by " + *settings.pooling + ", and the model's graph pools itself");
  }
  const std::size_t dimension = command.dimensions.value_or(reference.dimension);
  if (dimension < 1 || dimension > std::min(reference.dimension, info.dimension)) {
    return Error{ErrorCode::InvalidArgument,
                 std::to_string(dimension) + " dimensions cannot be compared: the reference has " +
                     std::to_string(reference.dimension) + ", the model " +
                     std::to_string(info.dimension)};
  }
  options.dimensions = dimension;
  return options;
}

// Both cut a text that is too long, each at its own limit.
Result<void> check_limits(const Reference& reference, std::size_t tokens_max,
                          const Embeddings& ours, std::size_t first_text) {
  const std::size_t limit = reference.settings.tokens_max.value_or(tokens_max);
  if (limit == tokens_max) return {};
  for (std::size_t row = 0; row < ours.rows(); ++row) {
    if (ours.truncated[row] == 0 && ours.tokens[row] <= limit) continue;
    return not_honoured(reference, "was made with at most " + std::to_string(limit) +
                                       " tokens a text; the model takes " +
                                       std::to_string(tokens_max) + ", and text " +
                                       std::to_string(first_text + row) +
                                       " is long enough to show it");
  }
  return {};
}

double norm_of(std::span<const double> vector) {
  double sum = 0;
  for (const double value : vector) sum += value * value;
  return std::sqrt(sum);
}

// The reference's vector, cut as ours was.
std::vector<double> expected_vector(const Reference& reference, std::size_t text,
                                    std::size_t dimension) {
  const auto whole = reference.vector(text);
  std::vector<double> vector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(dimension));
  if (dimension == whole.size() || !reference.normalized) return vector;
  const double norm = norm_of(vector);
  for (double& value : vector) value /= norm > 0 ? norm : 1;
  return vector;
}

class Verification {
 public:
  Verification(const Engine& engine, EmbedOptions options, const Reference& reference)
      : engine_(engine), options_(std::move(options)), reference_(reference) {}

  Result<Comparison> run() {
    Progress progress(reference_.characters.size());
    progress.begin(0);
    for (std::size_t begin = 0; begin < reference_.texts(); begin += kWindowTexts) {
      const std::size_t end = std::min(begin + kWindowTexts, reference_.texts());
      if (auto compared = compare_window(begin, end); !compared) {
        return std::move(compared).error();
      }
      progress.update(end, reference_.text_begins[end]);
    }
    return result_;
  }

 private:
  Result<void> compare_window(std::size_t begin, std::size_t end) {
    std::vector<std::string> texts;
    for (std::size_t text = begin; text < end; ++text) texts.push_back(reference_.text(text));
    const auto ids = engine_.tokenize(texts, options_);
    if (!ids) return error_of(ids.error(), begin);
    const auto vectors = engine_.embed(texts, options_);
    if (!vectors) return error_of(vectors.error(), begin);
    if (auto same = check_limits(reference_, engine_.info().tokens_max, *vectors, begin); !same) {
      return same;
    }
    for (std::size_t row = 0; row < texts.size(); ++row) {
      compare_ids((*ids)[row], begin + row);
      compare_vector(vectors->row(row), begin + row);
    }
    return {};
  }

  static Error error_of(Error error, std::size_t begin) {
    if (error.text) {
      error.message = "text " + std::to_string(begin + *error.text) + ": " + error.message;
    }
    return error;
  }

  void compare_ids(const std::vector<std::uint32_t>& ours, std::size_t text) {
    const auto expected = reference_.ids_of(text);
    if (std::equal(ours.begin(), ours.end(), expected.begin(), expected.end())) return;
    if (result_.ids_differ++ == 0) result_.ids_differ_first = text;
  }

  void compare_vector(std::span<const float> row, std::size_t text) {
    const std::vector<double> ours(row.begin(), row.end());
    const std::vector<double> expected = expected_vector(reference_, text, ours.size());
    double product = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      product += ours[i] * expected[i];
      const double difference = std::abs(ours[i] - expected[i]);
      if (difference <= result_.difference_max) continue;
      result_.difference_max = difference;
      result_.difference_max_text = text;
    }
    const double norm = norm_of(ours);
    const double norms = norm * norm_of(expected);
    const double cosine = norms > 0 ? product / norms : 0;
    result_.cosine_min = std::min(result_.cosine_min, cosine);
    result_.cosine_sum += cosine;
    result_.norm_error_max = std::max(result_.norm_error_max, std::abs(norm - 1));
  }

  const Engine& engine_;
  const EmbedOptions options_;
  const Reference& reference_;
  Comparison result_{};
};

struct Report {
  const Reference& reference;
  const ModelInfo& info;
  std::size_t dimension;
  double tolerance;
  Comparison result;

  bool passed() const { return result.ids_differ == 0 && result.difference_max <= tolerance; }
  double cosine_mean() const { return result.cosine_sum / static_cast<double>(reference.texts()); }
};

std::string settings_text(const ReferenceSettings& settings) {
  std::string text = settings.normalize ? "normalised" : "not normalised";
  if (settings.tokens_max) text += ", " + std::to_string(*settings.tokens_max) + " tokens at most";
  if (settings.role) text += ", role " + *settings.role;
  if (settings.prompt_name) text += ", prompt " + *settings.prompt_name;
  if (settings.pooling) text += ", pooling " + *settings.pooling;
  return text;
}

std::string report_table(const Report& report) {
  const Reference& reference = report.reference;
  const Comparison& result = report.result;
  std::string versions;
  for (const auto& [name, version] : reference.versions) {
    if (!versions.empty()) versions += ", ";
    versions.append(name).append(" ").append(version);
  }
  Table table;
  table.row("model", report.info.name)
      .row("runs as", std::string(to_string(report.info.path)) + ", " +
                          std::string(to_string(report.info.precision)) + ", " +
                          std::string(to_string(report.info.provider)))
      .row("reference", reference.file)
      .row("made by", versions.empty() ? "unknown" : versions)
      .row("made with", settings_text(reference.settings))
      .row("made from", reference.model_sha256.empty()
                            ? "unknown"
                            : "SHA-256 " + reference.model_sha256 + " (not compared)")
      .row("texts", std::to_string(reference.texts()))
      .row("dimension",
           std::to_string(report.dimension) + " of " + std::to_string(report.info.dimension))
      .row("ids differ", result.ids_differ == 0
                             ? "none"
                             : std::to_string(result.ids_differ) + " texts, the first is text " +
                                   std::to_string(result.ids_differ_first))
      .row("max |difference|", short_number(result.difference_max) + " in text " +
                                   std::to_string(result.difference_max_text) + " (tolerance " +
                                   short_number(report.tolerance) + ")")
      .row("cosine",
           "min " + decimal(result.cosine_min, 9) + ", mean " + decimal(report.cosine_mean(), 9));
  if (reference.normalized) {
    table.row("max |length - 1|", short_number(result.norm_error_max));
  }
  table.row("result", report.passed() ? "passed" : "FAILED");
  return table.text();
}

std::string settings_json(const ReferenceSettings& settings) {
  JsonObject json;
  json.boolean("normalize", settings.normalize);
  if (settings.tokens_max) json.integer("tokens_max", *settings.tokens_max);
  if (settings.role) json.string("role", *settings.role);
  if (settings.prompt_name) json.string("prompt_name", *settings.prompt_name);
  if (settings.pooling) json.string("pooling", *settings.pooling);
  return json.text();
}

std::string report_json(const Report& report) {
  const Reference& reference = report.reference;
  const Comparison& result = report.result;
  JsonObject versions;
  for (const auto& [name, version] : reference.versions) versions.string(name, version);
  JsonObject made;
  made.string("file", reference.file)
      .json("settings", settings_json(reference.settings))
      .json("versions", versions.text())
      .string("model_sha256", reference.model_sha256);
  JsonObject json;
  json.string("model", report.info.name)
      .string("path", to_string(report.info.path))
      .string("precision", to_string(report.info.precision))
      .string("provider", to_string(report.info.provider))
      .json("reference", made.text())
      .integer("texts", reference.texts())
      .integer("dimension", report.dimension)
      .integer("ids_differ", result.ids_differ)
      .json("ids_differ_first",
            result.ids_differ == 0 ? "null" : std::to_string(result.ids_differ_first))
      .number("difference_max", result.difference_max)
      .integer("difference_max_text", result.difference_max_text)
      .number("tolerance", report.tolerance)
      .number("cosine_min", result.cosine_min)
      .number("cosine_mean", report.cosine_mean());
  if (reference.normalized) {
    json.number("norm_error_max", result.norm_error_max);
  } else {
    json.json("norm_error_max", "null");
  }
  return json.boolean("passed", report.passed()).text() + "\n";
}

}  // namespace

int run_verify(const VerifyCommand& command) {
  const Interrupt interrupt;  // before the engine starts threads
  const auto reference = read_reference(command.reference);
  if (!reference) return fail(reference.error());
  const auto load = load_options(command, *reference);
  if (!load) return fail(load.error());
  const auto engine = Engine::load(model_name(command.model), *load);
  if (!engine) return fail(engine.error());
  auto options = embed_options(command, *reference, engine->info());
  if (!options) return fail(options.error());
  options->stop = interrupt.token();

  const auto result = Verification(*engine, *options, *reference).run();
  if (!result) return fail(result.error());
  const Report report{*reference, engine->info(), *options->dimensions, command.tolerance, *result};
  const int code = print(command.json ? report_json(report) : report_table(report));
  if (code != kDone) return code;
  return report.passed() ? kDone : kCheckFailed;
}

}  // namespace textvec::cli
