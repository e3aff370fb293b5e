// In: what was answered. Out: Prometheus's text format, with TEI's names (te_*) and a few of our
// own, which alone tell models apart. Labels come from fixed lists, never from a client.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/span_exporter.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"

namespace textvec::server {

// Of TEI's buckets: each bound is the one before times a step. Without words: 35 durations in
// seconds.
class Histogram {
 public:
  explicit Histogram(double first = 1.5e-5, double step = 1.5, std::size_t buckets = 35)
      : first_(first), step_(step), counts_(buckets + 1) {}
  void add(double value, std::uint64_t times = 1);
  void append_to(std::string& out, std::string_view name) const;

 private:
  double first_;
  double step_;
  std::vector<std::uint64_t> counts_;  // the last: above all bounds
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

// Of all engines' batches. They outlive a server's other metrics, because engines do.
class BatchMetrics {
 public:
  void ran(std::size_t texts, std::size_t tokens);
  void append_to(std::string& out) const;

 private:
  mutable std::mutex mutex_{};
  Histogram texts_{1, 2, 13};   // up to 4,096
  Histogram tokens_{1, 2, 21};  // up to 1,048,576, computed padding included
};

// What an answer took; of Embeddings or TokenVectors, which must stay.
struct Work {
  template <class Vectors>
  explicit Work(const Vectors& vectors)
      : tokens(vectors.tokens),
        durations(vectors.durations),
        text_durations(vectors.text_durations) {}

  std::span<const std::uint32_t> tokens;  // per text
  Durations durations;
  std::span<const Durations> text_durations;
};

class Metrics {
 public:
  using Seconds = std::chrono::duration<double>;

  // An inference request: of one text, or of a list of them.
  void asked(bool single, std::size_t texts);
  void answered(std::string_view model, bool single, const Work& work, Seconds total);
  void failed(std::string_view failure);  // Row::failure
  void replied(unsigned status);          // to any request

  struct ModelGauges {
    std::string_view name{};
    Provider provider = Provider::Cpu;  // that runs the model now
    Provider provider_wanted = Provider::Auto;
    bool fell_back = false;  // a device was refused at the start, or lost since
  };
  struct Gauges {
    std::size_t texts = 0;
    std::size_t requests = 0;
    std::size_t bytes = 0;
    std::size_t connections = 0;
    std::vector<ModelGauges> models{};
    std::optional<SpanExporter::Counts> spans{};
  };
  std::string text(const Gauges& gauges, const BatchMetrics& batches) const;

 private:
  mutable std::mutex mutex_{};
  std::array<std::uint64_t, 2> asked_{};     // by `single`
  std::array<std::uint64_t, 2> answered_{};  // by `single`
  std::uint64_t texts_asked_ = 0;
  std::uint64_t texts_answered_ = 0;
  std::uint64_t tokens_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> failures_{};
  std::map<std::string, std::uint64_t, std::less<>> texts_of_models_{};
  std::map<unsigned, std::uint64_t> replies_{};
  Histogram total_{};
  Histogram tokenize_{};
  Histogram queue_{};
  Histogram inference_{};
  Histogram lengths_{1, 1.5};  // tokens of a text
  Histogram text_total_{};
  Histogram text_tokenize_{};
  Histogram text_queue_{};
  Histogram text_inference_{};
};

}  // namespace textvec::server
