#!/usr/bin/env python3
# In: build/release/compile_commands.json. Out: exit code 0 when clang-tidy-19 finds nothing in the sources
# of src/ and apps/, else what it says.
"""Runs clang-tidy over the sources, two or more at once.

A file that was clean is not looked at again while its text after the preprocessor, comments
included, its command, .clang-tidy, clang-tidy's version and this script are the same: the cache then
holds an empty file named by their hash.

usage: scripts/tidy.py --cache FOLDER [--jobs N] [FILE...]
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "build/release/compile_commands.json"
TIDY = ["clang-tidy-19", "--quiet", "--warnings-as-errors=*", "-p", "build/tidy",
        "--extra-arg=-Wno-unknown-warning-option"]  # fmt: skip
# The analyzer does not follow Boost.Asio's coroutines and executors, and then blames their headers.
MORE = {"apps/server/http.cpp": ["--checks=-clang-analyzer-core.*"]}
GCC_ONLY = {"-fno-tree-pre"}  # gcc's own options are none of clang's
KEPT_MAX = 2000
SECONDS_MAX = 900


def clang_words(command):
    """The options of a compile command that clang knows too."""
    words = shlex.split(command)
    while words and not words[0].startswith("-"):  # the compiler, with ccache before it
        words.pop(0)
    return [word for word in words if word not in GCC_ONLY]


def key_of(entry, constants):
    """Of all that clang-tidy's answer depends on."""
    words = clang_words(entry["command"])
    output = words.index("-o")
    given = words[:output] + words[output + 2 :]
    given.remove("-c")
    # Comments count: NOLINT is one. Lines count, because they stand in what it says.
    command = ["clang++-19", "-E", "-C", "-Wno-everything", *given]
    text = subprocess.run(command, cwd=entry["directory"], capture_output=True, check=True,
                          timeout=SECONDS_MAX).stdout  # fmt: skip
    key = hashlib.sha256(constants)
    # Another checkout is as good.
    for part in (shlex.join(given).encode(), text):
        key.update(part.replace(bytes(ROOT), b"") + b"\0")
    return key.hexdigest()


def check(entry, constants, cache):
    """What clang-tidy says, or nothing; whether it was asked."""
    clean = cache / key_of(entry, constants)
    if clean.is_file():
        clean.touch()
        return "", False
    more = MORE.get(os.path.relpath(entry["file"], ROOT), [])
    done = subprocess.run([*TIDY, *more, entry["file"]], cwd=ROOT, capture_output=True, text=True,
                          timeout=SECONDS_MAX, check=False)  # fmt: skip
    if done.returncode != 0:
        return done.stdout + done.stderr, True
    clean.touch()
    return "", True


def forget_old(cache):
    entries = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[KEPT_MAX:]:
        path.unlink()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("files", nargs="*", metavar="FILE", help="some of them (all)")
    options = parser.parse_args()
    entries = json.loads(COMMANDS.read_text(encoding="utf-8"))
    # What stands in for an optional part that is built here has that part's options.
    built = {entry["file"] for entry in entries}
    for entry in list(entries):
        absent = entry["file"].removesuffix(".cpp") + "_absent.cpp"
        if absent not in built and os.path.exists(absent):
            command = entry["command"].replace(entry["file"], absent)
            entries.append(entry | {"file": absent, "command": command})
    plain = [entry | {"command": shlex.join(["clang++-19", *clang_words(entry["command"])])}
             for entry in entries]  # fmt: skip
    (ROOT / "build/tidy").mkdir(parents=True, exist_ok=True)
    (ROOT / "build/tidy/compile_commands.json").write_text(json.dumps(plain), encoding="utf-8")
    by_file = {entry["file"]: entry for entry in plain}
    wanted = options.files or [*ROOT.glob("src/**/*.cpp"), *ROOT.glob("apps/**/*.cpp")]
    names = sorted(str(pathlib.Path(name).resolve()) for name in wanted)
    # Files for another platform are compiled on it alone.
    names = [name for name in names if not name.endswith("_macos.cpp")]
    missing = [name for name in names if name not in by_file]
    if missing:
        sys.exit(f"not built, so that nobody knows its options: {', '.join(missing)}")
    version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, check=True).stdout
    files = (ROOT / ".clang-tidy", pathlib.Path(__file__))
    constants = version + b"".join(file.read_bytes() for file in files)
    options.cache.mkdir(parents=True, exist_ok=True)
    names.sort(key=os.path.getsize, reverse=True)  # the longest first, so that none is late
    asked = failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        answers = pool.map(lambda name: check(by_file[name], constants, options.cache), names)
        for said, was_asked in answers:
            asked += was_asked
            failed += bool(said)
            print(said, end="", flush=True)
    forget_old(options.cache)
    print(f"clang-tidy: {len(names) - failed} of {len(names)} files are clean, {asked} looked at anew")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
