"""In: the static library. Out: exit code 0 when none of its objects prints, ends the process or
installs a signal handler.

usage: symbols.py NM LIBRARY
"""
import re
import subprocess
import sys

FORBIDDEN = re.compile(
    r"(__)?v?f?w?printf(_chk)?|__printf_chk|f?puts|f?putc|putchar|perror"  # prints
    r"|_ZSt4cout|_ZSt4cerr|_ZSt4clog|stdout|stderr"
    r"|abort|exit|_exit|_Exit|quick_exit|raise|kill|__assert_fail"  # ends the process
    r"|signal|sigaction")
# What looks like one of those and is none.
ALLOWED = {"child_process.cpp.o uses kill"}  # of what it started


def forbidden_uses(listing):
    """`listing` is what nm prints for an archive: a line "MEMBER:", then its symbols."""
    uses, member = [], "?"
    for line in listing.splitlines():
        if line.endswith(":"):
            member = line[:-1]
            continue
        fields = line.split()
        if len(fields) == 2 and fields[0] == "U":
            symbol = fields[1].split("@")[0]
            use = f"{member} uses {symbol}"
            if FORBIDDEN.fullmatch(symbol) and use not in ALLOWED:
                uses.append(use)
    return uses


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: symbols.py NM LIBRARY")
    listing = subprocess.run([sys.argv[1], sys.argv[2]], check=True, capture_output=True,
                             text=True, timeout=60).stdout
    members = [line for line in listing.splitlines() if line.endswith(".o:")]
    if len(members) < 10:
        sys.exit(f"{sys.argv[2]} holds only {len(members)} objects: not the whole library")
    uses = forbidden_uses(listing)
    for use in uses:
        print(use)
    print(f"{len(uses)} forbidden symbols in {len(members)} objects")
    sys.exit(1 if uses else 0)


if __name__ == "__main__":
    main()
