#!/usr/bin/env bash
# In: a built release tree. Out: exit code 0 when textvec, installed, serves every kind of consumer.
#
# usage: run.sh static|shared|subdirectory SOURCE BUILD SCRATCH ONNXRUNTIME_ROOT COMPILER
#   static: installs BUILD. shared: builds SOURCE as a shared library and installs that.
#   Both: a find_package and a pkg-config consumer. subdirectory: a consumer that builds SOURCE.
set -euo pipefail
kind=$1 source=$2 build=$3 scratch=$4 onnxruntime_root=$5 compiler=$6
here=$source/tests/install
jobs=${TEXTVEC_JOBS:-$(getconf _NPROCESSORS_ONLN)}
mkdir -p "$scratch"
tree=$scratch-build

say() { printf -- '--- %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# With the options of the presets and, for trees of our own, as deep below the checkout, so that ccache
# knows most files from the release tree.
configure() {  # SOURCE BUILD ARGUMENT...
  cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
    -DTEXTVEC_WARNINGS_AS_ERRORS=ON "${@:3}" >"$2.log" 2>&1 || { cat "$2.log"; fail "cmake could not configure $2"; }
}
make_it() {  # BUILD ARGUMENT...
  cmake --build "$1" --parallel "$jobs" "${@:2}" >"$1.log" 2>&1 || { cat "$1.log"; fail "$1 does not build"; }
}

# Installs a tree, then moves it: an installed textvec must not know its own place.
install_and_move() {  # BUILD
  rm -rf "$scratch/made" "$scratch/prefix"
  cmake --install "$1" --prefix "$scratch/made" >"$scratch/install.log"
  mv "$scratch/made" "$scratch/prefix"
  prefix=$scratch/prefix
  local pc
  pc=$(find "$prefix" -name textvec.pc)
  libraries=$(dirname "$(dirname "$pc")")
}

check_headers() {
  say "installed headers"
  (cd "$source/include/textvec" && ls -- *.h && echo version.h) | LC_ALL=C sort >"$scratch/headers.expected"
  (cd "$prefix/include" && find . -type f | sed 's,^\./textvec/,,') | LC_ALL=C sort >"$scratch/headers.found"
  diff "$scratch/headers.expected" "$scratch/headers.found" ||
    fail "cmake/install.cmake installs other headers than include/textvec holds"
}

check_find_package() {
  say "find_package consumer"
  rm -rf "$scratch/find_package"
  configure "$here/consumer" "$scratch/find_package" "-DCMAKE_PREFIX_PATH=$prefix"
  make_it "$scratch/find_package"
  "$scratch/find_package/consumer"
}

check_pkg_config() {
  say "pkg-config consumer"
  export PKG_CONFIG_PATH=$libraries/pkgconfig
  pkg-config --exact-version=0.1.0 textvec || fail "textvec.pc has another version than 0.1.0"
  # shellcheck disable=SC2046 # pkg-config prints words
  "$compiler" -std=c++20 "$here/consumer/main.cpp" -o "$scratch/pkg_config_consumer" \
    $(pkg-config --cflags --libs textvec) "-Wl,-rpath,$libraries"
  "$scratch/pkg_config_consumer"
}

check_examples() {
  say "examples"
  rm -rf "$scratch/examples"
  configure "$source/examples" "$scratch/examples" "-DCMAKE_PREFIX_PATH=$prefix"
  make_it "$scratch/examples"
  local found
  found=$(printf '%s\n' "The bank raised its rates." "Bread rises in a warm oven." "A cat sleeps on the sofa." |
    "$scratch/examples/nearest" "Where does the kitten nap?" | head -n 1)
  case $found in
    *"A cat sleeps on the sofa.") ;;
    *) fail "examples/nearest put first: $found" ;;
  esac
}

# A shared library's names are a promise, so it shows none but textvec's own.
check_exports() {
  say "exported names"
  nm -D --defined-only --extern-only --demangle "$libraries/libtextvec.so" | cut -d ' ' -f 3- >"$scratch/exports"
  grep -q '^textvec::Engine::load' "$scratch/exports" || fail "libtextvec.so does not export Engine::load"
  if grep -Ev '^((typeinfo|typeinfo name|vtable) for )?textvec::[A-Za-z]' "$scratch/exports"; then
    fail "libtextvec.so exports the names above"
  fi
  # Inner namespaces are hidden: what a file of src/ offers its neighbours is nobody else's.
  if grep -E '^textvec::(hub|model|tokens|batch|graph|runtime|vectors)::' "$scratch/exports"; then
    fail "libtextvec.so exports the inner names above"
  fi
}

case $kind in
  static)
    install_and_move "$build"
    check_headers
    check_find_package
    check_pkg_config
    check_examples
    say "installed command line"
    "$prefix/bin/textvec" embed hello | grep -q '"embedding":' || fail "bin/textvec does not embed"
    ;;
  shared)
    configure "$source" "$tree" -DBUILD_SHARED_LIBS=ON -DTEXTVEC_BUILD_CLI=OFF \
      -DTEXTVEC_BUILD_TESTS=OFF "-DONNXRUNTIME_ROOT=$onnxruntime_root"
    make_it "$tree" --target all
    install_and_move "$tree"
    check_headers
    check_exports
    check_find_package
    check_pkg_config
    ;;
  subdirectory)
    say "add_subdirectory consumer"
    configure "$here/consumer" "$tree" "-DTEXTVEC_SOURCE=$source" "-DONNXRUNTIME_ROOT=$onnxruntime_root"
    make_it "$tree" --target consumer
    "$tree/consumer"
    # A parent project wants neither our tests nor our install rules among its own.
    cmake --install "$tree" --prefix "$scratch/prefix" >"$scratch/install.log"
    [ ! -e "$scratch/prefix" ] || fail "a parent's install would install textvec's files too"
    ;;
  *) fail "does not know $kind" ;;
esac
say "$kind: done"
