// In: what was answered. Out: Prometheus's text format. See metrics.h.
#include "server/metrics.h"

#include <charconv>

namespace textvec::server {
namespace {

std::string number(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

void begin(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
  out.append(name).append(" ").append(type).append("\n");
}

void line(std::string& out, std::string_view name, std::string_view labels, std::uint64_t value) {
  out.append(name).append(labels).append(" ").append(std::to_string(value)).append("\n");
}

void only(std::string& out, std::string_view name, std::string_view type, std::string_view help,
          std::uint64_t value) {
  begin(out, name, type, help);
  line(out, name, "", value);
}

// A model's name may hold anything.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

std::string label(std::string_view name, std::string_view value) {
  return "{" + std::string(name) + "=\"" + escaped(value) + "\"}";
}

void histogram(std::string& out, std::string_view name, std::string_view help,
               const Histogram& values) {
  begin(out, name, "histogram", help);
  values.append_to(out, name);
}

}  // namespace

void Histogram::add(double value, std::uint64_t times) {
  std::size_t bucket = 0;
  for (double bound = first_; bucket + 1 < counts_.size() && value > bound; bound *= step_)
    ++bucket;
  counts_[bucket] += times;
  count_ += times;
  sum_ += value * static_cast<double>(times);
}

void Histogram::append_to(std::string& out, std::string_view name) const {
  std::uint64_t sum = 0;
  double bound = first_;
  const std::string bucket = std::string(name) + "_bucket";
  for (std::size_t i = 0; i + 1 < counts_.size(); ++i, bound *= step_) {
    sum += counts_[i];
    line(out, bucket, label("le", number(bound)), sum);
  }
  line(out, bucket, label("le", "+Inf"), count_);
  out.append(name).append("_sum ").append(number(sum_)).append("\n");
  line(out, std::string(name) + "_count", "", count_);
}

void BatchMetrics::ran(std::size_t texts, std::size_t tokens) {
  const std::lock_guard lock(mutex_);
  texts_.add(static_cast<double>(texts));
  tokens_.add(static_cast<double>(tokens));
}

void BatchMetrics::append_to(std::string& out) const {
  const std::lock_guard lock(mutex_);
  histogram(out, "te_batch_next_size", "texts of a batch", texts_);
  histogram(out, "te_batch_next_tokens", "tokens of a batch, computed padding included", tokens_);
}

void Metrics::asked(bool single, std::size_t texts) {
  const std::lock_guard lock(mutex_);
  ++asked_[single ? 1 : 0];
  texts_asked_ += texts;
}

void Metrics::answered(std::string_view model, bool single, const Work& work, Seconds total) {
  const std::lock_guard lock(mutex_);
  texts_of_models_[std::string(model)] += work.tokens.size();
  ++answered_[single ? 1 : 0];
  texts_answered_ += work.tokens.size();
  total_.add(total.count());
  tokenize_.add(Seconds(work.durations.tokenize).count());
  queue_.add(Seconds(work.durations.queue).count());
  inference_.add(Seconds(work.durations.inference).count());
  for (const std::uint32_t tokens : work.tokens) {
    tokens_ += tokens;
    lengths_.add(tokens);
  }
  for (const Durations& text : work.text_durations) {
    text_total_.add(Seconds(text.tokenize + text.queue + text.inference).count());
    text_tokenize_.add(Seconds(text.tokenize).count());
    text_queue_.add(Seconds(text.queue).count());
    text_inference_.add(Seconds(text.inference).count());
  }
}

void Metrics::failed(std::string_view failure) {
  const std::lock_guard lock(mutex_);
  ++failures_[std::string(failure)];
}

void Metrics::replied(unsigned status) {
  const std::lock_guard lock(mutex_);
  ++replies_[status];
}

std::string Metrics::text(const Gauges& gauges, const BatchMetrics& batches) const {
  const std::lock_guard lock(mutex_);
  std::string out;
  begin(out, "te_request_count", "counter", "inference requests");
  line(out, "te_request_count", label("method", "single"), asked_[1]);
  line(out, "te_request_count", label("method", "batch"), asked_[0]);
  begin(out, "te_request_success", "counter", "inference requests that were answered");
  line(out, "te_request_success", label("method", "single"), answered_[1]);
  line(out, "te_request_success", label("method", "batch"), answered_[0]);
  begin(out, "te_request_failure", "counter", "inference requests that were not");
  for (const auto& [failure, count] : failures_) {
    line(out, "te_request_failure", label("err", failure), count);
  }
  only(out, "te_embed_count", "counter", "texts that were asked for", texts_asked_);
  only(out, "te_embed_success", "counter", "texts that were answered", texts_answered_);
  only(out, "te_queue_size", "gauge", "texts that wait or run", gauges.texts);
  histogram(out, "te_request_duration", "seconds of a request in all", total_);
  histogram(out, "te_request_tokenization_duration", "seconds of its tokenising", tokenize_);
  histogram(out, "te_request_queue_duration", "seconds until its first text ran", queue_);
  histogram(out, "te_request_inference_duration", "seconds from then to its last vector",
            inference_);
  histogram(out, "te_request_input_length", "tokens of a text", lengths_);
  histogram(out, "te_embed_duration", "seconds of a text in all, within its request", text_total_);
  histogram(out, "te_embed_tokenization_duration", "seconds until a text was tokenised",
            text_tokenize_);
  histogram(out, "te_embed_queue_duration", "seconds from then until its batch ran", text_queue_);
  histogram(out, "te_embed_inference_duration", "seconds from then to its vector", text_inference_);
  batches.append_to(out);
  only(out, "textvec_tokens_total", "counter", "tokens that ran, without padding", tokens_);
  only(out, "textvec_requests_in_flight", "gauge", "requests being answered", gauges.requests);
  only(out, "textvec_bytes_in_flight", "gauge", "bytes of their bodies and replies", gauges.bytes);
  only(out, "textvec_connections", "gauge", "open connections", gauges.connections);
  begin(out, "textvec_provider", "gauge", "1 for the provider that runs the model");
  for (const ModelGauges& model : gauges.models) {
    line(out, "textvec_provider",
         "{model=\"" + escaped(model.name) + "\",provider=\"" +
             std::string(to_string(model.provider)) + "\",wanted=\"" +
             std::string(to_string(model.provider_wanted)) + "\"}",
         1);
  }
  begin(out, "textvec_provider_fallback", "gauge", "1 when a device was refused or lost");
  for (const ModelGauges& model : gauges.models) {
    line(out, "textvec_provider_fallback", label("model", model.name), model.fell_back ? 1 : 0);
  }
  begin(out, "textvec_texts_total", "counter", "texts that were answered, by model");
  for (const auto& [model, texts] : texts_of_models_) {
    line(out, "textvec_texts_total", label("model", model), texts);
  }
  if (gauges.spans) {
    only(out, "textvec_spans_sent_total", "counter", "spans that the collector took",
         gauges.spans->sent);
    begin(out, "textvec_spans_dropped_total", "counter", "spans that no collector has");
    line(out, "textvec_spans_dropped_total", label("why", "queue_full"),
         gauges.spans->dropped_for_room);
    line(out, "textvec_spans_dropped_total", label("why", "not_taken"), gauges.spans->not_taken);
    only(out, "textvec_spans_waiting", "gauge", "spans that wait", gauges.spans->waiting);
  }
  begin(out, "textvec_replies_total", "counter", "replies by status");
  for (const auto& [status, count] : replies_) {
    line(out, "textvec_replies_total", label("status", std::to_string(status)), count);
  }
  return out;
}

}  // namespace textvec::server
