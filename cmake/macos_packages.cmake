# In: Debian's headers, after project() with cmake/macos.cmake. Out: build/macos/packages, links to those
# of the packages that textvec uses. /usr/include itself is left out, as if the compiler looked there
# anyway, because glibc's headers are in it too.
set(textvec_debian /usr/include /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
list(APPEND CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES ${textvec_debian})
foreach(name boost CLI curl fmt google hwy onnx openssl prometheus spdlog)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/packages/${name})
  foreach(folder ${textvec_debian})
    file(GLOB parts RELATIVE ${folder}/${name} ${folder}/${name}/*)
    foreach(part ${parts})
      file(CREATE_LINK ${folder}/${name}/${part} ${PROJECT_BINARY_DIR}/packages/${name}/${part} SYMBOLIC)
    endforeach()
  endforeach()
endforeach()
