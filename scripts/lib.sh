# shellcheck shell=bash
# Shared by the scripts beside this file: paths, messages, packages, pinned downloads.
# Sourced by bash 3.2 or newer, because that is what macOS has.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TEXTVEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/textvec}
pins=$root/scripts/pins
command_name=scripts/$(basename "$0")

say() { printf '%s\n' "$*"; }
step() { printf '%s: %s\n' "$command_name" "$*"; }
fail() {
  printf '%s: %s\n' "$command_name" "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_macos() { [ "$(uname -s)" = Darwin ]; }

# One folder for everything unfinished, gone when the script ends. Inside the cache, so that a
# rename out of it is atomic.
work_folder=
make_work_folder() {
  [ -z "$work_folder" ] || return 0
  mkdir -p "$cache" || fail "cannot make the cache folder $cache; set TEXTVEC_CACHE to another"
  work_folder=$(mktemp -d "$cache/unfinished.XXXXXX")
  trap 'rm -rf "$work_folder"' EXIT
}

# limited SECONDS COMMAND...: macOS has no timeout command; there the clients' own limits hold.
limited() {
  local seconds=$1
  shift
  if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# quietly MESSAGE COMMAND...: shows the end of what the command printed only when it fails.
quietly() {
  local message=$1
  shift
  make_work_folder
  if ! "$@" >"$work_folder/log" 2>&1; then
    tail -n 15 "$work_folder/log" >&2
    fail "$message"
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    have sudo || fail "needs root or sudo to run: $*"
    sudo "$@"
  fi
}

sha256_of() {
  if have sha256sum; then sha256sum "$1" | cut -d ' ' -f 1; else shasum -a 256 "$1" | cut -d ' ' -f 1; fi
}

# install_debian PACKAGE...: installs what is missing; asks Debian nothing when nothing is.
install_debian() {
  local missing='' package
  local installed
  # dpkg-query exits 1 when it has never heard of one of them; the list is still right.
  installed=" $({ dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null || true; } |
    sed -n 's/^ii *//p' | tr '\n' ' ') "
  for package in "$@"; do
    case $installed in *" $package "*) ;; *) missing="$missing $package" ;; esac
  done
  [ -n "$missing" ] || return 0
  step "installing Debian packages:$missing"
  local down="Debian's packages could not be installed; if its archive did not answer, run again later"
  quietly "$down" as_root apt-get update -q
  # shellcheck disable=SC2086 # $missing is a list of words
  quietly "$down" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing
}

# --- Pinned downloads

# pin ID: sets pin_registry, pin_package, pin_version, pin_file, pin_hash.
pin() {
  local line
  line=$(awk -v id="$1" '$1 == id { print $2, $3, $4, $5, $6 }' "$pins")
  [ -n "$line" ] || fail "scripts/pins has no line for $1"
  read -r pin_registry pin_package pin_version pin_file pin_hash <<<"$line"
}

take_from_pypi() {  # FOLDER
  # The platform is the last field of the wheel's name; "any" wheels need none.
  local platform=${pin_file##*-}
  platform=${platform%.whl}
  set -- --dest "$1"
  [ "$platform" = any ] || set -- "$@" --platform "$platform"
  quietly "PyPI did not answer or has no $pin_package $pin_version; run again later" \
    limited 1200 python3 -m pip download --quiet --no-deps --only-binary=:all: \
    --python-version 3.11 "$@" "$pin_package==$pin_version"
}

take_from_npm() {  # FOLDER
  have npm || if is_macos; then brew install node; else install_debian npm; fi
  quietly "the npm registry did not answer or has no $pin_package $pin_version; run again later" \
    limited 1200 npm pack --pack-destination "$1" "$pin_package@$pin_version"
}

take_from_maven() {  # FOLDER
  have mvn || if is_macos; then brew install maven; else install_debian maven; fi
  local artifact=$pin_package:$pin_version plugin
  plugin=$(awk '$1 == "maven-copy" { print $3 ":" $4 }' "$pins")
  quietly "Maven Central did not answer or has no $artifact; run again later" \
    limited 1200 mvn --batch-mode "$plugin:copy" "-Dartifact=$artifact" \
    "-DoutputDirectory=$1" -Dmdep.useBaseVersion=true
}

# take ID: the pinned file, verified, in the cache's downloads; sets taken to its path.
take() {
  pin "$1"
  taken=$cache/downloads/$pin_file
  if [ -f "$taken" ]; then
    [ "$(sha256_of "$taken")" = "$pin_hash" ] && return 0
    step "$taken is not the file that scripts/pins names; taking it again"
  fi
  step "downloading $pin_package $pin_version"
  make_work_folder
  local folder found
  folder=$(mktemp -d "$work_folder/download.XXXXXX")
  "take_from_$pin_registry" "$folder"
  [ -f "$folder/$pin_file" ] || fail "$pin_package $pin_version holds no file $pin_file"
  found=$(sha256_of "$folder/$pin_file")
  [ "$found" = "$pin_hash" ] || fail "$pin_file has SHA-256 $found; scripts/pins expects $pin_hash"
  mkdir -p "$cache/downloads"
  mv "$folder/$pin_file" "$taken"
}

# is_current FOLDER ID...: whether FOLDER was made from what scripts/pins says today. The note of
# that lies beside the cache's folders and not in them, because model folders are read whole.
is_current() {
  local folder=$1
  shift
  [ -d "$folder" ] && [ "$(note_of "$@")" = "$(cat "$(note_path "$folder")" 2>/dev/null)" ]
}
note_of() {
  local id
  for id in "$@"; do awk -v id="$id" '$1 == id { print $1, $6 }' "$pins"; done
}
note_path() {
  local inside=${1#"$cache"/}
  printf '%s/made-from/%s' "$cache" "${inside//\//_}"
}

# put_in_place MADE FOLDER ID...: swaps a finished folder in by renames, so that no reader ever
# sees half of it, and notes what it was made from.
put_in_place() {
  local made=$1 folder=$2
  shift 2
  mkdir -p "$(dirname "$folder")" "$cache/made-from"
  chmod 755 "$made"
  if [ -e "$folder" ]; then mv "$folder" "$(mktemp -d "$work_folder/old.XXXXXX")/"; fi
  mv "$made" "$folder"
  note_of "$@" >"$(note_path "$folder")"
}

# unzip_part ARCHIVE PREFIX PATH: the files whose names begin with PREFIX, which PATH replaces.
# Wheels and jars are zips.
unzip_part() {
  python3 - "$@" <<'PYTHON'
import pathlib, shutil, sys, zipfile
archive, prefix, path = sys.argv[1:]
found = 0
with zipfile.ZipFile(archive) as source:
    for entry in source.infolist():
        if entry.is_dir() or not entry.filename.startswith(prefix):
            continue
        target = pathlib.Path(path + entry.filename[len(prefix):])
        if ".." in target.parts:
            sys.exit(f"{archive} holds the unsafe name {entry.filename}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(entry) as read, open(target, "wb") as write:
            shutil.copyfileobj(read, write)
        found += 1
if not found:
    sys.exit(f"{archive} holds nothing named {prefix}")
PYTHON
}
