# In: made-up times. Out: whether bench/serve_load.py counts and prints them as it says.
import json

import pytest

import serve_load


def test_percentiles_are_measured_times():
    times = [float(i) for i in range(100, 0, -1)]
    assert serve_load.percentile(times, 0.5) == 51
    assert serve_load.percentile(times, 0.99) == 100
    assert serve_load.percentile([7.0], 0.99) == 7


def test_a_slope_is_that_of_the_line():
    assert serve_load.slope([(0, 10), (1, 12), (2, 14)]) == pytest.approx(2)
    assert serve_load.slope([(0, 1), (1, 3), (2, 2), (3, 4)]) == pytest.approx(0.8)


def test_requests_hold_as_many_texts_as_asked():
    texts = [f"t{i}" for i in range(10)]
    requests = serve_load.requests_of(texts, 4, [("X-Request-Timeout-Ms", "5")])
    first, second, third = next(requests), next(requests), next(requests)
    bodies = [json.loads(data.partition(b"\r\n\r\n")[2]) for data in (first, second)]
    assert [body["input"] for body in bodies] == [texts[:4], texts[4:8]]
    assert third == first
    assert b"\r\nX-Request-Timeout-Ms: 5\r\n" in first


def test_the_report_names_the_machine_and_every_number():
    result = {
        "machine": "a machine", "date": "2026-01-01", "model": "m", "server": "textvec 0.1.0 serve",
        "measured": {"overload": {"goodput_by_best": 0.95, "statuses": {"200": 3, "429": 4}},
                     "idle": {"alone": {"p99_ms": 2.5}}},
    }  # fmt: skip
    text = serve_load.markdown(result)
    assert text.startswith("a machine; 2026-01-01; m; textvec 0.1.0 serve\n")
    for line in ["| goodput by best | 0.95 |", "| statuses | 200: 3, 429: 4 |",
                 "| alone, p99 ms | 2.5 |"]:
        assert line in text.splitlines()
