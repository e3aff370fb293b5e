// In: a batch of spans. Out: a request to a collector. See otlp_sender.h.
#include "server/otlp_sender.h"

#include <curl/curl.h>

#include <string_view>
#include <utility>

#include "hub/download.h"
#include "textvec/version.h"

namespace textvec::server {
namespace {

constexpr long kConnectMilliseconds = 5'000;
constexpr long kAnswerMilliseconds = 10'000;  // OTEL_EXPORTER_OTLP_TIMEOUT's usual value
constexpr std::size_t kAnswerBytesMax = 65'536;
constexpr std::size_t kHeadBytesMax = 65'536;

struct Transfer {
  std::stop_token stop{};
  std::size_t head_bytes = 0;
  std::size_t answer_bytes = 0;
  bool has_head = false;  // all of it
};

// --- What libcurl calls.

std::size_t on_header(char* data, std::size_t, std::size_t size, void* given) {
  auto& transfer = *static_cast<Transfer*>(given);
  const std::string_view line(data, size);
  transfer.head_bytes += size;
  if (line.starts_with("HTTP/")) transfer.has_head = false;  // after "100 Continue" another comes
  if (line == "\r\n" || line == "\n") transfer.has_head = true;
  return transfer.head_bytes <= kHeadBytesMax ? size : 0;
}

// Nobody reads it; an end of the answer lets the connection live.
std::size_t on_body(char*, std::size_t, std::size_t size, void* given) {
  auto& transfer = *static_cast<Transfer*>(given);
  transfer.answer_bytes += size;
  return transfer.answer_bytes <= kAnswerBytesMax ? size : 0;
}

int on_progress(void* given, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(given)->stop.stop_requested() ? 1 : 0;
}

}  // namespace

struct OtlpSender::Impl {
  explicit Impl(std::string collector) : url(std::move(collector)) {
    hub::start_curl();
    easy = curl_easy_init();
    lines = curl_slist_append(lines, "Content-Type: application/json");
    lines = curl_slist_append(lines, "Expect:");  // or a collector that ignores it costs a second
  }
  ~Impl() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(lines);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void prepare(const std::string& body, Transfer& transfer) const {
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "textvec/" TEXTVEC_VERSION);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectMilliseconds);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, kAnswerMilliseconds);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    hub::use_certificates_of_environment(easy);
  }

  Delivery judge(CURLcode code, const Transfer& transfer) const {
    using Outcome = Delivery::Outcome;
    // Of a head that is whole the status counts, whatever became of what follows it.
    if (!transfer.has_head) {
      return {Outcome::Later,
              url + ": " +
                  (code == CURLE_WRITE_ERROR ? "a head without an end" : curl_easy_strerror(code)),
              {}};
    }
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) return {};
    Delivery delivery{Outcome::Refused, url + " answers " + std::to_string(status), {}};
    // OTLP's list.
    if (status == 429 || (status >= 502 && status <= 504)) delivery.outcome = Outcome::Later;
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    delivery.retry_after = std::chrono::seconds(seconds);
    return delivery;
  }

  const std::string url;
  CURL* easy = nullptr;
  curl_slist* lines = nullptr;
};

OtlpSender::OtlpSender(std::string url) : impl_(std::make_unique<Impl>(std::move(url))) {}
OtlpSender::~OtlpSender() = default;

Delivery OtlpSender::send(const std::string& body, const std::stop_token& stop) {
  if (impl_->easy == nullptr) return {Delivery::Outcome::Later, "libcurl has no memory", {}};
  Transfer transfer{stop};
  impl_->prepare(body, transfer);
  const CURLcode code = curl_easy_perform(impl_->easy);
  Delivery delivery = impl_->judge(code, transfer);
  curl_easy_reset(impl_->easy);  // which must not keep the address of what goes here
  return delivery;
}

}  // namespace textvec::server
