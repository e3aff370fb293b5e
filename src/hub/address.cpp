// In: an IP address. Out: whose it may be. See address.h.
#include "hub/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace textvec::hub {
namespace {

struct Range {
  std::uint32_t network;
  int bits;
  AddressKind kind;
};

// IANA's special-purpose registry, as far as it is not globally reachable.
constexpr std::array<Range, 15> kRanges{{
    {0x00000000, 8, AddressKind::Special},   // this network
    {0x0A000000, 8, AddressKind::Private},   // 10.0.0.0
    {0x64400000, 10, AddressKind::Private},  // 100.64.0.0, between a provider and its customers
    {0x7F000000, 8, AddressKind::Loopback},  // 127.0.0.0
    {0xA9FE0000, 16, AddressKind::Special},  // 169.254.0.0
    {0xAC100000, 12, AddressKind::Private},  // 172.16.0.0
    {0xC0000000, 24, AddressKind::Special},  // 192.0.0.0
    {0xC0000200, 24, AddressKind::Special},  // documentation
    {0xC0586300, 24, AddressKind::Special},  // 192.88.99.0
    {0xC0A80000, 16, AddressKind::Private},  // 192.168.0.0
    {0xC6120000, 15, AddressKind::Special},  // 198.18.0.0, benchmarks
    {0xC6336400, 24, AddressKind::Special},  // documentation
    {0xCB007100, 24, AddressKind::Special},  // documentation
    {0xE0000000, 4, AddressKind::Special},   // multicast
    {0xF0000000, 4, AddressKind::Special},   // reserved, broadcast
}};

AddressKind kind4(std::uint32_t address) {
  for (const Range& range : kRanges) {
    if ((address ^ range.network) >> (32 - range.bits) == 0) return range.kind;
  }
  return AddressKind::Public;
}

std::uint32_t word(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

AddressKind kind6(const in6_addr& address) {
  const std::uint8_t* bytes = address.s6_addr;
  constexpr std::array<std::uint8_t, 12> kZeros{};
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  constexpr std::array<std::uint8_t, 12> kTranslated{0, 0x64, 0xFF, 0x9B};
  if (std::memcmp(bytes, kMapped.data(), 12) == 0) return kind4(word(bytes + 12));
  if (std::memcmp(bytes, kTranslated.data(), 12) == 0) return kind4(word(bytes + 12));
  if (std::memcmp(bytes, kZeros.data(), 12) == 0) {
    return word(bytes + 12) == 1 ? AddressKind::Loopback : AddressKind::Special;
  }
  if ((bytes[0] & 0xFE) == 0xFC) return AddressKind::Private;
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return kind4(word(bytes + 2));  // 6to4
  // Global unicast is 2000::/3, without the documentation's part of it.
  if (bytes[0] >> 5 != 1 || word(bytes) == 0x20010DB8) return AddressKind::Special;
  return AddressKind::Public;
}

}  // namespace

AddressKind address_kind(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    return kind4(ntohl(in.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    return kind6(in.sin6_addr);
  }
  return AddressKind::Special;
}

AddressKind host_kind(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::string text(host);
  while (text.ends_with('.')) text.pop_back();
  if (text == "localhost" || text.ends_with(".localhost")) return AddressKind::Loopback;
  in_addr in4{};
  if (::inet_pton(AF_INET, text.c_str(), &in4) == 1) return kind4(ntohl(in4.s_addr));
  in6_addr in6{};
  text = text.substr(0, text.find('%'));
  if (::inet_pton(AF_INET6, text.c_str(), &in6) == 1) return kind6(in6);
  return AddressKind::Public;
}

}  // namespace textvec::hub
