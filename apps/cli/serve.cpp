// In: the options of `textvec serve`. Out: a server, until a signal ends it.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>
#include <thread>

#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "output_file.h"
#include "server/access_log.h"
#include "server/http.h"
#include "server/keys.h"
#include "server/listen.h"
#include "server/models.h"
#include "server/otlp.h"
#include "server/otlp_sender.h"
#include "server/reload.h"
#include "server/replaceable.h"
#include "server/service.h"
#include "server/span_exporter.h"

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

// "NAME=M", or M alone. A path that is there is taken as it stands.
server::Source read_source(const std::string& given) {
  const std::size_t sign = given.find('=');
  std::error_code error;
  if (sign == std::string::npos || std::filesystem::exists(given, error)) return {given, {}};
  return {given.substr(sign + 1), given.substr(0, sign)};
}

Result<std::vector<server::Source>> read_sources(const ServeCommand& command) {
  std::vector<server::Source> sources;
  for (const std::string& given : command.models) {
    sources.push_back(read_source(given));
    const bool names_it = given != sources.back().model;
    if (sources.back().model.empty() || (names_it && sources.back().name.empty())) {
      return Error{ErrorCode::InvalidArgument, "--model takes no empty name: \"" + given + "\""};
    }
  }
  if (sources.empty()) sources.push_back({model_name({}), {}});
  if (command.name.empty()) return sources;
  if (sources.size() > 1 || !sources.front().name.empty()) {
    return Error{ErrorCode::InvalidArgument,
                 "--name is of the only model; --model NAME=M names one of several"};
  }
  sources.front().name = command.name;
  return sources;
}

Result<void> reload_keys(server::Secrets& secrets, const std::string& file) {
  auto read = server::Keys::read(file);
  if (!read) return read.error();
  secrets.keys.replace(std::make_shared<const server::Keys>(std::move(*read)));
  return {};
}

Result<void> reload_certificate(server::Secrets& secrets, const server::ServeOptions& options) {
  auto read = server::Tls::read(options.tls_certificate, options.tls_key);
  if (!read) return read.error();
  for (const std::string& warning : read->warnings()) {
    server::write_line("textvec: warning: " + warning + "\n");
  }
  secrets.tls.replace(std::make_shared<const server::Tls>(std::move(*read)));
  return {};
}

Result<void> read_secrets(server::Secrets& secrets, const server::ServeOptions& options) {
  if (!options.keys_file.empty()) {
    auto read = reload_keys(secrets, options.keys_file);
    if (!read) return Error{ErrorCode::InvalidArgument, read.error().message};
  }
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return Error{ErrorCode::InvalidArgument,
                 "--tls-certificate and --tls-key go together; only one of them is there"};
  }
  if (options.tls_certificate.empty()) return {};
  return reload_certificate(secrets, options);
}

// First what takes no time.
std::vector<server::Reloader::Part> parts_of(const server::ServeOptions& options,
                                             server::Secrets& secrets, server::Models& models,
                                             server::Service& service) {
  std::vector<server::Reloader::Part> parts;
  if (!options.keys_file.empty()) {
    parts.push_back({"the keys", [&] { return reload_keys(secrets, options.keys_file); }});
  }
  if (!options.tls_certificate.empty()) {
    parts.push_back({"the certificate", [&] { return reload_certificate(secrets, options); }});
  }
  const auto all = models.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    parts.push_back({all[i]->served.name, [&models, &service, i] {
                       auto reloaded = models.reload(i);
                       service.renew_threads();
                       return reloaded;
                     }});
  }
  return parts;
}

// An empty variable is as good as none.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

// nullptr: nobody wants spans.
Result<std::unique_ptr<server::SpanExporter>> make_spans(const server::ServeOptions& options) {
  const auto url =
      server::otlp_url({options.otlp_endpoint, variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
                        variable("OTEL_EXPORTER_OTLP_ENDPOINT")});
  if (!url) return url.error();
  if (!*url) return std::unique_ptr<server::SpanExporter>();
  std::string name = options.otlp_service_name;
  if (name.empty()) name = variable("OTEL_SERVICE_NAME");
  if (name.empty()) name = "textvec";
  const auto sender = std::make_shared<server::OtlpSender>(**url);
  const auto send = [sender, name](std::span<const server::Span> batch,
                                   const std::stop_token& stop) {
    return sender->send(server::otlp_json(name, batch), stop);
  };
  const auto log = [](std::string_view line) {
    server::write_line("textvec: " + std::string(line) + "\n");
  };
  return std::make_unique<server::SpanExporter>(server::SpanExporter::Limits(), send, log);
}

int serve(const server::ServeOptions& options, server::Secrets& secrets, server::Listener listener,
          server::Models& models, server::SpanExporter* spans, Interrupt& interrupt) {
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
  server::Service service(models, options.limits, threads, options.page);
  server::Reloader reloader(parts_of(options, secrets, models, service));
  service.set_reloader(reloader);
  if (spans != nullptr) service.set_spans(*spans);
  interrupt.on_hangup([&reloader] {
    // A full standard error must not stop the thread that waits for SIGTERM.
    if (!reloader.start({})) {
      server::write_line("textvec: SIGHUP: a reload is under way, and no other was begun\n");
    }
  });
  if (const int printed = print(listener.address() + "\n"); printed != kDone) return printed;
  const auto drained = server::serve_http(std::move(listener), service, options, secrets,
                                          kSocketThreads, interrupt.token());
  interrupt.on_hangup({});
  if (!drained) return fail(drained.error());
  if (!drained->all) say("some requests were given up");
  const int code = drained->all ? kDone : kTooLate;
  // A batch that does not end holds the engine, and would hold its destructor; a model that loads
  // would hold the reloader's.
  // The same for a collector's name that is looked up.
  const bool are_sent = spans == nullptr || spans->finish();
  if (!drained->idle || reloader.running() || !are_sent) _exit(code);
  return code;
}

}  // namespace

int run_serve(const ServeCommand& command) {
  // A client, or whoever reads the log, may leave at any time.
  std::signal(SIGPIPE, SIG_IGN);
  Interrupt interrupt(true);  // before any thread
  server::ServeOptions options = command.serve;
  if (const auto valid = check_limits(options.limits); !valid) return fail(valid.error());
  auto sources = read_sources(command);
  if (!sources) return fail(sources.error());
  server::Secrets secrets;
  if (const auto read = read_secrets(secrets, options); !read) return fail(read.error());
  const std::size_t descriptors = server::raise_descriptor_limit();
  options.limits.connections_max = std::min(
      options.limits.connections_max,
      descriptors > 2 * kOtherDescriptors ? descriptors - kOtherDescriptors : descriptors / 2);
  auto spans = make_spans(options);
  if (!spans) return fail(spans.error());
  // First what fails fast.
  auto listener = server::Listener::open(options);
  if (!listener) return fail(listener.error());
  LoadOptions load = command.load;
  load.queue_texts_max = options.limits.texts_in_flight_max;
  const auto models = server::Models::load(std::move(*sources), load, options);
  if (!models) return fail(models.error());
  if (interrupt.token().stop_requested()) return kDone;
  return serve(options, secrets, std::move(*listener), **models, spans->get(), interrupt);
}

}  // namespace textvec::cli
