// In: nothing. Out: the path of this program, which tries providers in processes of its own.
#pragma once

#include <string>

namespace textvec::cli {

// Absolute; empty when the system does not say.
std::string own_program();

}  // namespace textvec::cli
