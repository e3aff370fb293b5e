# In: a script that makes several models out of texts. Out: its command line.
"""What make_tiny_models.py and make_qwen3_exports.py have in common."""

import argparse
import pathlib
import sys

import make_reference


def main(description, what, known, make):
    """`known`: by name. `make` gets the texts, the folder and those of `known` that are wanted."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", metavar="FILE", help='.jsonl with {"text": ...}')
    parser.add_argument("--output", metavar="FOLDER", help=f"a folder for each of the {what}")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of the {what}")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(known))
        return
    if not options.texts or not options.output:
        parser.error("needs --texts and --output")
    unknown = sorted(set(options.only or ()) - known.keys())
    if unknown:
        parser.error(f"does not know {unknown}; see --list")
    try:
        texts = [text for path in options.texts for text in make_reference.read_texts(path)]
        make(texts, options.output, [known[name] for name in options.only or known])
    except (OSError, ValueError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")
