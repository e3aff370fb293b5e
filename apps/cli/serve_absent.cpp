// In: the options of `textvec serve`. Out: that this build has no server (TEXTVEC_BUILD_SERVER).
#include "commands.h"
#include "exit_code.h"

namespace textvec::cli {

int run_serve(const ServeCommand&) {
  return fail({ErrorCode::Unsupported, "this build has no server; TEXTVEC_BUILD_SERVER adds it"});
}

}  // namespace textvec::cli
