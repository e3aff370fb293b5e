// In: a batch of spans in OTLP's JSON. Out: a request to a collector, and what it answered. A
// collector is trusted with nothing: its answer is bounded in time and bytes, and no redirect is
// followed.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "server/span_exporter.h"

namespace textvec::server {

// Keeps its connection open between batches. Not for several threads at once.
class OtlpSender {
 public:
  explicit OtlpSender(std::string url);
  ~OtlpSender();
  OtlpSender(const OtlpSender&) = delete;
  OtlpSender& operator=(const OtlpSender&) = delete;

  Delivery send(const std::string& body, const std::stop_token& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace textvec::server
