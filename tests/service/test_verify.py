# In: textvec verify, references that scripts/make_reference.py wrote, and damaged ones.
# Goal: what agrees passes, what differs is measured, and no file makes it crash or guess.
import io
import json
import os
import struct
import sys
import zipfile

import numpy
import pytest
from command_line import ROOT, assert_refused, run
from tiny_folder import HIDDEN, PROMPTS, TOKENS_MAX

sys.path.insert(0, str(ROOT / "scripts"))

import make_reference  # noqa: E402

ARRAYS = ["vectors", "ids", "offsets", "texts", "text_offsets", "about"]
TEXTS = [
    "a cat sat on the mat",
    "",
    "two\nlines",
    "nul \0 inside",
    "na\u00efve \u6771\u4eac \U0001f600",
    "rain " * 100,  # cut to the model's 64 tokens
    "the quick brown fox",
    "[SEP] in the text",
]
SHORT = [text for text in TEXTS if len(text) < 50]


def make(tiny, folder, *options, texts=TEXTS):
    source, output = folder / "texts.jsonl", folder / "reference.npz"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    arguments = ["--model", str(tiny), "--texts", str(source), "--output", str(output)]
    make_reference.main([*arguments, *options])
    return output


@pytest.fixture(scope="session")
def reference(tiny, tmp_path_factory):
    """The Python libraries' ids and vectors of TEXTS; tests must not change the file."""
    assert run("info", model=tiny).code == 0  # a first use says on standard error that it compiles
    return make(tiny, tmp_path_factory.mktemp("reference"))


@pytest.fixture
def arrays(reference):
    with numpy.load(reference) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def write(tmp_path):
    def write(arrays, save=numpy.savez):
        path = tmp_path / "changed.npz"
        save(path, **arrays)
        return path

    return write


def about_of(arrays):
    return json.loads(bytes(arrays["about"]))


def with_settings(arrays, **settings):
    about = about_of(arrays)
    about["settings"] |= settings
    return arrays | {"about": bytes_array(json.dumps(about).encode())}


def bytes_array(data):
    return numpy.frombuffer(data, dtype=numpy.uint8)


def verify(code, path, tiny, *options):
    answer = run("verify", "--json", "--reference", path, *options, model=tiny)
    assert (answer.code, answer.err) == (code, "")
    (report,) = answer.lines()
    assert report["passed"] == (code == 0)
    return report


def refuse(path, tiny, *words, code=2, options=()):
    assert_refused(run("verify", "--reference", path, *options, model=tiny), code, *words)


# --- What agrees


def test_a_reference_of_the_python_libraries_passes(tiny, reference, arrays):
    report = verify(0, reference, tiny)
    assert (report["texts"], report["dimension"]) == (len(TEXTS), HIDDEN)
    assert (report["ids_differ"], report["ids_differ_first"]) == (0, None)
    assert 0 <= report["difference_max"] <= report["tolerance"] == 2e-6
    assert 0 <= report["difference_max_text"] < len(TEXTS)
    assert 1 - 1e-9 < report["cosine_min"] <= report["cosine_mean"] + 1e-15
    assert report["norm_error_max"] < 1e-6
    assert (report["path"], report["precision"], report["provider"]) == ("fused", "f32", "cpu")
    made = report["reference"]
    assert made["file"] == str(reference)
    assert made["versions"] == make_reference.library_versions()
    assert made["model_sha256"] == about_of(arrays)["model_sha256"]
    assert made["settings"] == {"normalize": True}


def test_the_report_is_a_table_for_people(tiny, reference):
    answer = run("verify", "--reference", reference, model=tiny)
    assert (answer.code, answer.err) == (0, "")
    table = answer.out.decode()
    assert f"\ntexts             {len(TEXTS)}\n" in table
    assert table.endswith("\nresult            passed\n")
    for word in ["sentence-transformers", "none", "tolerance 2e-06", "cosine", "not compared"]:
        assert word in table


@pytest.mark.parametrize(
    "options, settings",
    [
        (["--no-normalize"], {"normalize": False}),
        (["--role", "query"], {"normalize": True, "role": "query"}),
        (["--role", "document"], {"normalize": True, "role": "document"}),
        (["--prompt-name", "passage"], {"normalize": True, "prompt_name": "passage"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_settings_of_the_reference_are_honoured(own_tiny, tmp_path, options, settings):
    prompts = PROMPTS | {"document": "kept: "}
    config = own_tiny / "config_sentence_transformers.json"
    config.write_text(json.dumps({"prompts": prompts}))
    path = make(own_tiny, tmp_path, *options)
    report = verify(0, path, own_tiny, "--tolerance", "5e-6")
    assert report["reference"]["settings"] == settings
    assert (report["norm_error_max"] is None) == (not settings["normalize"])


@pytest.mark.parametrize("dimensions", [1, 16, HIDDEN - 1])
def test_a_reference_of_fewer_dimensions_is_a_cut(tiny, arrays, write, dimensions):
    cut = arrays["vectors"][:, :dimensions].astype(numpy.float64)
    cut /= numpy.linalg.norm(cut, axis=1, keepdims=True)
    arrays["vectors"] = numpy.ascontiguousarray(cut, dtype=numpy.float32)
    report = verify(0, write(arrays), tiny)
    assert report["dimension"] == dimensions


@pytest.mark.parametrize("dimensions", [1, 16, HIDDEN])
def test_dimensions_cut_the_reference_too(tiny, reference, dimensions):
    report = verify(0, reference, tiny, "--dimensions", dimensions)
    assert report["dimension"] == dimensions


def test_the_options_of_embed_hold(tiny, reference):
    verify(0, reference, tiny, "--threads", "1", "--batch-tokens", "1", "--provider", "cpu")
    report = verify(1, reference, tiny, "--pooling", "cls")
    assert report["ids_differ"] == 0 and report["difference_max"] > 0.01


# --- What differs


def test_a_changed_component_is_measured(tiny, arrays, write):
    arrays["vectors"][3, 5] += 0.001
    path = write(arrays)
    report = verify(1, path, tiny)
    assert report["difference_max"] == pytest.approx(0.001, abs=5e-6)
    assert (report["difference_max_text"], report["ids_differ"]) == (3, 0)
    ours = arrays["vectors"][3].astype(numpy.float64)
    expected = 1 - 0.5e-6 * (1 - ours[5] ** 2)  # of the angle that the change makes
    assert report["cosine_min"] == pytest.approx(expected, abs=2e-8)
    assert run("verify", "--reference", path, model=tiny).out.endswith(b"FAILED\n")
    verify(0, path, tiny, "--tolerance", "0.0011")
    verify(1, path, tiny, "--tolerance", "0.0009")


def test_other_ids_fail_though_the_vectors_agree(tiny, arrays, write):
    for text in [2, 6]:
        arrays["ids"][arrays["offsets"][text] + 1] += 1
    report = verify(1, write(arrays), tiny)
    assert (report["ids_differ"], report["ids_differ_first"]) == (2, 2)
    assert report["difference_max"] <= 2e-6


def test_another_number_of_ids_fails(tiny, arrays, write):
    arrays["offsets"][4] += 1
    report = verify(1, write(arrays), tiny)
    assert (report["ids_differ"], report["ids_differ_first"]) == (2, 3)


def test_ids_that_no_token_has_fail(tiny, arrays, write):
    arrays["ids"][1] += 1 << 32  # the same in 32 bits
    arrays["ids"][2] = -1
    assert verify(1, write(arrays), tiny)["ids_differ"] == 1


# --- Settings that cannot be honoured


def test_another_token_limit_matters_only_to_long_texts(tiny, tmp_path):
    path = make(tiny, tmp_path, "--tokens-max", "20")
    refuse(path, tiny, "at most 20 tokens", f"takes {TOKENS_MAX}", "text 5")
    path = make(tiny, tmp_path, "--tokens-max", "20", texts=SHORT)
    assert verify(0, path, tiny)["reference"]["settings"]["tokens_max"] == 20


def test_a_limit_above_the_models_shows_in_long_texts(tiny, arrays, write):
    path = write(with_settings(arrays, tokens_max=TOKENS_MAX + 1))
    refuse(path, tiny, f"at most {TOKENS_MAX + 1} tokens", "text 5")
    verify(0, write(with_settings(arrays, tokens_max=TOKENS_MAX)), tiny)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"language": "en"}, ["language"]),
        ({"role": "reader"}, ["reader", "query"]),
        ({"role": 1}, ["role"]),
        ({"prompt_name": "nobody"}, ["nobody", *PROMPTS]),
        ({"role": "query", "prompt_name": "query"}, ["one of role, prompt"]),
        ({"pooling": "weighted"}, ["weighted"]),
        ({"tokens_max": 0}, ["tokens_max"]),
        ({"normalize": "yes"}, ["normalize"]),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_honoured_is_named(tiny, arrays, write, settings, words):
    refuse(write(with_settings(arrays, **settings)), tiny, *words)


def test_the_pooling_of_the_reference_is_used(tiny, arrays, write):
    path = write(with_settings(arrays, pooling="mean"))
    verify(0, path, tiny)
    refuse(path, tiny, "mean", "--pooling cls", options=["--pooling", "cls"])
    assert verify(1, write(with_settings(arrays, pooling="cls")), tiny)["ids_differ"] == 0


def test_a_reference_without_prompts_does_not_fit_a_model_with_a_default_one(
    own_tiny, arrays, write
):
    file = own_tiny / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": PROMPTS, "default_prompt_name": "query"}))
    refuse(write(with_settings(arrays, pooling="mean")), own_tiny, "without a prompt", "query")


@pytest.mark.parametrize("dimensions", ["0", "33"])
def test_dimensions_that_are_not_there_are_refused(tiny, reference, dimensions):
    refuse(reference, tiny, dimensions, HIDDEN, options=["--dimensions", dimensions])


def test_a_reference_of_another_model_is_refused(tiny, arrays, write):
    arrays["vectors"] = numpy.ones((len(TEXTS), HIDDEN + 1), numpy.float32)
    refuse(write(arrays), tiny, HIDDEN + 1, HIDDEN)


@pytest.mark.parametrize("tolerance", ["-1", "nan", "inf", "1e7", "2e-6x"])
def test_a_tolerance_is_a_number(tiny, reference, tolerance):
    refuse(reference, tiny, "--tolerance", "0 to 1000000", options=[f"--tolerance={tolerance}"])


def test_a_reference_is_needed(tiny):
    assert_refused(run("verify", model=tiny), 2, "--reference")


def test_a_text_that_is_no_text_is_named(tiny, arrays, write):
    arrays["texts"] = arrays["texts"].copy()
    arrays["texts"][arrays["text_offsets"][2]] = 0xFF
    refuse(write(arrays), tiny, "text 2", "UTF-8")


# --- Damaged files


def test_a_file_that_is_missing_or_a_folder_is_named(tiny, tmp_path):
    for path in [tmp_path / "absent.npz", tmp_path]:
        refuse(path, tiny, path)


@pytest.mark.parametrize("content", [b"", b"text\n" * 100, b"PK\x05\x06", b"PK\x05\x06" + bytes(17)])
def test_a_file_that_is_no_npz_is_named(tiny, tmp_path, content):
    path = tmp_path / "no.npz"
    path.write_bytes(content)
    refuse(path, tiny, path, "no .npz file")


def test_an_archive_without_arrays_is_refused(tiny, write):
    refuse(write({}), tiny, 'no array "about"')


def test_a_truncated_file_is_refused(tiny, reference, tmp_path):
    whole = reference.read_bytes()
    path = tmp_path / "cut.npz"
    for size in [1, 30, 200, len(whole) // 2, len(whole) - 22, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refuse(path, tiny, path)
    path.write_bytes(whole + b"x")
    refuse(path, tiny, path)


def test_a_file_with_a_hole_is_refused(tiny, reference, tmp_path):
    # The directory at the end is whole, and what it names is not where it says.
    whole = reference.read_bytes()
    path = tmp_path / "hole.npz"
    path.write_bytes(whole[:100] + whole[400:])
    refuse(path, tiny, path)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_named(tiny, arrays, write, name):
    del arrays[name]
    refuse(write(arrays), tiny, f'no array "{name}"')


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_another_type_is_named(tiny, arrays, write, name):
    for wrong in ["<f8", "<i4", "|i1", ">f4", ">i8"]:
        refuse(write(arrays | {name: arrays[name].astype(wrong)}), tiny, f'"{name}"', wrong)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_another_shape_is_named(tiny, arrays, write, name):
    refuse(write(arrays | {name: arrays[name][None]}), tiny, f'"{name}"', "axes")
    refuse(write(arrays | {name: arrays[name].ravel()[0]}), tiny, f'"{name}"', "axes")


def test_columns_first_are_refused(tiny, arrays, write):
    arrays["vectors"] = numpy.asfortranarray(arrays["vectors"])
    refuse(write(arrays), tiny, '"vectors"', "fortran_order False")


def test_a_compressed_file_is_refused(tiny, arrays, write):
    refuse(write(arrays, numpy.savez_compressed), tiny, "compressed", "numpy.savez")


@pytest.mark.parametrize("name", ["offsets", "text_offsets"])
def test_offsets_that_do_not_fit_are_named(tiny, arrays, write, name):
    good = arrays[name]

    def refuse_offsets(changed, *words):
        refuse(write(arrays | {name: changed}), tiny, name, *words)

    swapped = good.copy()
    swapped[[3, 4]] = good[[4, 3]]
    refuse_offsets(swapped, "falls after text 3")
    refuse_offsets(good + 1, "from 1 ")
    refuse_offsets(good[:-1], len(TEXTS), len(TEXTS) + 1)
    refuse_offsets(numpy.append(good, good[-1]), len(TEXTS) + 1)
    refuse_offsets(good[:0], "0 values")
    for last in [good[-1] + 1, good[-1] - 1, -1, 2**63 - 1]:
        refuse_offsets(numpy.append(good[:-1], last), last, good[-1])


@pytest.mark.parametrize("shape", [(0, HIDDEN), (8, 0)])
def test_no_vectors_are_no_reference(tiny, arrays, write, shape):
    arrays["vectors"] = numpy.zeros(shape, numpy.float32)
    refuse(write(arrays), tiny, f"{shape[0]} of {shape[1]} components")


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_a_reference_that_is_not_finite_is_refused(tiny, arrays, write, value):
    arrays["vectors"][6, 7] = value
    refuse(write(arrays), tiny, "text 6", "not finite")


@pytest.mark.parametrize(
    "about, word",
    [
        (b"", "about"),
        (b"{", "about"),
        (b"[]", "format 1"),
        (b'{"format": 2, "settings": {}}', "format 1"),
        (b'{"format": 1}', "settings"),
        (b'{"format": 1, "settings": []}', "settings"),
        (b" " * ((1 << 20) + 1), 1 << 20),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_description_is_refused(tiny, arrays, write, about, word):
    refuse(write(arrays | {"about": bytes_array(about)}), tiny, word)


def test_the_shortest_description_is_enough(tiny, arrays, write):
    about = bytes_array(b'{"format": 1, "settings": {}}')
    made = verify(0, write(arrays | {"about": about}), tiny)["reference"]
    assert (made["versions"], made["model_sha256"]) == ({}, "")


def test_a_flipped_bit_is_found(tiny, reference, arrays, tmp_path):
    data = bytearray(reference.read_bytes())
    place = data.find(arrays["vectors"].tobytes())
    assert place > 0
    data[place + 100] ^= 1  # a change of the last digit, which no tolerance would find
    path = tmp_path / "flipped.npz"
    path.write_bytes(data)
    refuse(path, tiny, '"vectors"', "checksum")


def save_with_numbers_of_64_bits(path, **arrays):
    """As numpy.savez writes a file of many GiB: sizes and offsets stand in extra fields."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 0)
        numpy.savez(path, **arrays)
    assert b"PK\x06\x06" in path.read_bytes() and b"PK\x06\x07" in path.read_bytes()


def test_a_directory_of_64_bits_is_read(tiny, arrays, write):
    path = write(arrays, save_with_numbers_of_64_bits)
    verify(0, path, tiny)
    data = path.read_bytes()
    for damaged in [
        data.replace(b"PK\x06\x06", b"PK\x06\x05"),
        # Its entry for the directory's offset, 8 bytes before the locator.
        data.replace(data[-50:-42], b"\xff" * 8),
        # The locator's own.
        data.replace(data[-34:-26], b"\xfe" * 8),
    ]:
        assert len(damaged) == len(data) and damaged != data
        path.write_bytes(damaged)
        refuse(path, tiny, path)


def write_npy(version, change=lambda header: header):
    """A writer of .npz files whose arrays have this version and a changed header."""

    def save(path, **arrays):
        with zipfile.ZipFile(path, "w") as file:
            for name, array in arrays.items():
                whole = io.BytesIO()
                numpy.lib.format.write_array(whole, array, version)
                file.writestr(name + ".npy", change(whole.getvalue()))

    return save


def test_npy_files_of_version_2_are_read(tiny, arrays, write):
    verify(0, write(arrays, write_npy((2, 0))), tiny)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:6] + b"\3" + data[7:],
        lambda data: data[:7] + b"\1" + data[8:],
        lambda data: b"NUMPY" + data[5:],
        lambda data: data[:8] + struct.pack("<H", 65535) + data[10:],
        lambda data: data[:9],
        lambda data: b"",
        lambda data: data.replace(b"'shape'", b"'shame'"),
        lambda data: data.replace(b", }", b",  "),
        lambda data: data.replace(b"}   ", b"} x "),
        lambda data: data.replace(b"(", b"(-", 1),
    ],
)
def test_a_header_that_numpy_does_not_write_is_refused(tiny, arrays, write, change):
    refuse(write(arrays, write_npy((1, 0), change)), tiny, '"about"', "numpy.savez")


@pytest.mark.parametrize("shape", [b"(9, 32)", b"(7, 32)", b"(99999999999, 99999999999)"])
def test_a_shape_that_does_not_fit_is_refused(tiny, arrays, write, shape):
    def change(data):
        wanted = shape.ljust(len(b"(8, 32)"))
        extra = len(wanted) - len(b"(8, 32)")
        return data.replace(b"(8, 32), }" + b" " * extra, wanted + b", }")

    refuse(write(arrays, write_npy((1, 0), change)), tiny, '"vectors"', "does not fit")


def test_a_file_above_the_limit_is_refused(tiny, tmp_path):
    path = tmp_path / "large.npz"
    with open(path, "wb") as file:
        os.truncate(path, (4 << 30) + 1)  # takes no room
        file.close()
    refuse(path, tiny, (4 << 30) + 1, 4 << 30)


def test_an_archive_of_too_many_arrays_is_refused(tiny, arrays, write):
    more = {f"more{number}": numpy.zeros(1) for number in range(59)}
    refuse(write(arrays | more), tiny, "65 arrays", "64")
    del more["more0"]
    verify(0, write(arrays | more), tiny)


def test_no_byte_of_the_directory_makes_it_crash(tiny, reference, tmp_path):
    whole = reference.read_bytes()
    begin = struct.unpack("<I", whole[-6:-2])[0]
    path = tmp_path / "changed.npz"
    for place in range(begin, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        answer = run("verify", "--reference", path, model=tiny)
        # 0 where the byte does not matter: a time, an attribute.
        assert answer.code in (0, 2), (place - begin, answer.err)
