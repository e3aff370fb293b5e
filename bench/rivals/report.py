# In: what the rounds measured. Out: medians, spreads, ratios, and the page that shows them.
"""Statistics and Markdown, without a measurement of its own.

A result: {"machine": {...}, "models": {model: {"title", "texts": {work: [tokens, ...]},
"operations": {work: n}, "rivals": {rival: {"works": {work: [seconds of each round]}, ...}}}}}.
The rest of a rival's record: precision, versions, settings {work: words}, memory_mib,
peak_memory_mib, load_seconds, cosine {work: smallest}, or only "failed": the reason.
"""

import statistics

BEGIN = "<!-- measured: begin (bench/rivals/run.py --docs writes this) -->"
END = "<!-- measured: end -->"
OURS = ("textvec f32", "textvec int8")
COSINE_MIN = {"f32": 0.99, "int8": 0.98}

# What textvec wants to reach: model, work, who, how many times as fast as whom.
AIMS = [
    ("qwen3", "1x12", "textvec f32", 3.0, "onnxruntime f32"),
    ("qwen3", "1x12", "textvec f32", 1.25, "OpenVINO f32"),
    ("qwen3", "1x12", "textvec f32", 3.0, "sentence-transformers"),
    ("qwen3", "1x12", "textvec int8", 2.5, "llama.cpp Q8_0"),
    ("qwen3", "8x32", "textvec int8", 2.5, "llama.cpp Q8_0"),
    ("qwen3", "1x12", "textvec int8", 1.7, "textvec f32"),
    ("qwen3", "8x32", "textvec int8", 1.7, "textvec f32"),
    ("minilm", "mixed", "textvec f32", 1.5, "fastembed"),
    ("minilm", "mixed", "textvec f32", 2.0, "sentence-transformers"),
    ("minilm", "mixed", "textvec int8", 2.0, None),
    ("qwen3", "mixed", "textvec f32", 1.5, "fastembed"),
    ("qwen3", "mixed", "textvec f32", 2.0, "sentence-transformers"),
    ("qwen3", "mixed", "textvec int8", 2.0, None),
]
SHARE_AIMS = [("qwen3", "1x256", "textvec f32", 0.75), ("qwen3", "8x128", "textvec f32", 0.75)]


# --- Statistics


def summary(values):
    """Of a round's or a rival's times: the middle one, and from where to where they reach."""
    if not values:
        raise ValueError("there is no time to summarise")
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def median_of(rival, work):
    """Seconds, or None when it was not measured."""
    times = rival.get("works", {}).get(work)
    return statistics.median(times) if times else None


def ratio(model, work, fast, slow):
    """How many times as fast `fast` is as `slow`, or None when one was not measured or is wrong."""
    seconds = [median_of(model["rivals"].get(name, {}), work) for name in (slow, fast)]
    if None in seconds or not (right(model, slow) and right(model, fast)):
        return None
    return seconds[0] / seconds[1]


def right(model, name):
    """False when the vectors are not those of the others; whoever was not compared is right."""
    rival = model["rivals"].get(name, {})
    least = COSINE_MIN[rival.get("precision", "f32")]
    return all(cosine >= least for cosine in rival.get("cosine", {}).values())


def nearest_rival(model, work):
    """The fastest of those that are not ours and give the right vectors, or None."""
    times = {
        name: median_of(rival, work)
        for name, rival in model["rivals"].items()
        if name not in OURS and median_of(rival, work) is not None and right(model, name)
    }
    return min(times, key=times.get) if times else None


def share_of_peak(result, model, work, name):
    """Of the float operations that the machine could have done in that time."""
    seconds = median_of(model["rivals"].get(name, {}), work)
    peak = max(result["machine"].get("gemm_peak", {}).values(), default=0)
    if seconds is None or not peak:
        return None
    return model["operations"][work] / seconds / peak


def judge_aims(result):
    """(what, aim, reached or None) of each aim."""
    judged = []
    for key, work, ours, aim, other in AIMS:
        model = result["models"].get(key)
        if model is None or work not in model["texts"]:
            continue
        named = other or nearest_rival(model, work)
        reached = ratio(model, work, ours, named) if named else None
        nearest = "" if other else "the nearest rival, "
        what = f"{model['title']}, {work}: {ours} beside {nearest}{named}"
        judged.append((what, f"{aim:g} times", reached, aim))
    for key, work, ours, aim in SHARE_AIMS:
        model = result["models"].get(key)
        if model is None or work not in model["texts"]:
            continue
        reached = share_of_peak(result, model, work, ours)
        what = f"{model['title']}, {work}: {ours}'s share of the peak"
        judged.append((what, f"{aim:.0%}", reached, aim))
    return judged


# --- Words


def milliseconds(seconds):
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(rival, work):
    times = rival.get("works", {}).get(work)
    if not times:
        return ""
    of = summary(times)
    if len(times) == 1:
        return milliseconds(of["median"])
    least, most = milliseconds(of["min"]), milliseconds(of["max"])
    return f"{milliseconds(of['median'])} ({least} to {most})"


def markdown_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def machine_line(machine):
    peaks = ", ".join(f"{n} {v / 1e9:.1f}" for n, v in machine.get("gemm_peak", {}).items())
    known = ", ".join(machine["instruction_sets"])
    chosen = ""
    if machine["processors"]:
        chosen = f" on processors {', '.join(map(str, machine['processors']))}"
    line = (
        f"{machine['processor']}, {machine['cores']} cores, {known}, "
        f"{machine['memory_gib']:.0f} GiB, {machine['system']}; {machine['threads']} threads"
        f"{chosen}; {machine['date']}."
    )
    if "bandwidth" in machine:
        line += f" Memory is read at {machine['bandwidth'] / 1e9:.1f} GB/s."
    if peaks:
        line += f" Float32 matrix products, the best of each, in GFLOP/s: {peaks}."
    return line


def works_line(model):
    parts = []
    for work, tokens in model["texts"].items():
        if work == "mixed":
            parts.append(
                f"{work}: {len(tokens)} texts of {min(tokens)} to {max(tokens)} tokens, "
                f"{statistics.mean(tokens):.0f} on average"
            )
    return "; ".join(parts)


def times_table(model):
    works = list(model["texts"])
    ran = {n: r for n, r in model["rivals"].items() if r.get("works")}
    first = works[0]
    order = sorted(ran, key=lambda name: (name not in OURS, median_of(ran[name], first) or 1e9))
    rows = []
    for name in order:
        cells = [cell(ran[name], work) for work in works]
        note = "" if right(model, name) else " (wrong vectors)"
        rows.append([name + note, *cells])
    return markdown_table(["ms", *works], rows)


def ratio_table(model, ours):
    works = list(model["texts"])
    rows = []
    for name in model["rivals"]:
        ratios = [ratio(model, work, ours, name) for work in works]
        if name != ours and any(value is not None for value in ratios):
            rows.append([name, *("" if v is None else f"{v:.2f}" for v in ratios)])
    return markdown_table([f"{ours} is so many times as fast as", *works], rows)


def share_table(result, model):
    works = list(model["texts"])
    rows = []
    for name, rival in model["rivals"].items():
        shares = [share_of_peak(result, model, work, name) for work in works]
        # Integer products have another peak.
        if rival.get("precision") == "f32" and any(share is not None for share in shares):
            rows.append([name, *("" if v is None else f"{v:.0%}" for v in shares)])
    return markdown_table(["share of the float32 peak", *works], rows)


def rival_table(model):
    rows = []
    for name, rival in model["rivals"].items():
        if not rival.get("works"):
            continue
        cosines = rival.get("cosine", {}).values()
        rows.append(
            [
                name,
                ", ".join(f"{key} {value}" for key, value in rival["versions"].items()),
                "; ".join(f"{kind}: {words}" for kind, words in rival.get("settings", {}).items()),
                f"{rival['load_seconds']:.1f}",
                f"{rival['memory_mib']:.0f}",
                f"{rival['peak_memory_mib']:.0f}",
                f"{min(cosines):.4f}" if cosines else "not compared",
            ]
        )
    head = ["", "versions", "settings", "load, s", "memory, MiB", "at most", "smallest cosine"]
    return markdown_table(head, rows)


def failed_lines(model):
    return [
        f"- {name}: not measured: {rival['failed']}"
        for name, rival in model["rivals"].items()
        if "failed" in rival
    ]


def aims_table(result):
    rows = []
    for what, aim, reached, least in judge_aims(result):
        if reached is None:
            rows.append([what, aim, "not measured", ""])
            continue
        shown = f"{reached:.0%}" if "%" in aim else f"{reached:.2f}"
        rows.append([what, aim, shown, "yes" if reached >= least else "no"])
    return markdown_table(["", "aim", "measured", "reached"], rows)


def page(result, images=()):
    """The part of docs/performance.md that is measured."""
    rounds = max(
        (len(times) for model in result["models"].values() for rival in model["rivals"].values()
         for times in rival.get("works", {}).values()),
        default=0,
    )  # fmt: skip
    parts = [
        f"{machine_line(result['machine'])} Made by `{result['command']}`; medians of "
        f"{rounds} round(s), in brackets the fastest and the slowest."
    ]
    for key, model in result["models"].items():
        parts += [f"### {model['title']}", works_line(model), times_table(model)]
        for ours in OURS:
            if ours in model["rivals"]:
                parts.append(ratio_table(model, ours))
        parts += [share_table(result, model), rival_table(model)]
        failed = failed_lines(model)
        if failed:
            parts.append("\n".join(failed))
        pictures = [name for name in images if name.startswith(key)]
        parts += [f"![{name.rsplit('.', 1)[0]}](performance/{name})" for name in pictures]
    parts += ["### What we aim at", aims_table(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def put_between_markers(text, measured):
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"the page lacks the lines {BEGIN!r} and {END!r}")
    return text[: begin + len(BEGIN)] + "\n" + measured + text[end:]
