// Whose address it is, of each range of IANA's registries at its first and last address and beside.
#include "hub/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace textvec::hub {
namespace {

AddressKind kind_of(const std::string& text) {
  sockaddr_storage storage{};
  sockaddr_in in4{};
  sockaddr_in6 in6{};
  if (::inet_pton(AF_INET, text.c_str(), &in4.sin_addr) == 1) {
    in4.sin_family = AF_INET;
    std::memcpy(&storage, &in4, sizeof in4);
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &in6.sin6_addr), 1) << text;
    in6.sin6_family = AF_INET6;
    std::memcpy(&storage, &in6, sizeof in6);
  }
  return address_kind(reinterpret_cast<const sockaddr&>(storage));
}

TEST(Address, KnowsEachRangeAtItsEnds) {
  const std::vector<std::pair<AddressKind, std::vector<const char*>>> kinds = {
      {AddressKind::Public,
       {"1.0.0.0",        "8.8.8.8",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",    "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",
        "172.15.255.255", "172.32.0.0",      "192.167.255.255", "192.169.0.0",     "198.17.255.255",
        "198.20.0.0",     "223.255.255.255", "2000::",          "2606:4700::1111", "3fff:ffff::",
        "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"}},
      {AddressKind::Loopback,
       {"127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1", "2002:7f00:1::"}},
      {AddressKind::Private,
       {"10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "172.16.0.0",
        "172.31.255.255", "192.168.0.0", "192.168.255.255", "fc00::1", "fdff::1", "::ffff:10.0.0.1",
        "2002:a00:1::"}},
      {AddressKind::Special,
       {"0.0.0.0",
        "0.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::2",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "2001:db8::1",
        "1fff::",
        "4000::",
        "::ffff:169.254.169.254"}}};
  for (const auto& [kind, addresses] : kinds) {
    for (const char* address : addresses) {
      EXPECT_EQ(kind_of(address), kind) << address;
      EXPECT_EQ(host_kind(address), kind) << address;
    }
  }
}

TEST(Address, KnowsHostsThatAreAddresses) {
  EXPECT_EQ(host_kind("[::1]"), AddressKind::Loopback);
  EXPECT_EQ(host_kind("[fe80::1%25eth0]"), AddressKind::Special);
  EXPECT_EQ(host_kind("localhost"), AddressKind::Loopback);
  EXPECT_EQ(host_kind("localhost."), AddressKind::Loopback);
  EXPECT_EQ(host_kind("a.localhost"), AddressKind::Loopback);
  EXPECT_EQ(host_kind("10.0.0.1."), AddressKind::Private);
  EXPECT_EQ(host_kind("example.com"), AddressKind::Public);
  EXPECT_EQ(host_kind("10.0.0.1.example.com"), AddressKind::Public);
}

TEST(Address, TakesOtherFamiliesForSpecial) {
  sockaddr address{};
  address.sa_family = AF_UNIX;
  EXPECT_EQ(address_kind(address), AddressKind::Special);
}

}  // namespace
}  // namespace textvec::hub
