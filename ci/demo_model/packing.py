"""Batches without padding to speak of: conversations packed into rows of a few fixed lengths.

Fixed lengths let the compiled model be compiled once per length.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROW_LENGTHS = (256, 512, 1024, 2048)
BATCH_TOKENS = 4096
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Piece:
    """One conversation: its tokens and which of them are trained on."""

    tokens: np.ndarray
    trained: np.ndarray


@dataclass(frozen=True, slots=True)
class Batch:
    """tokens, targets, documents: [R, T] with R * T = BATCH_TOKENS; used counts real tokens."""

    tokens: Tensor
    targets: Tensor
    documents: Tensor
    used: int


def read_shard(path: Path) -> list[Piece]:
    """The conversations of a shard that fit the longest row."""
    arrays = np.load(path)
    tokens, trained, starts = arrays["tokens"], arrays["trained"], arrays["starts"]
    spans = zip(starts[:-1], starts[1:], strict=True)
    pieces = (Piece(tokens[start:stop], trained[start:stop]) for start, stop in spans)
    return [piece for piece in pieces if len(piece.tokens) <= ROW_LENGTHS[-1]]


def rows(pieces: list[Piece]) -> list[tuple[int, list[Piece]]]:
    """Best fit: each conversation, longest first, goes to the fullest row that still has room.

    A new row has the shortest of ROW_LENGTHS that holds the conversation; later, shorter
    conversations fill what is left. Returns each row's length with what it holds.
    """
    filled: list[tuple[int, list[Piece]]] = []
    rooms: list[list[int]] = [[] for _ in range(ROW_LENGTHS[-1] + 1)]
    for piece in sorted(pieces, key=lambda item: -len(item.tokens)):
        size = len(piece.tokens)
        room = next((room for room in range(size, len(rooms)) if rooms[room]), None)
        if room is None:
            room = next(length for length in ROW_LENGTHS if length >= size)
            filled.append((room, []))
            index = len(filled) - 1
        else:
            index = rooms[room].pop()
        filled[index][1].append(piece)
        rooms[room - size].append(index)
    return filled


def batches(pieces: list[Piece], rng: random.Random) -> Iterator[Batch]:
    """All the pieces in batches of random order; what fills no whole batch is left out."""
    packed = rows(pieces)
    rng.shuffle(packed)
    whole: list[tuple[int, list[list[Piece]]]] = []
    for length in ROW_LENGTHS:
        same = [held for row_length, held in packed if row_length == length]
        per_batch = BATCH_TOKENS // length
        for start in range(0, len(same) - per_batch + 1, per_batch):
            whole.append((length, same[start : start + per_batch]))
    rng.shuffle(whole)
    for length, chosen in whole:
        yield collate(chosen, length)


def collate(chosen: list[list[Piece]], length: int) -> Batch:
    tokens = np.zeros((len(chosen), length), np.int64)
    targets = np.full((len(chosen), length), IGNORED, np.int64)
    documents = np.full((len(chosen), length), -1, np.int64)
    used = 0
    for row, pieces in enumerate(chosen):
        at = 0
        for number, piece in enumerate(pieces):
            end = at + len(piece.tokens)
            tokens[row, at:end] = piece.tokens
            documents[row, at:end] = number
            following = np.where(piece.trained[1:], piece.tokens[1:].astype(np.int64), IGNORED)
            targets[row, at : end - 1] = following
            at = end
        used += at
    return Batch(
        torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(documents), used
    )
