// In: a session on a device, and how to open one on the processor. Out: a session that goes on when
// the device is lost.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "runtime/session.h"

namespace textvec::runtime {

struct FallbackOptions {
  // Called at the first batch that the device fails at. Its vectors must be those of the same
  // model: width and pooling are checked.
  std::function<Result<std::unique_ptr<Session>>()> open_on_processor{};
  std::function<void(std::string_view)> log{};  // may be empty
};

// A batch that the device fails at, or answers with NaN, infinity or zeros, runs on the processor.
// After an error that the processor does not have, or after three such answers in a row, the device
// is lost: the processor stays, `log` says so once, and info() too. A stopped batch is none of
// this.
std::unique_ptr<Session> make_fallback_session(std::unique_ptr<Session> device,
                                               FallbackOptions options);

}  // namespace textvec::runtime
