"""In: public headers, or a page with C++ blocks. Out: exit code 0 when each compiles by itself.

usage: compile.py headers|page COMPILER INCLUDE[:INCLUDE...] FILE...
"""
import pathlib
import re
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def error_of(compiler, includes, source):
    """What the compiler says against `source`, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "alone.cpp")
        path.write_text(source, encoding="utf-8")
        command = [compiler, *FLAGS, *(f"-I{include}" for include in includes), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.stderr if done.returncode else ""


def as_program(block):
    """A block with a main stands alone; any other is the inside of a function."""
    if re.search(r"^int main\(", block, re.MULTILINE):
        return block
    lines = block.splitlines()
    head = [line for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.startswith("#")]
    return "\n".join(head + ["void block();", "void block() {"] + body + ["}", ""])


def main():
    if len(sys.argv) < 5 or sys.argv[1] not in ("headers", "page"):
        sys.exit("usage: compile.py headers|page COMPILER INCLUDE[:INCLUDE...] FILE...")
    kind, compiler, includes, files = sys.argv[1], sys.argv[2], sys.argv[3].split(":"), sys.argv[4:]
    sources = []
    for file in map(pathlib.Path, files):
        if kind == "headers":
            # Twice, so that a missing #pragma once is seen.
            include = f'#include "textvec/{file.name}"\n'
            sources.append((file.name, include + include))
        else:
            blocks = BLOCK.findall(file.read_text(encoding="utf-8"))
            sources += [(f"{file.name}, C++ block {number}", as_program(block))
                        for number, block in enumerate(blocks, start=1)]
    if not sources:
        sys.exit(f"no C++ in {' '.join(files)}")
    failed = 0
    for name, source in sources:
        error = error_of(compiler, includes, source)
        if error:
            failed += 1
            print(f"{name} does not compile with {compiler}:\n{error}")
    print(f"{len(sources) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
