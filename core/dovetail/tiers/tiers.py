"""What the cache asks of the tiers below it, and what the engine moves for them before each step.

A block that leaves the device is read before the step that overwrites it, kept in host memory and written to disk by another
thread. A prompt's blocks that are on disk are read into host memory before the request joins the line; those in host
memory are written to the device as the request enters, before the first step that reads them. Full blocks only.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from dovetail.cache import Key, Node
from dovetail.platform import BlockTransfer, Ticket

from .courier import Courier, Job
from .disk import DiskTier
from .host import HostTier
from .names import Bytes, Record, child_name, root_name

IDLE_BLOCKS = 4
"""Blocks that are saved at a time while nothing else is to do: a request that comes waits for these."""
FLUSH_BLOCKS = 32
LEAST_UNSAVED = 4096
FLUSH_S = 8.0
"""When the engine is closed, what is not saved by then is not saved."""
log = logging.getLogger("dovetail.tiers")


@dataclass(frozen=True, slots=True)
class TierStats:
    """Gauges, and counters since start (total_*)."""

    host_blocks: int = 0
    disk_blocks: int = 0
    total_saved_blocks: int = 0
    total_restored_blocks: int = 0
    total_disk_errors: int = 0


@dataclass(frozen=True, slots=True)
class Leaving:
    """A block of the device that is to be saved."""

    name: bytes
    parent: bytes
    tokens: Key
    block: int


@dataclass(slots=True)
class _Reading:
    """Blocks on their way to the host. outs: per cache group [n, bytes of a block]."""

    blocks: list[Leaving]
    outs: list[Bytes]
    tickets: list[Ticket[None]]


@dataclass(frozen=True, slots=True)
class Loading:
    """Blocks of a prompt that are being read from disk.

    tokens  that they hold
    """

    job: Job
    tokens: int


class Tiers:
    """Implements dovetail.cache.Below. One thread calls it, the engine's.

    transfer    the loaded model
    widths      bytes of a block per cache group
    block_size  tokens of a block
    identity    of all that blocks depend on beside tokens and salt (`root_identity`)
    """

    def __init__(
        self,
        transfer: BlockTransfer,
        *,
        widths: tuple[int, ...],
        block_size: int,
        identity: bytes,
        host: HostTier,
        disk: DiskTier | None = None,
    ) -> None:
        self.host = host
        self._transfer = transfer
        self._widths = widths
        self._size = block_size
        self._identity = identity
        self._courier = Courier(disk, self._keep) if disk is not None else None
        self._leaving: dict[bytes, Leaving] = {}
        self._arriving: list[tuple[int, Record]] = []
        self._readings: deque[_Reading] = deque()
        self._reading: set[bytes] = set()
        self._unsaved: deque[Node] = deque()
        self._most_unsaved = LEAST_UNSAVED
        self._saved = self._restored = 0

    # ------------------------------------------------------------------------------------- what the cache tells

    def published(self, node: Node) -> None:
        """A node's block is complete; it is saved when there is time."""
        if self._courier is None or len(node.key) != self._size:
            return  # host memory does not outlive the engine: a block is saved when it leaves
        self._unsaved.append(node)
        if len(self._unsaved) > self._most_unsaved:
            self._unsaved = deque(kept for kept in self._unsaved if kept.block)
            self._most_unsaved = max(LEAST_UNSAVED, 2 * len(self._unsaved))

    def leaving(self, node: Node) -> None:
        """A node is about to lose its block to somebody else."""
        self._save(node)

    def following(
        self, node: Node, tokens: Sequence[int], start: int, limit: int
    ) -> list[tuple[Key, Record]]:
        """Full blocks in host memory that go on from a node with tokens[start:limit], in order."""
        found: list[tuple[Key, Record]] = []
        if start + self._size > limit:
            return found
        parent = self._name(node)
        while start + self._size <= limit:
            key = tuple(tokens[start : start + self._size])
            name = child_name(parent, key)
            record = self.host.get(name)
            if record is None or record.tokens != key or record.parent != parent:
                break
            found.append((key, record))
            parent, start = name, start + self._size
        return found

    def arriving(self, node: Node, record: object) -> None:
        """A node has been given a block for a record; it is written before the next step."""
        assert isinstance(record, Record)
        node.name = record.name
        self._arriving.append((node.block, record))

    # ------------------------------------------------------------------------------------ what the engine moves

    def move(self) -> None:
        """Issue what the plan just made needs: blocks that change owners are read, then those restored are written."""
        if self._leaving:
            self._issue_reads()
        if self._arriving:
            self._issue_writes()
        if self._readings:
            self._settle(wait=False)

    def forget_moves(self) -> None:
        """The device's cache is gone, and with it what was to be read from it and written to it."""
        self._leaving.clear()
        self._arriving.clear()
        self._readings.clear()
        self._reading.clear()
        self._unsaved.clear()

    def idle(self) -> bool:
        """Save a few blocks that nobody has asked to save yet; whether there are more."""
        self._settle(wait=True)
        self._save_some(IDLE_BLOCKS, newest=False)
        return bool(self._unsaved or self._readings)

    def begin(
        self, path: Sequence[Node], namespace: Hashable, tokens: Sequence[int], limit: int
    ) -> Loading | None:
        """Start to read what of a prompt is on disk and in no faster place; None if nothing is.

        path   nodes of its first blocks, which the device has
        limit  tokens of it that may be restored
        """
        if self._courier is None:
            return None
        name = self._name(path[-1]) if path else root_name(self._identity, namespace)
        start, wanted = len(path) * self._size, list[bytes]()
        room = self.host.capacity // (2 * sum(self._widths))
        while start + self._size <= limit and len(wanted) < room:
            name = child_name(name, tokens[start : start + self._size])
            if self._courier.disk.contains(name):
                if self.host.get(name) is None:
                    wanted.append(name)
            elif name not in self.host:
                break
            start += self._size
        if not wanted:
            return None
        return Loading(self._courier.load(wanted), len(wanted) * self._size)

    def wait(self, seconds: float) -> None:
        """Until something more was read from disk, for so long at most."""
        if self._courier is not None:
            self._courier.progress.wait(seconds)
            self._courier.progress.clear()

    def stats(self) -> TierStats:
        """As of now."""
        disk = None if self._courier is None else self._courier.disk
        return TierStats(
            host_blocks=len(self.host),
            disk_blocks=0 if disk is None else len(disk),
            total_saved_blocks=self._saved,
            total_restored_blocks=self._restored,
            total_disk_errors=0 if disk is None else disk.errors,
        )

    def clear(self) -> None:
        """Forget every block of every prompt, on disk too; what the device has is the cache's business."""
        self._settle(wait=True)
        self._leaving.clear()
        self._unsaved.clear()
        self.host.clear()
        if self._courier is not None:
            self._courier.clear()

    def close(self) -> None:
        """Save what is not saved, as far as the time goes, and let the disk go. The device is still open, or lost."""
        courier, self._courier = self._courier, None
        if courier is None:
            return
        ends = time.monotonic() + FLUSH_S
        self._courier = courier
        try:
            while self._unsaved and time.monotonic() < ends:
                self._save_some(FLUSH_BLOCKS, newest=True)
            self._settle(wait=True)
            for record in self.host.newest_first():
                if not courier.disk.contains(record.name):
                    courier.save(record, most=self.host.capacity)
        except Exception as error:  # a device that is lost gives nothing back
            log.warning("kv_cache_disk=not-saved reason=%r", str(error))
        self._courier = None
        left = len(self._unsaved) + courier.close(timeout_s=max(0.0, ends - time.monotonic()))
        if left:
            log.warning("kv_cache_disk=not-saved blocks=%d reason='the time was up'", left)

    # --------------------------------------------------------------------------------------------------- within

    def _name(self, node: Node) -> bytes:
        """Its name; every node on the way to it is given one."""
        unnamed = []
        at: Node = node
        while not at.name:
            unnamed.append(at)
            if at.parent is None:
                break
            at = at.parent
        for one in reversed(unnamed):
            if one.parent is None:
                one.name = root_name(self._identity, one.namespace)
            else:
                one.name = child_name(one.parent.name, one.key)
        return node.name

    def _save(self, node: Node) -> None:
        if len(node.key) != self._size or node.parent is None:
            return
        name = self._name(node)
        if name in self._reading or name in self._leaving or name in self.host:
            return
        if self._courier is not None and self._courier.disk.contains(name):
            return
        self._leaving[name] = Leaving(name, node.parent.name, node.key, node.block)

    def _save_some(self, count: int, *, newest: bool) -> None:
        while self._unsaved and len(self._leaving) < count:
            node = self._unsaved.pop() if newest else self._unsaved.popleft()
            if node.block:
                self._save(node)
        if self._leaving:
            self._issue_reads()
            self._settle(wait=True)

    def _issue_reads(self) -> None:
        blocks = list(self._leaving.values())
        self._leaving.clear()
        ids = np.array([leaving.block for leaving in blocks], np.int32)
        outs = [np.empty((len(blocks), width), np.uint8) for width in self._widths]
        tickets = [self._transfer.read_blocks(group, ids, out) for group, out in enumerate(outs)]
        self._reading.update(leaving.name for leaving in blocks)
        self._readings.append(_Reading(blocks, outs, tickets))

    def _issue_writes(self) -> None:
        ids = np.array([block for block, _ in self._arriving], np.int32)
        records = [record for _, record in self._arriving]
        self._arriving.clear()
        start = 0
        for group, width in enumerate(self._widths):
            data = np.stack([record.data[start : start + width] for record in records])
            self._transfer.write_blocks(group, ids, data)
            start += width
        self._restored += len(records)

    def _settle(self, *, wait: bool) -> None:
        """Keep what has been read."""
        while self._readings:
            reading = self._readings[0]
            if not wait and not all(ticket.done() for ticket in reading.tickets):
                return
            self._readings.popleft()
            for ticket in reading.tickets:
                ticket.result()
            for index, leaving in enumerate(reading.blocks):
                data = np.concatenate([out[index] for out in reading.outs])
                self._reading.discard(leaving.name)
                self._saved += 1
                record = Record(leaving.name, leaving.parent, leaving.tokens, data)
                gone = self._keep(record)
                if self._courier is not None and not any(old is record for old in gone):
                    self._courier.save(record)

    def _keep(self, record: Record) -> list[Record]:
        """Put it into host memory; what has to go for it is written to disk unless it is there."""
        gone = self.host.put(record)
        if self._courier is not None:
            for old in gone:
                if not self._courier.disk.contains(old.name):
                    self._courier.save(old)
        return gone
