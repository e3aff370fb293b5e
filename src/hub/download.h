// In: URLs of a hub. Out: small answers, and files on the disk. https only, with these exceptions:
// http to the hub itself when its own URL says http, and to this machine when the hub is on it. The
// token goes to the hub alone. An address that is not public is refused unless it is the hub's, or
// of the same kind as the hub's: what a hub says must not reach into the network it is read from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "hub/environment.h"
#include "textvec/result.h"

namespace textvec::hub {

struct HttpAnswer {
  long status = 0;
  std::map<std::string, std::string, std::less<>> headers{};  // names in lower case
  std::string body{};
};

struct Download {
  std::string url{};
  std::string name{};             // for messages
  std::filesystem::path part{};   // where the bytes gather; what is there is gone on with
  std::filesystem::path place{};  // where the file goes when it is whole and right
  std::uint64_t bytes = 0;
  std::string hash{};  // 64 digits: SHA-256 of the bytes; 40: git's SHA-1 of a blob
  // Called now and then with the bytes that are there.
  std::function<void(std::uint64_t)> progress{};
};

// Before any other use of libcurl in the process, as often as one likes: libcurl's own counter of
// users is not made for threads.
void start_curl();
// Gives a CURL* the certificates that CURL_CA_BUNDLE or SSL_CERT_FILE names, as curl's own command
// line does.
void use_certificates_of_environment(void* easy);

// Percent-encodes what no URL may hold; slashes stay.
std::string url_path(std::string_view path);

// Keeps connections open between calls. Not for several threads at once. What fails for a while
// (429, 5xx, a broken connection, a short body) is asked again up to 5 times, with growing pauses,
// or those that the server wishes.
class HttpClient {
 public:
  // `stop` ends every call with Cancelled. `log` gets a line for each new attempt.
  HttpClient(const Endpoint& endpoint, std::string token, std::stop_token stop,
             std::function<void(std::string_view)> log);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Follows redirects. Of a body at most `body_bytes_max`: more is an error. Errors: NotFound
  // (404, and 401 or 403: private, gated), Overloaded (no good answer, again and again), BadModel
  // (an answer that breaks a rule), InvalidArgument (the hub's URL), Cancelled, Internal.
  Result<HttpAnswer> get(const std::string& url, std::size_t body_bytes_max);
  // Headers only; of a redirect to another host those of the redirect, as hubs mean it.
  Result<HttpAnswer> head(const std::string& url);
  // Errors: as of get(); BadModel: twice other bytes than the hash stands for.
  Result<void> download(const Download& download);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace textvec::hub
