// In: the provider that the caller wants. Out: what it is, whether this machine has it, and a
// session that runs on it. One table holds everything that is known of each.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace Ort {
struct Env;
struct SessionOptions;
}  // namespace Ort

namespace textvec::runtime {

using ProviderOptions = std::map<std::string, std::string>;

// Where sessions run: cpu, or a provider as find_provider() found it.
struct ProviderUse {
  Provider provider = Provider::Cpu;
  ProviderOptions options{};
  std::string library{};  // of a plugin; empty: it is built into ONNX Runtime
};

// All but cpu, and those that `auto` tries on this platform, best first.
std::vector<Provider> device_providers();
std::vector<Provider> automatic_providers();

// It compiles a program of fixed shapes, and takes graph/static.h's graphs.
bool takes_static_graphs(Provider provider);
// ONNX Runtime's name: "OpenVINOExecutionProvider".
std::string runtime_name(Provider provider);

// Errors: InvalidArgument (the option and what it takes are named).
Result<void> check_provider_options(Provider provider, const ProviderOptions& options);

// Whether this machine has it. `library` and its environment variable: LoadOptions. A plugin's
// library must be named by an absolute path, belong to root or to this user, and be writable by
// nobody else. Errors: Provider (why not).
Result<ProviderUse> find_provider(Provider provider, const ProviderOptions& options,
                                  const std::string& library);

// Puts the provider before the processor. `program_folder`: where it may keep what it compiles;
// empty: nowhere. Throws Ort::Exception.
void append_provider(Ort::SessionOptions& session, Ort::Env& environment, const ProviderUse& use,
                     const std::string& program_folder);

}  // namespace textvec::runtime
