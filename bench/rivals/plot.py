# In: what run.py measured, as JSON. Out: PNG pictures. Run with the environment "plot".
"""usage: plot.py RESULT.json FOLDER"""

import json
import pathlib
import sys

import matplotlib
import matplotlib.ticker
import report

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

STYLES = {"f32": "-", "int8": "--"}


def shape(work):
    return None if work == "mixed" else tuple(map(int, work.split("x")))


def lines(model, choose, value):
    """rival -> [(x, y)] of the works that `choose` gives an x for."""
    found = {}
    for name, rival in model["rivals"].items():
        points = []
        for work in model["texts"]:
            seconds = report.median_of(rival, work)
            if shape(work) and choose(*shape(work)) and seconds and report.right(model, name):
                points.append((choose(*shape(work)), value(shape(work), seconds)))
        if points:
            found[name] = sorted(points)
    return found


def draw(model, found, labels, path):
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.set_prop_cycle(color=plt.colormaps["tab20"].colors)
    for name, points in found.items():
        rival = model["rivals"][name]
        width = 2.5 if name in report.OURS else 1.2
        xs, ys = zip(*points)
        style = STYLES[rival.get("precision", "f32")]
        axes.plot(xs, ys, style, marker="o", linewidth=width, markersize=4, label=name)
    axes.set(title=model["title"], xlabel=labels[0], ylabel=labels[1], xscale="log", yscale="log")
    ticks = sorted({x for points in found.values() for x, _ in points})
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_memory(model, path):
    ran = {n: r for n, r in model["rivals"].items() if r.get("works")}
    names = sorted(ran, key=lambda name: ran[name]["memory_mib"], reverse=True)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.barh(names, [ran[n]["peak_memory_mib"] for n in names], color="0.8", label="at most")
    axes.barh(names, [ran[n]["memory_mib"] for n in names], label="after the last work")
    axes.set(title=f"{model['title']}: memory of the process", xlabel="MiB")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main():
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for key, model in result["models"].items():
        one = lines(model, lambda texts, tokens: tokens if texts == 1 else 0, lambda _, s: 1000 * s)
        draw(model, one, ("tokens of one text", "ms"), folder / f"{key}-latency.png")
        many = lines(model, lambda texts, tokens: texts if tokens == 32 else 0,
                     lambda size, s: size[0] / s)  # fmt: skip
        labels = ("texts of 32 tokens in one call", "texts/s")
        draw(model, many, labels, folder / f"{key}-batch.png")
        draw_memory(model, folder / f"{key}-memory.png")


if __name__ == "__main__":
    main()
