"""Pictures of what compare.py wrote with --suite concurrency and --suite rates.

    python ci/bench/peers/plots.py DIRECTORY FILE [FILE ...]

Writes throughput.png (tokens per second against clients) and latency.png (time to the first token and between tokens
against requests per second) into DIRECTORY. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter
from report import OURS, Result, read

COLOURS = {
    OURS: "#c2410c",
    "dovetail-fast": "#f59e0b",
    "vllm": "#2563eb",
    "llama-server": "#16a34a",
    "genai": "#7c3aed",
}


def series(results: list[Result], word: str, figure: str) -> dict[str, list[tuple[float, float]]]:
    """Per engine (x, median of the figure), for workloads named "word x"."""
    values: dict[tuple[str, float], list[float]] = defaultdict(list)
    for result in results:
        first, _, x = result["workload"].partition(" ")
        if first == word and result.get(figure) is not None:
            values[result["engine"].split()[0], float(x)].append(result[figure])
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (engine, x), found in sorted(values.items()):
        lines[engine].append((x, statistics.median(found)))
    return lines


def draw(axes: Axes, results: list[Result], word: str, figure: str, label: str) -> None:
    for engine, points in series(results, word, figure).items():
        width = 2.6 if engine == OURS else 1.6
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker="o",
            label=engine,
            color=COLOURS.get(engine),
            linewidth=width,
        )
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.set_ylim(bottom=0)


def throughput(results: list[Result], path: Path, title: str) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2))
    draw(axes, results, "clients", "tokens_per_s", "output tokens per second")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("clients, each asking again as soon as it is answered")
    axes.set_title(title)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def latency(results: list[Result], path: Path, title: str) -> None:
    figure, (first, gap) = plt.subplots(1, 2, figsize=(11, 4.2))
    draw(first, results, "rate", "first_p50_ms", "time to first token, median, ms")
    draw(gap, results, "rate", "gap_p99_ms", "between deliveries, p99, ms")
    for axes in (first, gap):
        axes.set_xlabel("requests per second")
    first.legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    results = read(given.files)
    about = results[0]
    title = f"{about['model']}, {about['weights']}, prompts of 256, answers of 64 tokens"
    given.directory.mkdir(parents=True, exist_ok=True)
    throughput(results, given.directory / "throughput.png", title)
    latency(results, given.directory / "latency.png", title)


if __name__ == "__main__":
    main()
