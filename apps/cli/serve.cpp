// In: the options of `textvec serve`. Out: a server, until a signal ends it.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <thread>

#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "output_file.h"
#include "server/http.h"
#include "server/keys.h"
#include "server/listen.h"
#include "server/service.h"
#include "textvec/engine.h"

namespace textvec::cli {
namespace {

constexpr unsigned kSocketThreads = 2;         // they only move bytes
constexpr std::size_t kOtherDescriptors = 64;  // files, pipes, the listening socket

Result<void> check_limits(const server::Limits& limits) {
  if (limits.texts_max > limits.texts_in_flight_max) {
    return Error{ErrorCode::InvalidArgument,
                 "--request-texts is " + std::to_string(limits.texts_max) + ", more than the " +
                     std::to_string(limits.texts_in_flight_max) + " of --queue-texts"};
  }
  if (limits.body_bytes_max > limits.bytes_in_flight_max) {
    return Error{ErrorCode::InvalidArgument,
                 "--body-bytes is " + std::to_string(limits.body_bytes_max) + ", more than the " +
                     std::to_string(limits.bytes_in_flight_max) + " of --queue-bytes"};
  }
  return {};
}

int serve(const ServeCommand& command, const server::ServeOptions& options,
          const server::Keys& keys, server::Listener listener, const Engine& engine,
          const Interrupt& interrupt) {
  server::Served served{engine.info(),
                        command.name.empty() ? engine.info().name : command.name,
                        options.aliases,
                        options.limits.texts_max,
                        options.limits.requests_max,
                        std::time(nullptr)};
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
  server::Service service(engine, std::move(served), options.limits, threads, options.page);
  if (const int printed = print(listener.address() + "\n"); printed != kDone) return printed;
  const auto drained = server::serve_http(std::move(listener), service, options, keys,
                                          kSocketThreads, interrupt.token());
  if (!drained) return fail(drained.error());
  if (!drained->all) say("some requests were given up");
  // A batch that does not end holds the engine, and would hold its destructor.
  if (!drained->idle) _exit(kTooLate);
  return drained->all ? kDone : kTooLate;
}

}  // namespace

int run_serve(const ServeCommand& command) {
  // A client, or whoever reads the log, may leave at any time.
  std::signal(SIGPIPE, SIG_IGN);
  const Interrupt interrupt;  // before any thread
  server::ServeOptions options = command.serve;
  if (const auto valid = check_limits(options.limits); !valid) return fail(valid.error());
  auto keys = options.keys_file.empty() ? Result<server::Keys>(server::Keys())
                                        : server::Keys::read(options.keys_file);
  if (!keys) {
    say(keys.error().message);
    return kCallersMistake;
  }
  const std::size_t descriptors = server::raise_descriptor_limit();
  options.limits.connections_max = std::min(
      options.limits.connections_max,
      descriptors > 2 * kOtherDescriptors ? descriptors - kOtherDescriptors : descriptors / 2);
  // First what fails fast.
  auto listener = server::Listener::open(options);
  if (!listener) return fail(listener.error());
  LoadOptions load = command.model.load;
  load.queue_texts_max = options.limits.texts_in_flight_max;
  const auto engine = Engine::load(model_name(command.model), load);
  if (!engine) return fail(engine.error());
  // The first batch is slower than others, and shows whether the model works at all.
  const auto health = engine->health(std::chrono::minutes(10));
  if (!health) return fail(health.error());
  if (interrupt.token().stop_requested()) return kDone;
  return serve(command, options, *keys, std::move(*listener), *engine, interrupt);
}

}  // namespace textvec::cli
