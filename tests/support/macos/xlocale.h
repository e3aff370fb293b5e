// In: nothing. Out: of macOS's header what glibc declares elsewhere, so that files for macOS which
// need no more than that are tested on Linux too.
#pragma once

#include <locale.h>
