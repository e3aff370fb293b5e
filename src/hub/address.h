// In: an IP address. Out: whose it may be. A hub must not send its readers to what only they reach.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

struct sockaddr;

namespace textvec::hub {

// Special: link-local (cloud metadata), multicast, unspecified, reserved.
enum class AddressKind : std::uint8_t { Public, Loopback, Private, Special };

// IPv4 and IPv6, IPv4 inside of IPv6 too; anything else is Special.
AddressKind address_kind(const sockaddr& address);

// Of a URL's host that is an address as it stands ("10.0.0.1", "[::1]") or "localhost"; Public when
// it is a name.
AddressKind host_kind(std::string_view host);

}  // namespace textvec::hub
