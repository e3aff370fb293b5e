// In: nothing but an installed textvec and its default model. Out: exit code 0 when the library
// links, loads, embeds, and reports a missing model as an error value.
#include <textvec/engine.h>
#include <textvec/version.h>

#include <cmath>
#include <cstdio>

namespace {

int fail(const char* what, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", what, why.c_str());
  return 1;
}

}  // namespace

int main() {
  const auto missing = textvec::Engine::load("nobody/no-such-model");
  if (missing) return fail("nobody/no-such-model", "loaded, though no such model exists");
  if (missing.error().code != textvec::ErrorCode::NotFound) {
    return fail("nobody/no-such-model", std::string(to_string(missing.error().code)));
  }

  const auto engine = textvec::Engine::load("sentence-transformers/all-MiniLM-L6-v2");
  if (!engine) return fail("load", engine.error().message);
  const auto vectors = engine->embed("hello");
  if (!vectors) return fail("embed", vectors.error().message);
  if (vectors->rows() != 1 || vectors->dimension != 384) {
    return fail("embed", "the shape is not 1 x 384");
  }
  double squares = 0;
  for (const float value : vectors->row(0)) squares += static_cast<double>(value) * value;
  if (std::abs(std::sqrt(squares) - 1) > 1e-6) {
    return fail("embed", "the length is " + std::to_string(std::sqrt(squares)));
  }

  // An exception thrown in one shared object is caught in another only if its type is exported.
  try {
    textvec::Result<int>(textvec::Error{textvec::ErrorCode::NotFound, "thrown", {}}).value();
    return fail("value", "did not throw");
  } catch (const textvec::BadResult& thrown) {
    if (thrown.error().message != "thrown") return fail("value", thrown.what());
  }
  std::printf("textvec %s embeds\n", TEXTVEC_VERSION);
  return 0;
}
