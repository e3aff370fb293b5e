// In: what was answered. Out: Prometheus's text format, with TEI's names (te_*) and a few of our
// own, which alone tell models apart. Labels come from fixed lists, never from a client.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/options.h"

namespace textvec::server {

// Buckets of TEI: 35 durations in seconds, each 1.5 times the one before.
class Histogram {
 public:
  static constexpr std::size_t kBuckets = 35;

  explicit Histogram(double first = 1.5e-5, double step = 1.5) : first_(first), step_(step) {}
  void add(double value, std::uint64_t times = 1);
  void append_to(std::string& out, std::string_view name) const;

 private:
  double first_;
  double step_;
  std::array<std::uint64_t, kBuckets + 1> counts_{};  // the last: above all bounds
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

class Metrics {
 public:
  using Seconds = std::chrono::duration<double>;

  // An inference request: of one text, or of a list of them.
  void asked(bool single, std::size_t texts);
  void answered(std::string_view model, bool single, const Embeddings& embeddings, Seconds total);
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
  };
  std::string text(const Gauges& gauges) const;

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
};

}  // namespace textvec::server
