"""Tables of what compare.py wrote: medians over the rounds, and our ratio to each peer.

    python ci/bench/peers/report.py [--ours dovetail-fast] FILE [FILE ...]

Ratios are of the rounds' medians and above 1 where we are better; --ours names the one of ours that they are of. `noise` is the most cores that other programs took in
any round of the row.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

OURS = "dovetail"
FIGURES = {  # workload's first word -> (figure, digits, larger is better)
    "start": (("first_token_s", 1, False),),
    "single": (("stream_tokens_per_s", 1, True), ("first_p50_ms", 0, False)),
    "prompt": (("prompt_tokens_per_s", 0, True),),
}
SERVING = (("tokens_per_s", 0, True), ("first_p99_ms", 0, False), ("gap_p99_ms", 0, False))
MEMORY = ("memory", 0, False)
Result = dict[str, Any]


def read(paths: Iterable[Path]) -> list[Result]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def tables(results: list[Result], ours: str = OURS) -> Iterator[str]:
    """A table per model and form of weights; ratios are of `ours` to the others."""
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result["model"], result["weights"]].append(result)
    for (model, weights), members in groups.items():
        names = list(dict.fromkeys(result["engine"].split()[0] for result in members))
        yield f"### {model}, {weights}, {members[0]['at'].split()[0]}\n"
        names.sort(key=lambda name: name != ours)
        heads = [*names, *(f"ratio to {name}" for name in names[1:])]
        yield "| workload | figure | " + " | ".join(heads) + " | noise |"
        yield "|" + "---|" * (len(heads) + 3)
        yield from _rows(members, names)
        yield ""


def _rows(members: list[Result], names: list[str]) -> Iterator[str]:
    by_workload: dict[str, list[Result]] = defaultdict(list)
    for member in members:
        by_workload[member["workload"]].append(member)
    for workload, found in by_workload.items():
        for figure, digits, larger in FIGURES.get(workload.split()[0], SERVING):
            yield _row(workload, figure, digits, larger, found, names)
    measured = [m for m in members if m["workload"] != "start"]
    if measured:
        last = {m["engine"].split()[0]: m for m in measured}
        yield _row("at the end", *MEMORY, list(last.values()), names)


def _row(
    workload: str, figure: str, digits: int, larger: bool, found: list[Result], names: list[str]
) -> str:
    medians = {}
    for name in names:
        values = [
            result[figure]
            for result in found
            if result["engine"].split()[0] == name and result.get(figure) is not None
        ]
        if values:
            medians[name] = statistics.median(values)
    scale, unit = (1 / 2**20, "memory_mib") if figure == "memory" else (1, figure)
    cells = [f"{medians[name] * scale:,.{digits}f}" if name in medians else "" for name in names]
    ratios = [_ratio(medians, names[0], name, larger) for name in names[1:]]
    noise = max((result.get("other_cores", 0.0) for result in found), default=0.0)
    return f"| {workload} | {unit} | " + " | ".join([*cells, *ratios]) + f" | {noise:.2f} |"


def _ratio(medians: dict[str, float], ours: str, peer: str, larger: bool) -> str:
    if ours not in medians or peer not in medians:
        return ""
    own, other = medians[ours], medians[peer]
    return f"{own / other if larger else other / own:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ours", default=OURS)
    given = parser.parse_args()
    for line in tables(read(given.files), given.ours):
        print(line)


if __name__ == "__main__":
    main()
