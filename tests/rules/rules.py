"""In: a checkout. Out: exit code 0, or a line "FILE:LINE: what is wrong" for each broken rule.

usage: rules.py FOLDER
The rules that a compiler does not see: who may include whom, who owns a dependency, where
exceptions are caught, ASCII, and nothing that holds on one machine only.
"""
import pathlib
import re
import subprocess
import sys

# The way of a text. A folder may include itself, model/ and the folders before it; the files
# directly in src/ see all.
LAYERS = ["hub", "model", "tokens", "batch", "kernels", "graph", "runtime", "vectors"]

# What a program in apps/ may include of src/, beside include/textvec and its own files. What
# runtime/ shows is for doctor, which describes the machine and the runtime without a model.
APPS_MAY_INCLUDE = re.compile(
    r"model/(json|read_double|utf8)\.h|hub/\w+\.h|runtime/(machine|providers|session)\.h|graph/compile\.h"
    r"|(bench|compile|provider|tune)_command\.h")

# The only files that may include a dependency's headers.
OWNERS = [
    (re.compile(r"boost/json/"), {"src/model/json.cpp"}),
    (re.compile(r"boost/"), {"apps/server/http.cpp"}),
    (re.compile(r"openssl/"), {"src/model/hash.cpp", "apps/server/keys.cpp", "apps/server/tls.cpp"}),
    (re.compile(r"textvec_tokenizers\.h"), {"src/tokens/tokenizer.cpp"}),
    (re.compile(r"onnx/|google/"), {"src/graph/onnx_file.cpp", "src/graph/strangers_file.cpp"}),
    (re.compile(r"onnxruntime"), {"src/runtime/operators.cpp", "src/runtime/ort_session.cpp",
                                 "src/runtime/providers.cpp"}),
    (re.compile(r"hwy/"), {"src/kernels/activation.cpp", "src/kernels/norm.cpp",
                           "src/kernels/power_of_two-inl.h", "src/kernels/targets.h",
                           "src/kernels/tiles.cpp"}),
    (re.compile(r"CLI/"), {"apps/cli/main.cpp"}),
    (re.compile(r"curl/"), {"src/hub/download.cpp", "apps/server/otlp_sender.cpp"}),
]
# Beside C++'s own headers, which have no dot and no slash.
SYSTEM_HEADER = re.compile(
    r"[a-z_]+|(sys|mach|mach-o|arpa|netinet)/\w+\.h"
    r"|(cpuid|dlfcn|errno|fcntl|malloc|malloc/malloc|netdb|poll|pthread|sched|signal|spawn|stddef|stdint|stdlib|unistd|xlocale)\.h")

MAY_CATCH = {"src/hub/download.cpp", "src/model/json.cpp", "src/graph/onnx_file.cpp",
             "src/runtime/operators.cpp",
             "src/runtime/ort_session.cpp", "src/runtime/providers.cpp", "src/worker.cpp"}

CPP = {".cpp", ".h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# In this order, so that a quote inside a comment and a slash inside a string mislead nobody.
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL)

# Hosts are put together here, so that this file does not hold what it looks for.
HOSTS = re.compile("|".join(a + r"\." + b for a, b in [
    ("pypi", "org"), ("pythonhosted", "org"), ("crates", "io"), ("npmjs", r"(?:org|com)"),
    ("maven", "org"), ("deb.debian", "org"), ("security.debian", "org")]))
# A folder of one machine or one person; a checkout must not know them.
MACHINE_PATHS = re.compile(r"(?<![\w./~$}\])-])/(?:work|root|home|Users)/\w")
# Lock files are written by a package manager, in its words.
NOT_OURS = re.compile(r"(^|/)(Cargo\.lock|LICENSE)$")
TEXT_BYTES_MAX = 4 << 20


def files_of(root):
    """Paths of the checkout's files relative to it: git's word, or all but builds without git."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-C", str(root), "-c", f"safe.directory={root}", "ls-files", "-z", "--cached",
             "--others", "--exclude-standard"], check=True, capture_output=True, timeout=60).stdout
        names = [name for name in listed.decode().split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        names = [name for name in names if not re.match(r"build/|\.venv/", name)]
    return sorted(name for name in set(names) if (root / name).is_file())


def without_comments_and_strings(text):
    """The same lines, with comments and literals emptied."""
    return COMMENT_OR_STRING.sub(lambda found: "\n" * found.group().count("\n"), text)


def numbered_matches(pattern, text):
    for number, line in enumerate(text.splitlines(), start=1):
        for found in pattern.finditer(line):
            yield number, found.group()


def quoted_include_error(name, included):
    """Why `name` may not include "included", or None."""
    first = included.split("/")[0]
    if ".." in included.split("/"):
        return f'"{included}" goes through ..; include from src/ or include/'
    if first == "textvec":
        return None
    parts = name.split("/")
    if parts[0] == "include":
        return f'a public header may not include "{included}"'
    if parts[0] == "apps":
        if first in LAYERS or included.endswith("_command.h"):
            if not APPS_MAY_INCLUDE.fullmatch(included):
                return f'apps/ may not include "{included}"'
        return None
    if len(parts) == 2:  # directly in src/
        return None
    layer = parts[1]
    if first not in LAYERS:
        return f'"{included}" is above the layers; {layer}/ may not include it'
    allowed = {layer, "model", *LAYERS[:LAYERS.index(layer)]}
    if first not in allowed:
        return f"{layer}/ may not include {first}/, which comes after it"
    return None


def include_errors(name, text):
    for number, line in enumerate(text.splitlines(), start=1):
        found = INCLUDE.match(line)
        if not found:
            continue
        bracket, included = found.groups()
        owners = next((owners for pattern, owners in OWNERS if pattern.match(included)), None)
        if owners is not None:
            if name not in owners:
                where = " or ".join(sorted(owners)) or "no file"
                yield number, f"only {where} may include {included}"
        elif bracket == "<":
            if not SYSTEM_HEADER.fullmatch(included):
                yield number, f"<{included}> belongs to a dependency that no file owns"
        else:
            error = quoted_include_error(name, included)
            if error:
                yield number, error


def cpp_errors(name, text):
    yield from include_errors(name, text)
    code = without_comments_and_strings(text)
    if not name.startswith("apps/") and name not in MAY_CATCH:
        for number, _ in numbered_matches(re.compile(r"\bcatch\s*\("), code):
            yield number, "catch stands only in the file that owns what throws, and in worker.cpp"
    if not re.match(r"// |/\* ", text):
        yield 1, "a file opens with a comment: what comes in, what goes out"
    # A guard is for the one header that C may read.
    # What ends in -inl.h is included once for each instruction set.
    if re.search(r"(?<!-inl)\.h$", name) and not re.search(r"^#(pragma once|ifndef \w+_H)$", text, re.MULTILINE):
        yield 1, "a header needs #pragma once"


def folder_errors(root):
    """A folder of src/ that is no layer would escape the layer rule."""
    for folder in sorted((root / "src").iterdir()) if (root / "src").is_dir() else []:
        if folder.is_dir() and folder.name not in LAYERS:
            yield f"src/{folder.name}:1: is no layer; the layers are {', '.join(LAYERS)}"


def errors_of(root):
    yield from folder_errors(root)
    for name in files_of(root):
        path = root / name
        if path.stat().st_size > TEXT_BYTES_MAX:
            continue
        raw = path.read_bytes()
        if b"\0" in raw:
            continue  # not a text
        text = raw.decode("utf-8", errors="replace")
        if name.split("/")[0] in {"src", "include", "apps"}:
            for number, found in numbered_matches(re.compile(r"[^\x00-\x7f]"), text):
                yield f"{name}:{number}: {ascii(found)} is not ASCII"
            if path.suffix in CPP:
                for number, message in cpp_errors(name, text):
                    yield f"{name}:{number}: {message}"
        if not NOT_OURS.search(name):
            for pattern, what in [(HOSTS, "names a registry's host"),
                                  (MACHINE_PATHS, "names a folder of one machine")]:
                for number, found in numbered_matches(pattern, text):
                    yield f"{name}:{number}: {found} {what}"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: rules.py FOLDER")
    root = pathlib.Path(sys.argv[1]).resolve()
    if not (root / "src").is_dir():
        sys.exit(f"{root} has no src/")
    errors = list(errors_of(root))
    for error in errors:
        print(error)
    print(f"{len(errors)} broken rules in {len(files_of(root))} files")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
