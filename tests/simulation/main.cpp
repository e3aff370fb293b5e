// In: seeds. Out: exit code 0 when every promise held; the seed that broke one, and how to run it
// alone, otherwise.
//
// usage: simulation [--seed N | --seeds COUNT] [--steps COUNT] [--trace]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "simulation.h"

namespace {

using Number = unsigned long long;

int usage() {
  std::fputs("usage: simulation [--seed N | --seeds COUNT] [--steps COUNT] [--trace]\n", stderr);
  return 2;
}

bool one_seed(Number seed, Number steps, bool trace) {
  using namespace textvec::simulation;
  try {
    const Counts c = simulate(seed, steps, trace);
    std::printf(
        "seed %llu: %llu texts: %llu vectors, %llu bad, %llu late, %llu cancelled; %llu jobs "
        "refused; %llu batches, %llu halved, %llu stopped; %llu closings\n",
        seed, Number{c.texts}, Number{c.vectors}, Number{c.failed}, Number{c.late},
        Number{c.cancelled}, Number{c.refused_jobs}, Number{c.batches}, Number{c.halved},
        Number{c.ended_by_stop}, Number{c.closings});
    // A simulation in which one of these never happens proves nothing about it.
    const bool all_seen = c.vectors > 0 && c.failed > 0 && c.late > 0 && c.cancelled > 0 &&
                          c.refused_jobs > 0 && c.halved > 0 && c.ended_by_stop > 0 &&
                          c.closings > 0;
    if (!all_seen && steps >= 20'000) std::printf("seed %llu: too little happened\n", seed);
    return all_seen || steps < 20'000;
  } catch (const Broken& broken) {
    std::printf("seed %llu FAILED at %s\nagain: simulation --seed %llu --steps %llu --trace\n",
                seed, broken.what(), seed, steps);
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Number first = 1;
  Number last = 20;
  Number steps = 1'000'000;
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--trace") {
      trace = true;
      continue;
    }
    if (i + 1 == argc) return usage();
    char* end = nullptr;
    const Number value = std::strtoull(argv[++i], &end, 10);
    if (end == argv[i] || *end != '\0') return usage();
    if (name == "--seed") {
      first = last = value;
    } else if (name == "--seeds") {
      last = value;
    } else if (name == "--steps") {
      steps = value;
    } else {
      return usage();
    }
  }
  bool all_kept = true;
  for (Number seed = first; seed <= last; ++seed) {
    if (!one_seed(seed, steps, trace)) all_kept = false;
  }
  return all_kept ? 0 : 1;
}
