"""In: rules.py and symbols.py. Out: whether they find made-up violations, and only those."""
import pathlib
import tempfile
import unittest

import rules
import symbols

CLEAN = {
    "src/model/json.cpp": '// In: text.\n#include <boost/json/src.hpp>\n#include "model/json.h"\n'
                          "void f() { try { g(); } catch (...) { } }\n",
    "src/model/json.h": "// In: text.\n#pragma once\n#include <string>\n",
    "src/vectors/pooling.cpp": '// In: states.\n#include "model/json.h"\n#include "hub/a.h"\n',
    "src/engine.cpp": '// In: all.\n#include "vectors/pooling.h"\n#include "worker.h"\n',
    "include/textvec/engine.h": '// In: all.\n#pragma once\n#include "textvec/result.h"\n',
    "apps/cli/main.cpp": '// In: all.\n#include <CLI/CLI.hpp>\n#include "hub/a.h"\n'
                         "int main() { try { } catch (...) { } }\n",
    "docs/guide.md": "The net/root/x and https://example.test/home/x are no folders. Gr\u00fc\u00dfe.\n",
}
HEAD = "// In: a. Out: b.\n"


class RulesTest(unittest.TestCase):
    def errors(self, name, text):
        """The errors of a clean checkout to which one file was added."""
        with tempfile.TemporaryDirectory() as folder:
            for path, content in {**CLEAN, name: text}.items():
                target = pathlib.Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content, encoding="utf-8")
            return list(rules.errors_of(pathlib.Path(folder)))

    def expect(self, name, text, line, message):
        errors = self.errors(name, text)
        self.assertEqual(len(errors), 1, errors)
        self.assertTrue(errors[0].startswith(f"{name}:{line}: "), errors[0])
        self.assertIn(message, errors[0])

    def test_a_clean_checkout_has_no_errors(self):
        self.assertEqual(self.errors("README.md", "textvec\n"), [])

    def test_a_layer_may_not_include_a_later_one(self):
        for index, layer in enumerate(rules.LAYERS):
            for later in rules.LAYERS[index + 1:]:
                if later != "model":
                    with self.subTest(layer=layer, later=later):
                        self.expect(f"src/{layer}/a.cpp", f'{HEAD}#include "{later}/b.h"\n', 2,
                                    f"{layer}/ may not include {later}/")

    def test_a_layer_may_include_earlier_ones(self):
        for index, layer in enumerate(rules.LAYERS):
            for earlier in rules.LAYERS[:index + 1] + ["model", "textvec"]:
                with self.subTest(layer=layer, earlier=earlier):
                    text = f'{HEAD}#include "{earlier}/b.h"\n'
                    self.assertEqual(self.errors(f"src/{layer}/a.cpp", text), [])

    def test_a_layer_may_not_include_what_is_above(self):
        self.expect("src/vectors/a.cpp", HEAD + '#include "worker.h"\n', 2, "above the layers")

    def test_no_way_around_through_the_parent_folder(self):
        self.expect("src/hub/a.cpp", HEAD + '#include "../vectors/b.h"\n', 2, "goes through ..")

    def test_a_new_folder_in_src_is_no_layer(self):
        self.assertIn("src/extra:1: is no layer", self.errors("src/extra/a.cpp", HEAD)[0])

    def test_a_public_header_may_not_include_src(self):
        self.expect("include/textvec/a.h", HEAD + '#pragma once\n#include "model/json.h"\n', 3,
                    "a public header may not include")

    def test_apps_may_not_include_every_layer(self):
        self.expect("apps/cli/a.cpp", HEAD + '#include "batch/queue.h"\n', 2,
                    'apps/ may not include "batch/queue.h"')

    def test_each_dependency_has_one_owner(self):
        for header in ["boost/json.hpp", "boost/asio.hpp", "openssl/evp.h", "onnx/onnx_pb.h",
                       "google/protobuf/message.h", "onnxruntime_cxx_api.h", "CLI/CLI.hpp",
                       "curl/curl.h"]:
            for bracket in ["<>", '""']:
                with self.subTest(header=header):
                    text = f"{HEAD}#include {bracket[0]}{header}{bracket[1]}\n"
                    self.expect("src/vectors/a.cpp", text, 2, f"may include {header}")

    def test_an_unknown_dependency_needs_an_owner(self):
        self.expect("src/hub/a.cpp", HEAD + "#include <zlib.h>\n", 2, "no file owns")

    def test_catch_outside_the_owners(self):
        self.expect("src/batch/a.cpp", HEAD + "void f() {\n  try {\n  } catch (...) {\n  }\n}\n",
                    4, "catch stands only")

    def test_catch_in_comments_and_strings_is_only_a_word(self):
        text = HEAD + "/* catch (it)\n */\nconst char* a = \"catch (x)\";  // catch (y)\n"
        self.assertEqual(self.errors("src/batch/a.cpp", text), [])

    def test_a_quote_in_a_comment_hides_nothing(self):
        text = HEAD + "// don't\nvoid f() { try { } catch (...) { } }  // it's\n"
        self.expect("src/batch/a.cpp", text, 3, "catch stands only")

    def test_not_ascii(self):
        self.expect("src/hub/a.cpp", HEAD + "// \u2013\n", 2, "is not ASCII")

    def test_no_opening_comment(self):
        self.expect("src/hub/a.cpp", "int a;\n", 1, "opens with a comment")

    def test_no_pragma_once(self):
        self.expect("src/hub/a.h", HEAD, 1, "#pragma once")

    def test_a_registry_host(self):
        host = "pypi" + ".org"
        self.expect("scripts/setup", f"echo\nget https://{host}/simple\n", 2, "a registry's host")

    def test_a_folder_of_one_machine(self):
        folder = "/home" + "/someone"
        self.expect("docs/a.md", f"Look in {folder}.\n", 1, "a folder of one machine")


class SymbolsTest(unittest.TestCase):
    def test_a_print_is_found(self):
        listing = "worker.cpp.o:\n0000 T _ZN7textvec1fEv\n     U puts\n     U memcpy\n"
        self.assertEqual(symbols.forbidden_uses(listing), ["worker.cpp.o uses puts"])

    def test_versioned_and_mangled_names_are_found(self):
        listing = "a.cpp.o:\n   U abort@GLIBC_2.2.5\n   U _ZSt4cout\n   U __fprintf_chk\n"
        self.assertEqual(len(symbols.forbidden_uses(listing)), 3)

    def test_innocent_names_are_not(self):
        listing = "a.cpp.o:\n   U _ZN3fooputs\n   U snprintf\n   U __cxa_throw\n0 T exit_code\n"
        self.assertEqual(symbols.forbidden_uses(listing), [])


if __name__ == "__main__":
    unittest.main()
