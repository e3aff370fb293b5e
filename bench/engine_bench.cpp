// In: a model, $TEXTVEC_MODEL or the default one. Out: milliseconds and tokens a second of
// Engine::embed for texts x tokens, warm, on two threads.
#include <benchmark/benchmark.h>
#include <textvec/engine.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace {

constexpr const char* kDefaultModel = "sentence-transformers/all-MiniLM-L6-v2";

const textvec::Engine& engine() {
  static const textvec::Engine loaded = [] {
    const char* model = std::getenv("TEXTVEC_MODEL");
    textvec::LoadOptions options;
    options.threads = 2;
    return textvec::Engine::load(model != nullptr ? model : kDefaultModel, options).value();
  }();
  return loaded;
}

// The longest run of one common word that makes at most `tokens` tokens, special tokens included.
std::string text_of(std::size_t tokens) {
  std::string text;
  for (std::string longer = "water";; longer += " water") {
    const auto ids = engine().tokenize({&longer, 1});
    if (!ids || ids->front().size() > tokens) return text;
    text = longer;
  }
}

void embed(benchmark::State& state) {
  const auto texts = static_cast<std::size_t>(state.range(0));
  const auto tokens = static_cast<std::size_t>(state.range(1));
  const std::vector<std::string> batch(texts, text_of(tokens));
  for (auto _ : state) {
    const auto vectors = engine().embed(batch);
    if (!vectors) state.SkipWithError(vectors.error().message.c_str());
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(texts * tokens),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

BENCHMARK(embed)
    ->ArgNames({"texts", "tokens"})
    ->Args({1, 12})
    ->Args({1, 128})
    ->Args({8, 32})
    ->Args({32, 32})
    ->Args({32, 128})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();
