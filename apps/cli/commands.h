// In: what the command line says, one struct a command. Out: the process's exit code. main.cpp
// fills the structs; each run_ function lives in the file of its command.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "read_texts.h"
#include "server/options.h"
#include "textvec/hub.h"
#include "textvec/options.h"
#include "textvec/result.h"
#include "write_vectors.h"

namespace textvec::cli {

struct ModelOptions {
  std::string model{};  // empty: $TEXTVEC_MODEL, else the default model
  LoadOptions load{};
};

// The model that is meant: as given, $TEXTVEC_MODEL, or the default.
std::string model_name(const ModelOptions& options);

struct EmbedCommand {
  ModelOptions model{};
  InputOptions input{};
  EmbedOptions embed{};
  std::optional<double> timeout_seconds{};
  std::string output{};                  // empty: standard output
  std::optional<OutputFormat> format{};  // none: what the output's name says, else jsonl
};

struct TokenizeCommand {
  ModelOptions model{};
  InputOptions input{};
  EmbedOptions embed{};
  std::string output{};
};

struct InfoCommand {
  ModelOptions model{};
  bool json = false;
};

struct CompileCommand {
  std::string model{};
  std::string target = "fused";
  Precision precision = Precision::Auto;
  std::vector<std::string> buckets{};  // "8x128": texts x tokens
  std::string output{};
};

struct DoctorCommand {
  ModelOptions model{};
  bool json = false;
};

// Not for people: what a trial of a provider runs in a process of its own.
struct TryProviderCommand {
  ModelOptions model{};
};

struct VerifyCommand {
  ModelOptions model{};
  std::string reference{};
  std::optional<std::size_t> dimensions{};  // none: the reference's
  double tolerance = 2e-6;
  bool json = false;
};

struct BenchCommand {
  ModelOptions model{};
  std::string shapes = "1x12,8x32";  // texts x tokens
  std::optional<std::size_t> repeat{};
  std::optional<double> seconds{};
  bool json = false;
};

struct TuneCommand {
  ModelOptions model{};
  double seconds = 60;
  bool json = false;
};

struct ServeCommand {
  std::vector<std::string> models{};  // M or NAME=M; none: as model_name() says
  LoadOptions load{};                 // of each
  std::string name{};                 // of the only model, to clients; empty: its own
  server::ServeOptions serve{};
};

struct PullCommand {
  std::vector<std::string> names{};
  PullOptions pull{};
  bool json = false;
};

struct ModelsCommand {
  bool json = false;
};

struct VerifyFilesCommand {
  std::vector<std::string> names{};  // none: every stored model
  bool remove_wrong = false;
  bool json = false;
};

struct RemoveCommand {
  std::vector<std::string> names{};
};

int run_embed(const EmbedCommand& command);
int run_tokenize(const TokenizeCommand& command);
int run_info(const InfoCommand& command);
int run_compile(const CompileCommand& command);
int run_doctor(const DoctorCommand& command);
int run_try_provider(const TryProviderCommand& command);
int run_verify(const VerifyCommand& command);
int run_bench(const BenchCommand& command);
int run_tune(const TuneCommand& command);
int run_serve(const ServeCommand& command);
int run_pull(const PullCommand& command);
int run_models(const ModelsCommand& command);
int run_verify_files(const VerifyFilesCommand& command);
int run_remove(const RemoveCommand& command);

}  // namespace textvec::cli
