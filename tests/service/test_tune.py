# In: textvec tune on a small model, with a cache of the test's own. Out: settings that are kept,
# found again, and never change a vector; no test asks which of them are fast.
import json
import pathlib
import signal

import numpy
import pytest
from command_line import MINILM, assert_refused, finish, run, running, wait_until


@pytest.fixture
def cache(tmp_path):
    return {"TEXTVEC_CACHE": str(tmp_path / "cache")}


def tune(model, env, seconds="0.05"):
    answer = run("tune", "--json", "--seconds", seconds, model=model, env=env)
    assert answer.code == 0, answer.err
    (report,) = answer.lines()
    return report


def info(model, env, *arguments):
    (about,) = run("info", "--json", *arguments, model=model, env=env).lines()
    return about


def settings(about):
    return tuple(about[name] for name in ["threads", "workers", "batch_tokens_max"])


def kept_file(cache):
    (file,) = (pathlib.Path(cache["TEXTVEC_CACHE"]) / "tuning").iterdir()
    return file


def keep(cache, **changes):
    """Other settings in the file's place, as another measurement would have kept them."""
    file = kept_file(cache)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_best_is_one_of_the_trials_and_is_kept(tiny, cache):
    report = tune(tiny, cache, seconds="2")
    usual, *others = report["trials"]
    assert others and usual["speed"] == 1
    assert report["best"] in report["trials"]
    assert report["best"]["speed"] >= 1
    assert report["texts_per_second"] > 0 and report["tokens_per_text"] > 3
    assert (report["path"], report["precision"]) == ("fused", "f32")
    tried = [settings(trial) for trial in report["trials"]]
    assert len(set(tried)) == len(tried)
    assert pathlib.Path(report["file"]) == kept_file(cache)
    about = info(tiny, cache)
    assert settings(about) == settings(report["best"])
    assert len(about["tuned"]) == len("2026-01-31")


def test_what_was_tuned_is_used_where_nothing_is_given(tiny, cache):
    assert info(tiny, cache)["tuned"] == ""
    usual = settings(info(tiny, cache))
    tune(tiny, cache)
    keep(cache, threads=5, workers=3, batch_tokens_max=77, date="2026-01-31")
    about = info(tiny, cache)
    assert (settings(about), about["tuned"]) == ((5, 3, 77), "2026-01-31")
    assert settings(info(tiny, cache, "--batch-tokens", "99")) == (5, 3, 99)
    # The two were measured together.
    about = info(tiny, cache, "--threads", "2")
    assert (*settings(about), about["tuned"]) == (2, 1, 1024, "")
    about = info(tiny, cache, "--workers", "2")
    assert (*settings(about), about["tuned"]) == (usual[0], 2, 1024, "")
    # Of another precision, another model, another cache nothing is known.
    assert settings(info(tiny, cache, "--precision", "int8")) == usual
    assert info(MINILM, cache)["tuned"] == ""


def test_vectors_do_not_change(tiny, cache):
    texts = [f"word {'and more ' * (i % 9)}" for i in range(50)]
    given = "".join(text + "\n" for text in texts).encode()
    before = run("embed", given=given, model=tiny, env=cache).vectors()
    tune(tiny, cache)
    keep(cache, threads=3, workers=3, batch_tokens_max=64)
    after = run("embed", given=given, model=tiny, env=cache)
    assert after.code == 0
    numpy.testing.assert_allclose(after.vectors(), before, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"threads": 0}, {"threads": 1025}, {"workers": 0}, {"workers": 1025}, {"threads": "two"}]
    + [{"batch_tokens_max": 0}, {"batch_tokens_max": 1048577}, {"date": None}],
    ids=str,
)
def test_a_damaged_file_counts_as_none(tiny, cache, changes):
    usual = settings(info(tiny, cache))
    tune(tiny, cache)
    keep(cache, **changes)
    about = info(tiny, cache)
    assert (settings(about), about["tuned"]) == (usual, "")


def test_limits_of_the_file_are_allowed(tiny, cache):
    tune(tiny, cache)
    keep(cache, threads=1, workers=1, batch_tokens_max=1048576)
    assert settings(info(tiny, cache)) == (1, 1, 1048576)


def test_rubbish_in_the_file_is_made_anew(tiny, cache):
    tune(tiny, cache)
    kept_file(cache).write_bytes(b"\0\xff{")
    assert info(tiny, cache)["tuned"] == ""
    tune(tiny, cache)
    assert info(tiny, cache)["tuned"] != ""


def test_other_weights_are_another_model(own_tiny, cache):
    tune(own_tiny, cache)
    assert info(own_tiny, cache)["tuned"] != ""
    weights = own_tiny / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = b"\0\0\0\0"
    weights.write_bytes(content)
    assert info(own_tiny, cache)["tuned"] == ""


def test_doctor_says_whether_the_model_was_tuned(tiny, cache):
    (before,) = run("doctor", "--json", model=tiny, env=cache).lines()
    assert before["tuned"] == "" and any("textvec tune" in advice for advice in before["advice"])
    tune(tiny, cache)
    (after,) = run("doctor", "--json", model=tiny, env=cache).lines()
    assert after["tuned"] and not any("textvec tune" in advice for advice in after["advice"])


def test_a_table_for_people(tiny, cache):
    answer = run("tune", "--seconds", "0.05", model=tiny, env=cache)
    assert answer.code == 0, answer.err
    head, rows = answer.out.decode().split("\n\n")
    assert "kept in" in head and "best" in head
    lines = rows.splitlines()
    assert lines[0].split() == ["threads", "workers", "batch", "tokens", "speed"]
    assert sum(line.endswith("best") for line in lines) == 1


def test_a_cache_that_cannot_be_written_is_an_error(tiny, tmp_path):
    (tmp_path / "cache").write_text("a file")
    answer = run("tune", "--seconds", "0.05", model=tiny, env={"TEXTVEC_CACHE": str(tmp_path / "cache")})
    assert (answer.code, answer.out) == (4, b"")
    assert "cannot write" in answer.err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--seconds", "0"], ["--seconds", '"0"', "0.001"]),
        (["--precision", "f16"], ["f16"]),
        (["--threads", "2"], ["--threads"]),
        (["word"], ["word"]),
    ],
    ids=" ".join,
)
def test_bad_options_are_named(tiny, options, words):
    assert_refused(run("tune", *options, model=tiny), 2, *words)


def test_an_interrupt_ends_it_and_keeps_nothing(cache):
    with running("tune", "--seconds", "1000", model=MINILM, env=cache) as process:
        # The graph is there: it measures.
        wait_until(lambda: list(pathlib.Path(cache["TEXTVEC_CACHE"]).glob("graphs/*/manifest.json")))
        process.send_signal(signal.SIGINT)
        answer = finish(process)
    assert (answer.code, answer.out) == (130, b"")
    assert not (pathlib.Path(cache["TEXTVEC_CACHE"]) / "tuning").exists()
