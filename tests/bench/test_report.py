# In: made-up times. Out: whether the report says of them what is true.
import pytest
import report


def rival(works, precision="f32", **more):
    return {
        "precision": precision,
        "works": works,
        "versions": {"library": "1.0"},
        "settings": {"all": "its own"},
        "load_seconds": 1.0,
        "memory_mib": 100.0,
        "peak_memory_mib": 120.0,
        "cosine": {"8x32": 1.0},
    } | more


@pytest.fixture
def result():
    return {
        "command": "python bench/rivals/run.py --work FOLDER",
        "machine": {
            "processor": "a processor",
            "cores": 4,
            "instruction_sets": ["avx2", "fma"],
            "memory_gib": 15.6,
            "system": "Linux 6",
            "threads": 2,
            "processors": [0, 2],
            "date": "2026-01-02",
            "bandwidth": 20e9,
            "gemm_peak": {"a": 90e9, "b": 100e9},
        },
        "models": {
            "minilm": {
                "title": "A model",
                "texts": {"1x12": [12], "mixed": [5, 15, 40]},
                "operations": {"1x12": 1e9, "mixed": 5e9},
                "rivals": {
                    "textvec f32": rival({"1x12": [0.02, 0.04, 0.03], "mixed": [0.2, 0.2, 0.2]}),
                    "textvec int8": rival({"1x12": [0.01], "mixed": [0.1]}, "int8"),
                    "fastembed": rival({"1x12": [0.09], "mixed": [0.25]}),
                    "quick but wrong": rival(
                        {"1x12": [0.001], "mixed": [0.001]}, "int8", cosine={"8x32": 0.9799}
                    ),
                    "absent": {"failed": "exit code 1: no such package"},
                },
            }
        },
    }


@pytest.mark.parametrize(
    ("values", "median"), [([3.0], 3.0), ([1.0, 3.0], 2.0), ([5.0, 1.0, 3.0], 3.0)]
)
def test_summary(values, median):
    assert report.summary(values) == {"median": median, "min": min(values), "max": max(values)}


def test_nothing_has_no_summary():
    with pytest.raises(ValueError):
        report.summary([])


def test_ratio_is_of_medians(result):
    model = result["models"]["minilm"]
    assert report.ratio(model, "1x12", "textvec f32", "fastembed") == pytest.approx(3.0)
    assert report.ratio(model, "1x12", "fastembed", "textvec f32") == pytest.approx(1 / 3)


@pytest.mark.parametrize("other", ["absent", "never heard of", "quick but wrong"])
def test_no_ratio_to_what_was_not_measured_or_is_wrong(result, other):
    assert report.ratio(result["models"]["minilm"], "1x12", "textvec f32", other) is None


@pytest.mark.parametrize(
    ("precision", "cosine", "right"),
    [
        ("f32", 0.9899, False),
        ("f32", 0.99, True),
        ("int8", 0.9799, False),
        ("int8", 0.98, True),
        ("f32", -1.0, False),
    ],
)
def test_vectors_must_agree(precision, cosine, right):
    model = {"rivals": {"one": rival({}, precision, cosine={"8x32": 1.0, "mixed": cosine})}}
    assert report.right(model, "one") is right


def test_nearest_rival_is_neither_ours_nor_wrong(result):
    assert report.nearest_rival(result["models"]["minilm"], "mixed") == "fastembed"


def test_share_is_of_the_best_peak(result):
    model = result["models"]["minilm"]
    share = report.share_of_peak(result, model, "1x12", "textvec f32")
    assert share == pytest.approx(1e9 / 0.03 / 100e9)
    assert report.share_of_peak(result, model, "1x12", "absent") is None
    result["machine"]["gemm_peak"] = {}
    assert report.share_of_peak(result, model, "1x12", "textvec f32") is None


def test_aims(result):
    judged = {what: (reached, aim) for what, _, reached, aim in report.judge_aims(result)}
    beside = "A model, mixed: textvec f32 beside fastembed"
    assert judged[beside] == (pytest.approx(1.25), 1.5)
    nearest = "A model, mixed: textvec int8 beside the nearest rival, fastembed"
    assert judged[nearest] == (pytest.approx(2.5), 2.0)
    assert judged["A model, mixed: textvec f32 beside sentence-transformers"][0] is None
    table = report.aims_table(result)
    assert f"| {beside} | 1.5 times | 1.25 | no |" in table
    assert f"| {nearest} | 2 times | 2.50 | yes |" in table
    assert "not measured" in table


def test_page_has_everything(result):
    page = report.page(result, ["minilm-latency.png", "qwen3-latency.png"])
    assert "| textvec f32 | 30.0 (20.0 to 40.0) | 200 (200 to 200) |" in page
    assert "| quick but wrong (wrong vectors) | 1.00 | 1.00 |" in page
    assert "- absent: not measured: exit code 1: no such package" in page
    assert "medians of 3 round(s)" in page
    assert "mixed: 3 texts of 5 to 40 tokens, 20 on average" in page
    assert "processors 0, 2" in page
    assert "20.0 GB/s" in page
    assert "![minilm-latency](performance/minilm-latency.png)" in page
    assert "qwen3" not in page
    # int8 is no part of the float32 peak.
    shares = next(part for part in page.split("\n\n") if part.startswith("| share of"))
    assert "textvec f32" in shares
    assert "int8" not in shares


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.00123, "1.23"), (0.00999, "9.99"), (0.0123, "12.3"), (1.2345, "1234")]
)
def test_three_digits_of_a_time(seconds, words):
    assert report.milliseconds(seconds) == words


def test_only_what_is_between_the_markers_changes():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    changed = report.put_between_markers(page, "new\n")
    assert changed == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    assert report.put_between_markers(changed, "new\n") == changed


@pytest.mark.parametrize("page", ["", report.BEGIN, report.END, report.END + report.BEGIN])
def test_a_page_without_markers_is_refused(page):
    with pytest.raises(ValueError):
        report.put_between_markers(page, "new\n")
