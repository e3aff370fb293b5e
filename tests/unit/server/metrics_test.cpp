// Prometheus's text format: names, buckets, sums.
#include "server/metrics.h"

#include <gtest/gtest.h>

namespace textvec::server {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Histogram, CountsUpToEachBound) {
  Histogram histogram(1, 2);  // 1, 2, 4, ...
  histogram.add(0.5);
  histogram.add(1);
  histogram.add(1.5);
  histogram.add(4, 2);
  histogram.add(1e300);
  std::string text;
  histogram.append_to(text, "h");
  EXPECT_TRUE(has_line(text, "h_bucket{le=\"1\"} 2"));
  EXPECT_TRUE(has_line(text, "h_bucket{le=\"2\"} 3"));
  EXPECT_TRUE(has_line(text, "h_bucket{le=\"4\"} 5"));
  EXPECT_TRUE(has_line(text, "h_bucket{le=\"8\"} 5"));
  EXPECT_TRUE(has_line(text, "h_bucket{le=\"+Inf\"} 6"));
  EXPECT_TRUE(has_line(text, "h_count 6"));
}

TEST(Metrics, CountWhatWasAnswered) {
  Metrics metrics;
  metrics.asked(true, 1);
  metrics.asked(false, 2);
  metrics.asked(false, 3);
  Embeddings embeddings;
  embeddings.tokens = {3, 4};
  embeddings.durations.queue = std::chrono::milliseconds(5);
  using std::chrono::milliseconds;
  embeddings.text_durations = {{milliseconds(125), milliseconds(250), milliseconds(500)},
                               {milliseconds(125), {}, milliseconds(1000)}};
  BatchMetrics batches;
  batches.ran(2, 8);
  batches.ran(5000, 1U << 21);
  metrics.answered("a", false, Work(embeddings), std::chrono::milliseconds(500));
  metrics.failed("overloaded");
  metrics.failed("overloaded");
  metrics.replied(200);
  metrics.replied(429);
  const std::string text = metrics.text(
      {7,
       8,
       9,
       10,
       {{"a", Provider::Cpu, Provider::OpenVino, true}, {"b\\\"\n", Provider::Cpu, {}, false}}},
      batches);
  EXPECT_TRUE(has_line(text, "te_request_count{method=\"single\"} 1"));
  EXPECT_TRUE(has_line(text, "te_request_count{method=\"batch\"} 2"));
  EXPECT_TRUE(has_line(text, "te_request_success{method=\"batch\"} 1"));
  EXPECT_TRUE(has_line(text, "te_request_failure{err=\"overloaded\"} 2"));
  EXPECT_TRUE(has_line(text, "te_embed_count 6"));
  EXPECT_TRUE(has_line(text, "te_embed_success 2"));
  EXPECT_TRUE(has_line(text, "te_queue_size 7"));
  EXPECT_TRUE(has_line(text, "textvec_tokens_total 7"));
  EXPECT_TRUE(has_line(text, "textvec_requests_in_flight 8"));
  EXPECT_TRUE(has_line(text, "textvec_bytes_in_flight 9"));
  EXPECT_TRUE(has_line(text, "textvec_connections 10"));
  EXPECT_TRUE(has_line(text, "textvec_replies_total{status=\"429\"} 1"));
  EXPECT_TRUE(
      has_line(text, "textvec_provider{model=\"a\",provider=\"cpu\",wanted=\"openvino\"} 1"));
  EXPECT_TRUE(has_line(text, "textvec_provider_fallback{model=\"a\"} 1"));
  // Escaped as the format wants it.
  EXPECT_TRUE(has_line(text, "textvec_provider_fallback{model=\"b\\\\\\\"\\n\"} 0"));
  EXPECT_TRUE(has_line(text, "textvec_texts_total{model=\"a\"} 2"));
  EXPECT_TRUE(has_line(text, "te_request_duration_sum 0.5"));
  EXPECT_TRUE(has_line(text, "te_request_queue_duration_count 1"));
  EXPECT_TRUE(has_line(text, "te_request_input_length_sum 7"));
  // A text's three times are all of its time.
  EXPECT_TRUE(has_line(text, "te_embed_duration_count 2"));
  EXPECT_TRUE(has_line(text, "te_embed_duration_sum 2"));
  EXPECT_TRUE(has_line(text, "te_embed_tokenization_duration_sum 0.25"));
  EXPECT_TRUE(has_line(text, "te_embed_queue_duration_sum 0.25"));
  EXPECT_TRUE(has_line(text, "te_embed_inference_duration_sum 1.5"));
  EXPECT_TRUE(has_line(text, "te_batch_next_size_bucket{le=\"2\"} 1"));
  EXPECT_TRUE(has_line(text, "te_batch_next_size_bucket{le=\"4096\"} 1"));
  EXPECT_TRUE(has_line(text, "te_batch_next_size_bucket{le=\"+Inf\"} 2"));
  EXPECT_TRUE(has_line(text, "te_batch_next_tokens_bucket{le=\"8\"} 1"));
  EXPECT_TRUE(has_line(text, "te_batch_next_tokens_bucket{le=\"1048576\"} 1"));
  EXPECT_TRUE(has_line(text, "te_batch_next_tokens_sum 2097160"));
}

}  // namespace
}  // namespace textvec::server
