"""Token files: conversations turned into arrays once and read by the trainer as they appear.

A shard holds the conversations of a range of numbers: all tokens end to end, which of them are
trained on, and where each conversation starts.

    python -m ci.demo_model.shards --data /tmp/demo_data --shards 20
"""

import argparse
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ci.demo_model.conversation import pieces
from ci.demo_model.mixture import conversations
from ci.demo_model.tokenizer import train_tokenizer

SHARD_SIZE = 10_000


def load_or_train_tokenizer(data: Path) -> Tokenizer:
    """The tokenizer kept beside the shards, trained if it is not there yet."""
    path = data / "tokenizer.json"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        train_tokenizer().save(str(path))
    return Tokenizer.from_file(str(path))


def shard_path(data: Path, index: int) -> Path:
    return data / f"shard-{index:04d}.npz"


def write_shard(tokenizer: Tokenizer, data: Path, index: int, size: int = SHARD_SIZE) -> None:
    """Write the shard of this index; it appears under its name only once it is whole."""
    tokens: list[int] = []
    trained: list[bool] = []
    starts = [0]
    for conversation in conversations(index * SHARD_SIZE, size):
        for text, learn in pieces(conversation):
            ids = tokenizer.encode(text).ids
            tokens += ids
            trained += [learn] * len(ids)
        starts.append(len(tokens))
    unfinished = data / f"unfinished-{index:04d}.npz"
    np.savez(
        unfinished,
        tokens=np.array(tokens, np.uint16),
        trained=np.array(trained, np.bool_),
        starts=np.array(starts, np.int64),
    )
    unfinished.rename(shard_path(data, index))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shards", type=int, default=40)
    options = parser.parse_args()
    tokenizer = load_or_train_tokenizer(options.data)
    for index in range(options.first, options.first + options.shards):
        if not shard_path(options.data, index).exists():
            write_shard(tokenizer, options.data, index)


if __name__ == "__main__":
    main()
