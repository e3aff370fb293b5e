# In: the targets. Out: `cmake --install`: the library, its headers, and what find_package(textvec)
# and pkg-config need.
option(TEXTVEC_INSTALL "Make install rules" ${PROJECT_IS_TOP_LEVEL})
if(NOT TEXTVEC_INSTALL)
  return()
endif()

set(textvec_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/textvec)

# By name, so that a private header never slips in; tests/install compares with include/textvec.
install(FILES
  include/textvec/embeddings.h
  include/textvec/engine.h
  include/textvec/export.h
  include/textvec/hub.h
  include/textvec/options.h
  include/textvec/result.h
  ${PROJECT_BINARY_DIR}/include/textvec/version.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/textvec)

# ONNX Runtime seldom lies where the loader looks, so installed files remember where it was found.
foreach(target textvec textvec_cli)
  if(TARGET ${target})
    set_target_properties(${target} PROPERTIES
      INSTALL_RPATH $<IF:$<BOOL:${APPLE}>,@loader_path,$ORIGIN>/../${CMAKE_INSTALL_LIBDIR}
      INSTALL_RPATH_USE_LINK_PATH ON)
  endif()
endforeach()

install(TARGETS textvec EXPORT textvecTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT textvecTargets NAMESPACE textvec:: DESTINATION ${textvec_package_folder})
if(NOT BUILD_SHARED_LIBS)
  install(FILES $<TARGET_PROPERTY:textvec_tokenizers_ffi,IMPORTED_LOCATION>
    DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# Where ONNX Runtime was found: its folder, for find_package, and its flags, for pkg-config.
set(textvec_onnxruntime_root "")
set(textvec_onnxruntime_flags -lonnxruntime)
if(OnnxRuntime_LIBRARY)
  get_filename_component(textvec_onnxruntime_libraries ${OnnxRuntime_LIBRARY} DIRECTORY)
  if(NOT textvec_onnxruntime_libraries IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    get_filename_component(textvec_onnxruntime_root ${textvec_onnxruntime_libraries} DIRECTORY)
    set(textvec_onnxruntime_flags "-L${textvec_onnxruntime_libraries} \
-Wl,-rpath,${textvec_onnxruntime_libraries} -lonnxruntime")
  endif()
endif()

set(textvec_pc_definitions "")
if(APPLE)
  set(textvec_pc_definitions -D_LIBCPP_ENABLE_EXPERIMENTAL)  # as src/CMakeLists.txt says why
endif()
set(textvec_pc_requires "")
set(textvec_pc_libs "")
if(NOT BUILD_SHARED_LIBS)
  set(textvec_pc_requires "protobuf, libcrypto, libcurl, libhwy")
  set(textvec_pc_libs
    "-ltextvec_tokenizers -lonnx_proto ${textvec_onnxruntime_flags} -pthread -ldl -lm")
endif()
# The prefix as seen from the .pc file's own folder, so that an installed tree may be moved.
file(RELATIVE_PATH textvec_pc_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" textvec_pc_prefix "${textvec_pc_prefix}")
configure_file(cmake/textvec.pc.in ${PROJECT_BINARY_DIR}/textvec.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/textvec.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/textvecConfig.cmake.in
  ${PROJECT_BINARY_DIR}/textvecConfig.cmake INSTALL_DESTINATION ${textvec_package_folder}
  PATH_VARS CMAKE_INSTALL_LIBDIR)
# Before 1.0 a new minor version may break users.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/textvecConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/textvecConfig.cmake
  ${PROJECT_BINARY_DIR}/textvecConfigVersion.cmake
  DESTINATION ${textvec_package_folder})
if(NOT BUILD_SHARED_LIBS)
  install(FILES cmake/FindOnnxRuntime.cmake DESTINATION ${textvec_package_folder})
endif()
