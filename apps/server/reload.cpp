// In: parts of a server. Out: each read again, or as it was. See reload.h.
#include "server/reload.h"

#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "server/access_log.h"

namespace textvec::server {
namespace {

using Clock = std::chrono::steady_clock;

Reloader::Outcome reload_part(const Reloader::Part& part) {
  const auto begun = Clock::now();
  Reloader::Outcome outcome{part.name, {}};
  try {
    const auto reloaded = part.reload();
    if (!reloaded) outcome.error = reloaded.error();
  } catch (const std::exception& exception) {  // no memory, no thread
    outcome.error = Error{ErrorCode::Internal, exception.what()};
  }
  if (outcome.error) {
    write_line("textvec: " + part.name +
               " was not reloaded and is as before: " + outcome.error->message + "\n");
  } else {
    const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
    write_line("textvec: " + part.name + " was reloaded in " + std::to_string(time.count()) +
               " ms\n");
  }
  return outcome;
}

}  // namespace

Reloader::~Reloader() {
  if (thread_.joinable()) thread_.join();
}

bool Reloader::start(const Done& done) {
  const std::lock_guard lock(mutex_);
  if (running_.exchange(true)) return false;
  if (thread_.joinable()) thread_.join();  // it has nothing left to do
  try {
    thread_ = std::thread([this, done] {
      try {
        reload(done);
      } catch (const std::exception&) {  // no memory: `done` goes, and whoever waits is told so
        running_ = false;
      }
    });
  } catch (const std::system_error& error) {
    running_ = false;
    if (done) {
      done({{"the server", Error{ErrorCode::Internal, std::string("no thread: ") + error.what()}}});
    }
  }
  return true;
}

void Reloader::reload(const Done& done) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(parts_.size());
  for (const Part& part : parts_) outcomes.push_back(reload_part(part));
  // Before the answer: who has it may ask for the next one.
  running_ = false;
  if (done) done(outcomes);
}

}  // namespace textvec::server
