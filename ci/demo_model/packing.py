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


def rows(pieces: list[Piece], length: int) -> list[list[Piece]]:
    """Best fit: each conversation, longest first, goes to the fullest row that still has room."""
    filled: list[list[Piece]] = []
    rooms: list[list[int]] = [[] for _ in range(length + 1)]
    for piece in sorted(pieces, key=lambda item: -len(item.tokens)):
        size = len(piece.tokens)
        room = next((room for room in range(size, length + 1) if rooms[room]), None)
        if room is None:
            filled.append([])
            index, room = len(filled) - 1, length
        else:
            index = rooms[room].pop()
        filled[index].append(piece)
        rooms[room - size].append(index)
    return filled


def batches(pieces: list[Piece], rng: random.Random) -> Iterator[Batch]:
    """All the pieces in batches of random order; what fills no whole batch is left out."""
    whole: list[tuple[int, list[list[Piece]]]] = []
    shorter = 0
    for length in ROW_LENGTHS:
        fitting = [piece for piece in pieces if shorter < len(piece.tokens) <= length]
        packed = rows(fitting, length)
        rng.shuffle(packed)
        per_batch = BATCH_TOKENS // length
        for start in range(0, len(packed) - per_batch + 1, per_batch):
            whole.append((length, packed[start : start + per_batch]))
        shorter = length
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
    return Batch(*(torch.from_numpy(array) for array in (tokens, targets, documents)), used)
