"""In: scripts/tidy.py. Out: whether what it remembers of a file depends on all that clang-tidy reads."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import tidy  # noqa: E402

SOURCE = '#include "a.h"\nint f() { return kA; }\n'
HEADER = "constexpr int kA = 1;\n"


class TidyTest(unittest.TestCase):
    def key(self, source=SOURCE, header=HEADER, options="", constants=b"checks"):
        with tempfile.TemporaryDirectory() as folder:
            # The name of the folder is in the text, as in a checkout elsewhere.
            root, tidy.ROOT = tidy.ROOT, pathlib.Path(folder)
            try:
                pathlib.Path(folder, "a.cpp").write_text(source, encoding="utf-8")
                pathlib.Path(folder, "a.h").write_text(header, encoding="utf-8")
                command = f"ccache /usr/bin/c++ {options} -fno-tree-pre -o a.o -c {folder}/a.cpp"
                entry = {"command": command, "directory": folder, "file": f"{folder}/a.cpp"}
                return tidy.key_of(entry, constants)
            finally:
                tidy.ROOT = root

    def test_the_same_file_in_another_checkout_has_the_same_key(self):
        self.assertEqual(self.key(), self.key())

    def test_every_part_counts(self):
        keys = [
            self.key(),
            self.key(source=SOURCE.replace("kA;", "kA + 1;")),
            self.key(source=SOURCE.replace("kA; }", "kA; }  // NOLINT")),
            self.key(source="\n" + SOURCE),
            self.key(header=HEADER.replace("1", "2")),
            self.key(header=HEADER + "// NOLINT\n"),
            self.key(options="-DNDEBUG"),
            self.key(constants=b"other checks"),
        ]
        self.assertEqual(len(set(keys)), len(keys))

    def test_compiler_and_what_is_before_it_are_left_out(self):
        words = tidy.clang_words("ccache /usr/bin/c++ -O3 -fno-tree-pre -o a.o -c a.cpp")
        self.assertEqual(words, ["-O3", "-o", "a.o", "-c", "a.cpp"])


if __name__ == "__main__":
    unittest.main()
