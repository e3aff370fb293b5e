// In: a certificate and its key. Out: what a handshake needs. See tls.h.
#include "server/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

namespace textvec::server {
namespace {

// ALPN's only choice, after its length; OpenSSL keeps pointing into it.
constexpr std::array<unsigned char, 9> kHttp{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
// TLS 1.2's; 1.3 has good ones only.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

template <class Type, void (*kFree)(Type*)>
struct Free {
  void operator()(Type* object) const { kFree(object); }
};
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using Memory = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;

Error bad_file(const std::string& file, const std::string& what) {
  ERR_clear_error();
  return {ErrorCode::InvalidArgument, file + " " + what};
}

Result<std::string> read_file(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return bad_file(file, "cannot be opened");
  std::string text(Tls::kFileBytesMax + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > Tls::kFileBytesMax) {
    return bad_file(file, "has more than " + std::to_string(Tls::kFileBytesMax) + " bytes");
  }
  return text;
}

Memory memory_of(const std::string& text) {
  return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A server has nobody to ask.
int no_passphrase(char*, int, int, void*) { return -1; }

Result<void> use_certificates(ssl_ctx_st* context, const std::string& file) {
  const auto text = read_file(file);
  if (!text) return text.error();
  const Memory memory = memory_of(*text);
  std::size_t count = 0;
  while (
      Certificate certificate{PEM_read_bio_X509(memory.get(), nullptr, no_passphrase, nullptr)}) {
    if (count++ == Tls::kCertificatesMax) {
      return bad_file(file,
                      "has more than " + std::to_string(Tls::kCertificatesMax) + " certificates");
    }
    const bool used = count == 1 ? SSL_CTX_use_certificate(context, certificate.get()) == 1
                                 : SSL_CTX_add1_chain_cert(context, certificate.get()) == 1;
    if (!used) return bad_file(file, "has a certificate that OpenSSL does not take");
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (count == 0 || !at_end) return bad_file(file, "is no certificate in PEM, or a damaged one");
  return {};
}

Result<void> use_key(ssl_ctx_st* context, const std::string& file) {
  auto text = read_file(file);
  if (!text) return text.error();
  const Memory memory = memory_of(*text);
  const Key key(PEM_read_bio_PrivateKey(memory.get(), nullptr, no_passphrase, nullptr));
  OPENSSL_cleanse(text->data(), text->size());
  if (key == nullptr) {
    return bad_file(file, "is no private key in PEM, or has a passphrase, which nobody can enter");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return bad_file(file, "is not the key of the certificate");
  }
  return {};
}

// Of a client's list, each name after its length.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_bytes,
                    const unsigned char* offered, unsigned int bytes, void*) {
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, chosen_bytes, kHttp.data(), kHttp.size(), offered, bytes) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

bool configure(ssl_ctx_st* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(context, kCiphers) == 1;
}

}  // namespace

Result<Tls> Tls::read(const std::string& certificate_file, const std::string& key_file) {
  ERR_clear_error();
  const std::shared_ptr<ssl_ctx_st> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr || !configure(context.get())) {
    ERR_clear_error();
    return Error{ErrorCode::Internal, "OpenSSL gives no TLS 1.2"};
  }
  if (auto used = use_certificates(context.get(), certificate_file); !used) return used.error();
  if (auto used = use_key(context.get(), key_file); !used) return used.error();
  Tls tls(context);
  const X509* certificate = SSL_CTX_get0_certificate(context.get());
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
    tls.warnings_.push_back(certificate_file + ": the certificate has expired");
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) {
    tls.warnings_.push_back(certificate_file + ": the certificate is not valid yet");
  }
  struct stat about{};
  if (stat(key_file.c_str(), &about) == 0 && (about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    tls.warnings_.push_back(key_file + ": others than its owner may read or write the key");
  }
  return tls;
}

ssl_st* Tls::new_connection() const { return SSL_new(context_.get()); }

void set_client_ended(ssl_st* connection, bool ended) noexcept {
  SSL_set_shutdown(connection, ended ? SSL_RECEIVED_SHUTDOWN : SSL_SENT_SHUTDOWN);
}

bool is_plain_http(unsigned long error) noexcept {
  return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST;
}

}  // namespace textvec::server
