# Finds ONNX Runtime: target OnnxRuntime::OnnxRuntime, OnnxRuntime_VERSION.
# Looked for, in order: onnxruntime's own CMake package, pkg-config, ONNXRUNTIME_ROOT (a CMake or
# environment variable: a folder with include/ and lib/).
include(FindPackageHandleStandardArgs)

if(NOT ONNXRUNTIME_ROOT AND DEFINED ENV{ONNXRUNTIME_ROOT})
  set(ONNXRUNTIME_ROOT $ENV{ONNXRUNTIME_ROOT})
endif()

if(NOT ONNXRUNTIME_ROOT)
  find_package(onnxruntime CONFIG QUIET)
  if(TARGET onnxruntime::onnxruntime)
    if(NOT TARGET OnnxRuntime::OnnxRuntime)
      add_library(OnnxRuntime::OnnxRuntime INTERFACE IMPORTED)
      target_link_libraries(OnnxRuntime::OnnxRuntime INTERFACE onnxruntime::onnxruntime)
    endif()
    set(OnnxRuntime_VERSION ${onnxruntime_VERSION})
    find_package_handle_standard_args(OnnxRuntime REQUIRED_VARS OnnxRuntime_VERSION
      VERSION_VAR OnnxRuntime_VERSION)
    return()
  endif()
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(PC_ONNXRUNTIME QUIET libonnxruntime)
  endif()
endif()

find_path(OnnxRuntime_INCLUDE_DIR onnxruntime_cxx_api.h
  HINTS ${ONNXRUNTIME_ROOT}/include ${PC_ONNXRUNTIME_INCLUDE_DIRS}
  PATH_SUFFIXES onnxruntime onnxruntime/core/session)
find_library(OnnxRuntime_LIBRARY onnxruntime
  HINTS ${ONNXRUNTIME_ROOT}/lib ${PC_ONNXRUNTIME_LIBRARY_DIRS})
mark_as_advanced(OnnxRuntime_INCLUDE_DIR OnnxRuntime_LIBRARY)

# The library's file name carries the version: libonnxruntime.so.1.32.0, libonnxruntime.1.32.0.dylib.
if(OnnxRuntime_LIBRARY)
  file(REAL_PATH ${OnnxRuntime_LIBRARY} onnxruntime_real)
  if(onnxruntime_real MATCHES "([0-9]+\\.[0-9]+\\.[0-9]+)")
    set(OnnxRuntime_VERSION ${CMAKE_MATCH_1})
  elseif(PC_ONNXRUNTIME_VERSION)
    set(OnnxRuntime_VERSION ${PC_ONNXRUNTIME_VERSION})
  endif()
endif()

find_package_handle_standard_args(OnnxRuntime
  REQUIRED_VARS OnnxRuntime_LIBRARY OnnxRuntime_INCLUDE_DIR
  VERSION_VAR OnnxRuntime_VERSION
  REASON_FAILURE_MESSAGE
  "run scripts/setup and pass -DONNXRUNTIME_ROOT=<what it printed>, or install ONNX Runtime 1.28 or newer")

if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::OnnxRuntime)
  add_library(OnnxRuntime::OnnxRuntime SHARED IMPORTED)
  set_target_properties(OnnxRuntime::OnnxRuntime PROPERTIES
    IMPORTED_LOCATION ${OnnxRuntime_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${OnnxRuntime_INCLUDE_DIR})
endif()
