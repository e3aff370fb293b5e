# Builds src/tokens/ffi with cargo: target textvec_tokenizers_ffi, a static library with a C header.
# Every build tree shares build/cargo, because the crate is the same in all of them; cargo's own
# lock keeps builds that run at the same time apart.
find_program(TEXTVEC_CARGO NAMES cargo REQUIRED)
set(TEXTVEC_CARGO_TARGET_DIR ${PROJECT_SOURCE_DIR}/build/cargo CACHE PATH
  "Where cargo builds the tokenizers library")
set(textvec_ffi_source ${PROJECT_SOURCE_DIR}/src/tokens/ffi)
set(textvec_ffi_library ${TEXTVEC_CARGO_TARGET_DIR}/release/libtextvec_tokenizers.a)

# Said here, because cargo's own message is a page about some dependency.
execute_process(COMMAND ${TEXTVEC_CARGO} --version
  OUTPUT_VARIABLE textvec_cargo_version ERROR_VARIABLE textvec_cargo_error)
if(NOT textvec_cargo_version MATCHES "^cargo ([0-9]+\\.[0-9]+\\.[0-9]+)")
  message(FATAL_ERROR "${TEXTVEC_CARGO} --version says '${textvec_cargo_version}': "
    "${textvec_cargo_error}")
endif()
if(CMAKE_MATCH_1 VERSION_LESS 1.85)
  message(FATAL_ERROR "${TEXTVEC_CARGO} is version ${CMAKE_MATCH_1}; the tokenizers library needs "
    "1.85 or newer (Debian 12: cargo-web; or set TEXTVEC_CARGO)")
endif()

add_custom_command(
  OUTPUT ${textvec_ffi_library}
  COMMAND ${TEXTVEC_CARGO} build --release --locked --manifest-path ${textvec_ffi_source}/Cargo.toml
          --target-dir ${TEXTVEC_CARGO_TARGET_DIR}
  # Cargo leaves an up-to-date file alone, and then it would stay older than what it depends on.
  COMMAND ${CMAKE_COMMAND} -E touch ${textvec_ffi_library}
  DEPENDS ${textvec_ffi_source}/src/lib.rs ${textvec_ffi_source}/Cargo.toml
          ${textvec_ffi_source}/Cargo.lock
  COMMENT "Building the tokenizers library with cargo"
  USES_TERMINAL VERBATIM)
add_custom_target(textvec_tokenizers_build DEPENDS ${textvec_ffi_library})

# What Rust's standard library asks for (rustc --print native-static-libs); on macOS all of it is in
# libSystem, which every program links, and since glibc 2.34 some of it is in libc.
set(textvec_ffi_system_libraries Threads::Threads ${CMAKE_DL_LIBS} m)
if(CMAKE_SYSTEM_NAME STREQUAL Linux)
  list(APPEND textvec_ffi_system_libraries rt util gcc_s)
endif()

add_library(textvec_tokenizers_ffi STATIC IMPORTED GLOBAL)
set_target_properties(textvec_tokenizers_ffi PROPERTIES
  IMPORTED_LOCATION ${textvec_ffi_library}
  INTERFACE_INCLUDE_DIRECTORIES ${textvec_ffi_source}
  INTERFACE_LINK_LIBRARIES "${textvec_ffi_system_libraries}")
add_dependencies(textvec_tokenizers_ffi textvec_tokenizers_build)
