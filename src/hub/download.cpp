// In: URLs of a hub. Out: small answers, and files on the disk. The only file that knows libcurl.
// See download.h.
#include "hub/download.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "hub/address.h"
#include "hub/part_file.h"
#include "model/utf8.h"
#include "textvec/version.h"

namespace textvec::hub {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kTransfersMax = 8;  // at the same time
constexpr int kFailuresMax = 6;           // in a row
constexpr int kConnectFailuresMax = 3;    // a host that is not there stays away
constexpr int kRedirectsMax = 5;
constexpr std::size_t kHeaderBytesMax = std::size_t{256} << 10;
constexpr std::size_t kUrlBytesMax = 16'384;
constexpr std::uint64_t kProgressBytes = 65'536;  // so many and the failures before are forgotten
constexpr milliseconds kPauseFirst{250};
constexpr milliseconds kPauseMax{30'000};
constexpr std::chrono::seconds kPauseWishedMax{300};
constexpr long kBufferBytes = 256L << 10;
constexpr long kSilenceSeconds = 30;
constexpr long kBytesPerSecondMin = 100;   // for so long and the server is taken for dead
constexpr long kSmallAnswerSeconds = 300;  // of a small answer in all
constexpr std::size_t kErrorPageBytesMax = std::size_t{64} << 10;

struct Url {
  std::string text{};
  std::string scheme{};
  std::string host{};
  std::string port{};

  bool same_origin(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

struct UrlHandle {
  CURLU* handle = curl_url();
  UrlHandle() = default;
  ~UrlHandle() { curl_url_cleanup(handle); }
  UrlHandle(const UrlHandle&) = delete;
  UrlHandle& operator=(const UrlHandle&) = delete;

  std::optional<std::string> part(CURLUPart which, unsigned flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(handle, which, &text, flags) != CURLUE_OK) return std::nullopt;
    std::string copy(text);
    curl_free(text);
    return copy;
  }
};

std::string lower(std::string text) {
  for (char& character : text) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + 32);
  }
  return text;
}

// `text` may be relative to `base`. Nothing when it is no URL, or holds a user or a password.
std::optional<Url> parse_url(const std::string& text, const std::string& base) {
  const UrlHandle url;
  if (url.handle == nullptr || text.size() > kUrlBytesMax) return std::nullopt;
  if (!base.empty() && curl_url_set(url.handle, CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) {
    return std::nullopt;
  }
  // Its scheme is checked later, so that a refusal can name it.
  constexpr unsigned kFlags = CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER | CURLU_URLENCODE;
  if (curl_url_set(url.handle, CURLUPART_URL, text.c_str(), kFlags) != CURLUE_OK) {
    return std::nullopt;
  }
  auto whole = url.part(CURLUPART_URL);
  auto scheme = url.part(CURLUPART_SCHEME);
  auto host = url.part(CURLUPART_HOST);
  if (!whole || !scheme || !host) return std::nullopt;
  return Url{std::move(*whole), lower(std::move(*scheme)), lower(std::move(*host)),
             url.part(CURLUPART_PORT, CURLU_DEFAULT_PORT).value_or("")};
}

// A proxy resolves names itself, and its own address is private more often than not.
bool uses_proxy() {
  for (const char* name : {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

// What becomes of a transfer that ended.
struct Verdict {
  enum class What : std::uint8_t {
    Done,
    Redirect,  // to `url`
    Again,     // after `pause`
    Restart,   // the file from its begin, without ranges
    Refused,   // for good
  };
  What what = What::Done;
  Url url{};
  Error error{};
  std::optional<std::chrono::seconds> pause_wished{};
  int failures_max = kFailuresMax;
};

Verdict refused(ErrorCode code, std::string message) {
  Verdict verdict;
  verdict.what = Verdict::What::Refused;
  verdict.error = {code, std::move(message)};
  return verdict;
}

Verdict again(std::string message, int failures_max = kFailuresMax) {
  Verdict verdict;
  verdict.what = Verdict::What::Again;
  verdict.error = {ErrorCode::Overloaded, std::move(message)};
  verdict.failures_max = failures_max;
  return verdict;
}

// "bytes 5-9/10"
struct ContentRange {
  std::uint64_t begin = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total{};
};

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return std::nullopt;
  const char* at = text.data() + kUnit.size();
  const char* const end = text.data() + text.size();
  ContentRange range;
  const auto number = [&](std::uint64_t& value, char behind) {
    const auto read = std::from_chars(at, end, value);
    if (read.ec != std::errc()) return false;
    at = read.ptr;
    if (behind == '\0') return at == end;
    if (at == end || *at != behind) return false;
    ++at;
    return true;
  };
  if (!number(range.begin, '-') || !number(range.last, '/')) return std::nullopt;
  if (std::string_view(at, static_cast<std::size_t>(end - at)) == "*") return range;
  std::uint64_t total = 0;
  if (!number(total, '\0')) return std::nullopt;
  range.total = total;
  return range;
}

struct Transfer {
  CURL* easy = nullptr;
  curl_slist* lines = nullptr;
  Url url{};
  bool is_head = false;
  int redirects = 0;

  // Of the answer.
  HttpAnswer answer{};
  std::size_t header_bytes = 0;
  bool is_body_begun = false;
  std::size_t error_page_bytes = 0;
  bool is_cut = false;               // an error's page was long enough
  std::optional<Verdict> refusal{};  // why a callback ended it

  // A small answer, or [offset, end) of a file.
  std::size_t body_bytes_max = 0;
  PartFile* file = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool is_ranged = false;
  std::size_t piece = 0;
  std::uint64_t resolutions = 0;  // of FileTransfer, when it began

  // For the callbacks.
  const Url* endpoint = nullptr;
  bool endpoint_is_own = false;
  bool checks_address = true;
  std::optional<AddressKind>* endpoint_kind = nullptr;

  bool is_at_endpoint() const { return url.host == endpoint->host; }

  ~Transfer() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(lines);
  }
  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
};

std::string kind_words(AddressKind kind) {
  switch (kind) {
    case AddressKind::Loopback:
      return "this machine's own address";
    case AddressKind::Private:
      return "an address of a private network";
    default:
      return "no public address";
  }
}

// Whether a host that is not the hub's may have an address of this kind.
bool may_visit(AddressKind kind, const std::optional<AddressKind>& endpoint_kind) {
  if (kind == AddressKind::Public) return true;
  return kind != AddressKind::Special && endpoint_kind == kind;
}

std::optional<Verdict> refuse_address(const Transfer& transfer, AddressKind kind) {
  if (transfer.is_at_endpoint() && transfer.endpoint_is_own) return std::nullopt;
  if (may_visit(kind, *transfer.endpoint_kind)) return std::nullopt;
  return refused(ErrorCode::BadModel, transfer.url.host + " is " + kind_words(kind) +
                                          ", where only a hub named by HF_ENDPOINT may be");
}

// --- What libcurl calls. Nothing may be thrown through its C code.

curl_socket_t open_socket(void* given, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(given);
  try {
    const AddressKind kind = address_kind(address->addr);
    if (transfer.checks_address) {
      if (auto refusal = refuse_address(transfer, kind)) {
        transfer.refusal = std::move(refusal);
        return CURL_SOCKET_BAD;
      }
      if (transfer.is_at_endpoint()) *transfer.endpoint_kind = kind;
    }
  } catch (const std::bad_alloc&) {
    return CURL_SOCKET_BAD;
  }
  int type = address->socktype;
#ifdef SOCK_CLOEXEC
  type |= SOCK_CLOEXEC;
#endif
  return ::socket(address->family, type, address->protocol);
}

void take_header(Transfer& transfer, std::string_view line) {
  transfer.header_bytes += line.size();
  if (line.starts_with("HTTP/")) {  // of each answer: "100 Continue" comes before another
    transfer.answer.headers.clear();
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
  transfer.answer.headers[lower(std::string(line.substr(0, colon)))] = value;
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* given) {
  auto& transfer = *static_cast<Transfer*>(given);
  try {
    take_header(transfer, {data, size});
    if (transfer.header_bytes <= kHeaderBytesMax) return size;
    transfer.refusal = refused(
        ErrorCode::BadModel, "more than " + std::to_string(kHeaderBytesMax) + " bytes of headers");
  } catch (const std::bad_alloc&) {
    return 0;
  }
  return 0;
}

long status_of(const Transfer& transfer) {
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

Verdict restart(std::string why) {
  Verdict verdict;
  verdict.what = Verdict::What::Restart;
  verdict.error = {ErrorCode::Overloaded, std::move(why)};
  return verdict;
}

// Whether what follows is what was asked for.
std::optional<Verdict> check_begin(const Transfer& transfer) {
  if (!transfer.is_ranged) return std::nullopt;
  if (status_of(transfer) == 200) return restart("the server sends whole files only");
  const auto found = transfer.answer.headers.find("content-range");
  const auto range =
      found == transfer.answer.headers.end() ? std::nullopt : parse_content_range(found->second);
  if (range && range->begin == transfer.offset && range->last < transfer.end &&
      (!range->total || *range->total == transfer.file->bytes())) {
    return std::nullopt;
  }
  return again(
      "bytes " + std::to_string(transfer.offset) + " to " + std::to_string(transfer.end - 1) +
      " of " + std::to_string(transfer.file->bytes()) + " were asked for, and others sent: \"" +
      (found == transfer.answer.headers.end() ? "" : model::shortened(found->second)) + "\"");
}

std::optional<Verdict> take_body(Transfer& transfer, std::span<const char> bytes) {
  const long status = status_of(transfer);
  if (transfer.file != nullptr && (status == 200 || status == 206)) {
    if (!std::exchange(transfer.is_body_begun, true)) {
      if (auto wrong = check_begin(transfer)) return wrong;
    }
    if (bytes.size() > transfer.end - transfer.offset) {
      return again("more than the " + std::to_string(transfer.end - transfer.begin) +
                   " bytes that were asked for");
    }
    if (auto written = transfer.file->write(transfer.offset, bytes); !written) {
      return refused(written.error().code, written.error().message);
    }
    transfer.offset += bytes.size();
    return std::nullopt;
  }
  if (status != 200) {  // nobody reads an error's page
    transfer.error_page_bytes += bytes.size();
    transfer.is_cut = transfer.error_page_bytes > kErrorPageBytesMax;
    return std::nullopt;
  }
  if (bytes.size() > transfer.body_bytes_max - transfer.answer.body.size()) {
    return refused(ErrorCode::BadModel, "the answer is larger than " +
                                            std::to_string(transfer.body_bytes_max) + " bytes");
  }
  transfer.answer.body.append(bytes.data(), bytes.size());
  return std::nullopt;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* given) {
  auto& transfer = *static_cast<Transfer*>(given);
  try {
    transfer.refusal = take_body(transfer, {data, size});
    return transfer.refusal || transfer.is_cut ? 0 : size;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

// --- What an answer means

std::string host_text(const Transfer& transfer) {
  return transfer.url.scheme + "://" + transfer.url.host;
}

std::optional<std::string> header(const Transfer& transfer, std::string_view name) {
  const auto found = transfer.answer.headers.find(name);
  if (found == transfer.answer.headers.end()) return std::nullopt;
  return found->second;
}

Verdict missing(const Transfer& transfer, long status) {
  const std::string code = header(transfer, "x-error-code").value_or("");
  std::string said = header(transfer, "x-error-message").value_or("");
  if (!said.empty()) said = "; it says: " + model::shortened(said);
  std::string what = "there is no such model, revision or file";
  if (code == "GatedRepo") {
    what = "the model is gated: accept its terms on the hub's page, then set HF_TOKEN";
  } else if (code == "RevisionNotFound") {
    what = "there is no such revision";
  } else if (code == "EntryNotFound") {
    what = "there is no such file";
  } else if (status == 401 || code == "RepoNotFound") {
    what = "there is no such model, or it is private and HF_TOKEN holds no token for it";
  } else if (status == 403) {
    what = "the model may not be read with this token";
  }
  return refused(ErrorCode::NotFound,
                 host_text(transfer) + " answers " + std::to_string(status) + ": " + what + said);
}

Verdict verdict_of_status(const Transfer& transfer, long status) {
  const std::string answers = host_text(transfer) + " answers " + std::to_string(status);
  if (status == 416 && transfer.file != nullptr) return restart(answers + " to a range");
  if (status == 401 || status == 403 || status == 404 || status == 410) {
    // A link that the hub made for a while is asked for anew.
    if (!transfer.url.same_origin(*transfer.endpoint)) return again(answers);
    return missing(transfer, status);
  }
  if (status != 408 && status != 429 && status < 500) {
    return refused(ErrorCode::Internal, answers + ", which textvec does not understand");
  }
  Verdict verdict = again(answers);
  curl_off_t seconds = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0) verdict.pause_wished = std::chrono::seconds(seconds);
  return verdict;
}

Verdict verdict_of_code(const Transfer& transfer, CURLcode code) {
  const std::string what = host_text(transfer) + ": " + curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return again(what, kConnectFailuresMax);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return refused(ErrorCode::Overloaded, what + " (SSL_CERT_FILE names other certificates)");
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return refused(ErrorCode::BadModel, what);
    case CURLE_OUT_OF_MEMORY:
      return refused(ErrorCode::Internal, what);
    default:
      return again(what);
  }
}

Verdict verdict_of_redirect(const Transfer& transfer) {
  const auto location = header(transfer, "location");
  if (!location) return refused(ErrorCode::BadModel, host_text(transfer) + " redirects nowhere");
  if (transfer.redirects >= kRedirectsMax) {
    return refused(ErrorCode::BadModel, host_text(transfer) + " redirects more than " +
                                            std::to_string(kRedirectsMax) + " times");
  }
  auto url = parse_url(*location, transfer.url.text);
  if (!url) {
    return refused(ErrorCode::BadModel, host_text(transfer) + " redirects to \"" +
                                            model::shortened(*location) +
                                            "\", which is no address of the web");
  }
  Verdict verdict;
  verdict.what = Verdict::What::Redirect;
  verdict.url = std::move(*url);
  return verdict;
}

Verdict judge(Transfer& transfer, CURLcode code) {
  if (transfer.refusal) return std::move(*transfer.refusal);
  const long status = status_of(transfer);
  if (code != CURLE_OK && !transfer.is_cut) return verdict_of_code(transfer, code);
  if (status >= 300 && status < 400) return verdict_of_redirect(transfer);
  if (status != 200 && status != 206) return verdict_of_status(transfer, status);
  if (transfer.file != nullptr && transfer.offset != transfer.end) {
    return again(host_text(transfer) + " ends after " +
                 std::to_string(transfer.offset - transfer.begin) + " of " +
                 std::to_string(transfer.end - transfer.begin) + " bytes");
  }
  return {};
}

milliseconds pause_after(int failures, const Verdict& verdict) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  milliseconds pause = std::min(kPauseMax, kPauseFirst * (1 << std::min(failures - 1, 10)));
  pause += milliseconds(random() % (static_cast<std::uint64_t>(pause.count()) / 4 + 1));
  if (verdict.pause_wished) pause = std::max<milliseconds>(pause, *verdict.pause_wished);
  return pause;
}

// Failures in a row, and when the next attempt may begin.
struct Attempts {
  int failures = 0;
  Clock::time_point not_before{};

  // An error when it failed too often.
  std::optional<Error> failed(const Verdict& verdict, const std::string& what,
                              const std::function<void(std::string_view)>& log) {
    ++failures;
    if (verdict.pause_wished && *verdict.pause_wished > kPauseWishedMax) {
      return Error{verdict.error.code, what + ": " + verdict.error.message + " and wants " +
                                           std::to_string(verdict.pause_wished->count()) +
                                           " s of patience; the limit is " +
                                           std::to_string(kPauseWishedMax.count())};
    }
    if (failures >= verdict.failures_max) {
      return Error{verdict.error.code, what + ": " + verdict.error.message + ", " +
                                           std::to_string(failures) + " times in a row"};
    }
    const milliseconds pause = pause_after(failures, verdict);
    not_before = Clock::now() + pause;
    if (log) {
      log(what + ": " + verdict.error.message + "; trying again in " +
          std::to_string((pause.count() + 99) / 100 * 100) + " ms");
    }
    return std::nullopt;
  }
};

struct Connections {
  Connections(const Endpoint& given, std::string given_token, std::stop_token given_stop,
              std::function<void(std::string_view)> given_log)
      : own_endpoint(given.is_own),
        token(std::move(given_token)),
        stop(std::move(given_stop)),
        log(std::move(given_log)) {
    start_curl();
    multi = curl_multi_init();
    if (auto url = parse_url(given.url, "")) endpoint = std::move(*url);
    if (const AddressKind kind = host_kind(endpoint.host); kind != AddressKind::Public) {
      endpoint_kind = kind;
    }
  }
  ~Connections() { curl_multi_cleanup(multi); }
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  Result<void> check_endpoint() const {
    if (multi == nullptr) return Error{ErrorCode::Internal, "libcurl does not start"};
    if (endpoint.scheme == "https" || (endpoint.scheme == "http" && own_endpoint)) return {};
    return Error{ErrorCode::InvalidArgument,
                 "HF_ENDPOINT takes an https or http URL without user and password"};
  }

  Result<HttpAnswer> ask(const std::string& url, bool is_head, std::size_t body_bytes_max);

  std::optional<Verdict> refuse_url(const Transfer& transfer) const;
  std::optional<Verdict> begin(Transfer& transfer);
  Verdict run(Transfer& transfer);
  bool pause_until(Clock::time_point time);
  bool poll(milliseconds limit);

  Url endpoint{};
  const bool own_endpoint;
  const std::string token;
  const std::stop_token stop;
  const std::function<void(std::string_view)> log;
  const bool proxied = uses_proxy();
  CURLM* multi = nullptr;
  std::optional<AddressKind> endpoint_kind{};
};

// What is wrong with where it leads, before anything is asked.
std::optional<Verdict> Connections::refuse_url(const Transfer& transfer) const {
  const Url& url = transfer.url;
  const bool at_endpoint = url.same_origin(endpoint);
  const AddressKind kind = host_kind(url.host);
  if (url.scheme != "https") {
    const bool both_here =
        kind == AddressKind::Loopback && host_kind(endpoint.host) == AddressKind::Loopback;
    if (url.scheme != "http" || (!at_endpoint && !both_here)) {
      return refused(ErrorCode::BadModel, "the hub leads to " + url.scheme + "://" + url.host +
                                              "; only https is followed");
    }
  }
  return refuse_address(transfer, kind);
}

std::optional<Verdict> Connections::begin(Transfer& transfer) {
  transfer.endpoint = &endpoint;
  transfer.endpoint_is_own = own_endpoint;
  transfer.endpoint_kind = &endpoint_kind;
  transfer.checks_address = !proxied;
  transfer.answer = {};
  transfer.header_bytes = 0;
  transfer.is_body_begun = false;
  transfer.error_page_bytes = 0;
  transfer.is_cut = false;
  transfer.refusal.reset();
  if (auto refusal = refuse_url(transfer)) return refusal;
  if (transfer.easy == nullptr) transfer.easy = curl_easy_init();
  CURL* easy = transfer.easy;
  if (easy == nullptr) return refused(ErrorCode::Internal, "libcurl has no memory");
  curl_easy_reset(easy);
  curl_slist_free_all(std::exchange(transfer.lines, nullptr));
  transfer.lines = curl_slist_append(transfer.lines, "Accept-Encoding: identity");
  if (!token.empty() && transfer.url.same_origin(endpoint)) {
    transfer.lines = curl_slist_append(transfer.lines, ("Authorization: Bearer " + token).c_str());
  }
  if (transfer.is_ranged) {
    const std::string range =
        std::to_string(transfer.offset) + "-" + std::to_string(transfer.end - 1);
    curl_easy_setopt(easy, CURLOPT_RANGE, range.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_URL, transfer.url.text.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.lines);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "textvec/" TEXTVEC_VERSION);
  curl_easy_setopt(easy, CURLOPT_NOBODY, transfer.is_head ? 1L : 0L);
  // Several connections are faster than several streams in one.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, kSilenceSeconds);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, kBytesPerSecondMin);
  if (transfer.file == nullptr) curl_easy_setopt(easy, CURLOPT_TIMEOUT, kSmallAnswerSeconds);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, kSilenceSeconds);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  use_certificates_of_environment(easy);
  if (curl_multi_add_handle(multi, easy) != CURLM_OK) {
    return refused(ErrorCode::Internal, "libcurl cannot start a transfer");
  }
  return std::nullopt;
}

// False when the caller wants to stop.
bool Connections::poll(milliseconds limit) {
  const std::stop_callback wake(stop, [this] { curl_multi_wakeup(multi); });
  if (stop.stop_requested()) return false;
  curl_multi_poll(multi, nullptr, 0,
                  static_cast<int>(std::clamp<std::int64_t>(limit.count(), 0, 1000)), nullptr);
  return !stop.stop_requested();
}

bool Connections::pause_until(Clock::time_point time) {
  for (auto now = Clock::now(); now < time; now = Clock::now()) {
    if (!poll(std::chrono::duration_cast<milliseconds>(time - now) + milliseconds(1))) return false;
  }
  return !stop.stop_requested();
}

// One transfer alone, to its end.
Verdict Connections::run(Transfer& transfer) {
  if (auto refusal = begin(transfer)) return std::move(*refusal);
  std::optional<Verdict> verdict;
  while (!verdict) {
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) verdict = judge(transfer, message->data.result);
    }
    if (!verdict && !poll(milliseconds(1000))) verdict = refused(ErrorCode::Cancelled, "stopped");
  }
  curl_multi_remove_handle(multi, transfer.easy);
  return std::move(*verdict);
}

Result<HttpAnswer> Connections::ask(const std::string& url, bool is_head,
                                    std::size_t body_bytes_max) {
  if (const auto valid = check_endpoint(); !valid) return valid.error();
  const auto parsed = parse_url(url, "");
  if (!parsed) {
    return Error{ErrorCode::InvalidArgument, "\"" + model::shortened(url) + "\" is no URL"};
  }
  Attempts attempts;
  Transfer transfer;
  transfer.url = *parsed;
  transfer.is_head = is_head;
  transfer.body_bytes_max = body_bytes_max;
  for (;;) {
    if (!pause_until(attempts.not_before)) return Error{ErrorCode::Cancelled, "stopped"};
    Verdict verdict = run(transfer);
    switch (verdict.what) {
      case Verdict::What::Done:
        transfer.answer.status = status_of(transfer);
        return std::move(transfer.answer);
      case Verdict::What::Redirect:
        if (is_head && !verdict.url.same_origin(transfer.url)) {
          transfer.answer.status = status_of(transfer);
          return std::move(transfer.answer);
        }
        transfer.url = std::move(verdict.url);
        ++transfer.redirects;
        break;
      case Verdict::What::Again:
      case Verdict::What::Restart:
        if (auto error = attempts.failed(verdict, "the hub", log)) return std::move(*error);
        transfer.url = *parsed;
        transfer.redirects = 0;
        break;
      case Verdict::What::Refused:
        return std::move(verdict.error);
    }
  }
}

// The transfers of one file.
class FileTransfer {
 public:
  FileTransfer(Connections& client, const Download& wanted, Url url, PartFile& file)
      : client_(client),
        wanted_(wanted),
        url_(std::move(url)),
        file_(file),
        attempts_(file.pieces()) {}
  ~FileTransfer() { drop_all(); }
  FileTransfer(const FileTransfer&) = delete;
  FileTransfer& operator=(const FileTransfer&) = delete;

  Result<void> run() {
    while (file_.bytes_done() < file_.bytes()) {
      if (auto begun = begin_what_may(); !begun) return begun;
      int running = 0;
      curl_multi_perform(client_.multi, &running);
      const auto ended = take_ended();
      if (!ended) return ended.error();
      for (const auto& transfer : running_) {
        if (transfer->is_body_begun) resolve(*transfer);
      }
      if (wanted_.progress) wanted_.progress(file_.bytes_done());
      // What ended makes room for another.
      if (!*ended && !client_.poll(until_next())) return Error{ErrorCode::Cancelled, "stopped"};
    }
    return {};
  }

 private:
  bool is_running(std::size_t piece) const {
    return std::any_of(running_.begin(), running_.end(),
                       [piece](const auto& transfer) { return transfer->piece == piece; });
  }

  // Until the first request says where the bytes are, the others would only ask the same.
  std::size_t transfers_max() const { return whole_ || !is_resolved_ ? 1 : kTransfersMax; }

  Result<void> begin_what_may() {
    const auto now = Clock::now();
    for (std::size_t piece = first_; piece < file_.pieces(); ++piece) {
      if (running_.size() >= transfers_max()) break;
      if (file_.piece_done(piece) == file_.piece_bytes(piece)) {
        if (piece == first_) ++first_;
        continue;
      }
      if (attempts_[piece].not_before > now || is_running(piece)) {
        if (whole_) break;
        continue;
      }
      if (auto begun = begin(piece); !begun) return begun;
    }
    return {};
  }

  Result<void> begin(std::size_t piece) {
    auto transfer = std::make_unique<Transfer>();
    transfer->url = is_resolved_ ? resolved_ : url_;
    transfer->file = &file_;
    transfer->piece = piece;
    transfer->resolutions = resolutions_;
    transfer->begin = transfer->offset = file_.piece_begin(piece) + file_.piece_done(piece);
    transfer->end = whole_ ? file_.bytes() : file_.piece_begin(piece) + file_.piece_bytes(piece);
    transfer->is_ranged = transfer->begin != 0 || transfer->end != file_.bytes();
    return start(std::move(transfer));
  }

  Result<void> start(std::unique_ptr<Transfer> transfer) {
    if (auto refusal = client_.begin(*transfer)) return std::move(refusal->error);
    running_.push_back(std::move(transfer));
    return {};
  }

  // Whether any did.
  Result<bool> take_ended() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(client_.multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      auto transfer = take(message->easy_handle);
      if (!transfer) continue;
      any = true;
      if (auto ended = end(std::move(transfer), code); !ended) return std::move(ended).error();
    }
    return any;
  }

  std::unique_ptr<Transfer> take(CURL* easy) {
    curl_multi_remove_handle(client_.multi, easy);
    const auto found = std::find_if(running_.begin(), running_.end(), [easy](const auto& transfer) {
      return transfer->easy == easy;
    });
    if (found == running_.end()) return nullptr;
    auto transfer = std::move(*found);
    running_.erase(found);
    return transfer;
  }

  Result<void> end(std::unique_ptr<Transfer> transfer, CURLcode code) {
    Verdict verdict = judge(*transfer, code);
    Attempts& attempts = attempts_[transfer->piece];
    if (transfer->offset - transfer->begin >= kProgressBytes) attempts.failures = 0;
    switch (verdict.what) {
      case Verdict::What::Done:
        return {};
      case Verdict::What::Redirect:
        transfer->url = std::move(verdict.url);
        ++transfer->redirects;
        return start(std::move(transfer));
      case Verdict::What::Restart:
        if (auto error = restarts_.failed(verdict, wanted_.name, client_.log)) {
          return std::move(*error);
        }
        return begin_anew();
      case Verdict::What::Again:
        // The hub says anew where the bytes are: its links hold for a while only.
        if (transfer->resolutions == resolutions_) forget_resolved();
        if (auto error = attempts.failed(verdict, wanted_.name, client_.log)) {
          return std::move(*error);
        }
        return {};
      case Verdict::What::Refused:
        break;
    }
    verdict.error.message = wanted_.name + ": " + verdict.error.message;
    return std::move(verdict.error);
  }

  // Only what the hub said since the last failure.
  void resolve(const Transfer& transfer) {
    if (is_resolved_ || transfer.resolutions != resolutions_) return;
    resolved_ = transfer.url;
    is_resolved_ = true;
  }

  void forget_resolved() {
    is_resolved_ = false;
    ++resolutions_;
  }

  // One transfer without a range, from the first byte on.
  Result<void> begin_anew() {
    drop_all();
    whole_ = true;
    first_ = 0;
    forget_resolved();
    attempts_.assign(file_.pieces(), {});
    attempts_.front().not_before = restarts_.not_before;
    return file_.restart();
  }

  void drop_all() {
    for (const auto& transfer : running_) curl_multi_remove_handle(client_.multi, transfer->easy);
    running_.clear();
  }

  milliseconds until_next() const {
    milliseconds wait{1000};
    const auto now = Clock::now();
    for (const Attempts& attempts : attempts_) {
      if (attempts.not_before <= now) continue;
      wait = std::min(wait, std::chrono::duration_cast<milliseconds>(attempts.not_before - now) +
                                milliseconds(1));
    }
    return wait;
  }

  Connections& client_;
  const Download& wanted_;
  const Url url_;
  PartFile& file_;
  std::vector<Attempts> attempts_;
  Attempts restarts_{};
  std::vector<std::unique_ptr<Transfer>> running_{};
  std::size_t first_ = 0;  // no piece before it is missing
  bool whole_ = false;
  bool is_resolved_ = false;
  std::uint64_t resolutions_ = 0;  // how often that was forgotten
  Url resolved_{};
};

}  // namespace

void use_certificates_of_environment(void* easy) {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* file = std::getenv(name);
    if (file == nullptr || *file == '\0') continue;
    curl_easy_setopt(easy, CURLOPT_CAINFO, file);
    return;
  }
}

void start_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string url_path(std::string_view path) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string encoded;
  for (const char character : path) {
    if (kPlain.find(character) != std::string_view::npos) {
      encoded += character;
      continue;
    }
    const auto byte = static_cast<unsigned char>(character);
    encoded += '%';
    encoded += kDigits[byte >> 4];
    encoded += kDigits[byte & 15];
  }
  return encoded;
}

struct HttpClient::Impl {
  Connections connections;
};

HttpClient::HttpClient(const Endpoint& endpoint, std::string token, std::stop_token stop,
                       std::function<void(std::string_view)> log)
    : impl_(new Impl{Connections(endpoint, std::move(token), std::move(stop), std::move(log))}) {}
HttpClient::~HttpClient() = default;

Result<HttpAnswer> HttpClient::get(const std::string& url, std::size_t body_bytes_max) {
  return impl_->connections.ask(url, false, body_bytes_max);
}

Result<HttpAnswer> HttpClient::head(const std::string& url) {
  return impl_->connections.ask(url, true, 0);
}

Result<void> HttpClient::download(const Download& wanted) {
  Connections& connections = impl_->connections;
  if (auto valid = connections.check_endpoint(); !valid) return valid;
  auto url = parse_url(wanted.url, "");
  if (!url) {
    return Error{ErrorCode::InvalidArgument, "\"" + model::shortened(wanted.url) + "\" is no URL"};
  }
  for (int round = 1;; ++round) {
    auto file = PartFile::open(wanted.part, wanted.bytes, wanted.hash);
    if (!file) return std::move(file).error();
    if (auto done = FileTransfer(connections, wanted, *url, **file).run(); !done) return done;
    const auto right = (*file)->is_right(connections.stop);
    if (!right) return right.error();
    if (*right) return (*file)->move_to(wanted.place);
    file->reset();
    std::error_code error;
    std::filesystem::remove(wanted.part, error);
    const std::string wrong = wanted.name + ": the bytes that came have another hash than " +
                              wanted.hash + ", which the hub lists";
    if (round == 2) return Error{ErrorCode::BadModel, wrong + ", twice"};
    if (connections.log) connections.log(wrong + "; downloading them again");
  }
}

}  // namespace textvec::hub
