// TEXTVEC_EXPORT marks what the shared library shows; everything else is hidden.
#pragma once

#if defined(TEXTVEC_STATIC) || !defined(__GNUC__)
#define TEXTVEC_EXPORT
#else
#define TEXTVEC_EXPORT __attribute__((visibility("default")))
#endif
