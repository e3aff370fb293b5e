# In: TEXTVEC_ZIG, the folder of PyPI's ziglang 0.14. Out: a toolchain that compiles on Debian for macOS
# on Apple silicon and links nothing, so that `scripts/test --only macos` sees what a Mac's compiler
# would. On a Mac nobody needs it.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TEXTVEC_ZIG)

# The clang inside zig, without what `zig c++` does before and after it, which takes as long again: so
# here is what `zig c++ -target aarch64-macos.14.0` passes to it. Its libc++ is of LLVM 19, as Xcode
# 16.4's is.
get_filename_component(textvec_macos ${CMAKE_CURRENT_LIST_DIR}/../build/macos ABSOLUTE)
set(textvec_zig_clang ${textvec_macos}/clang++)
file(CONFIGURE OUTPUT ${textvec_zig_clang} CONTENT "#!/bin/sh\nexec \"@TEXTVEC_ZIG@/zig\" clang \"$@\"\n" @ONLY)
file(CHMOD ${textvec_zig_clang} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
set(CMAKE_CXX_COMPILER ${textvec_zig_clang})
string(CONCAT CMAKE_CXX_FLAGS_INIT "--target=arm64-apple-macosx14.0 -nostdinc -nostdinc++ "
  "-isystem ${TEXTVEC_ZIG}/lib/libcxx/include -isystem ${TEXTVEC_ZIG}/lib/libcxxabi/include "
  "-isystem ${TEXTVEC_ZIG}/lib/include -isystem ${TEXTVEC_ZIG}/lib/libc/include/any-macos-any "
  "-D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS -D_LIBCPP_HAS_NO_VENDOR_AVAILABILITY_ANNOTATIONS "
  "-D_LIBCPP_PSTL_BACKEND_SERIAL -D_LIBCPP_ABI_VERSION=1 -D_LIBCPP_ABI_NAMESPACE=__1 "
  "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE")

# Libraries are this machine's, because CMake only asks whether they are there; of headers see
# macos_packages.cmake.
set(CMAKE_LIBRARY_ARCHITECTURE ${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu)
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES ${textvec_macos}/packages)
