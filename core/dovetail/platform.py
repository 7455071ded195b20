"""THE CONTRACT between the engine and a hardware platform, version 1.

A platform is a distribution with one entry point in the group `dovetail.platforms` that names a Platform class.
It imports `dovetail.platform`, `dovetail.graph`, `dovetail.errors` and, if it likes, `dovetail_sdk`; nothing else of
the core. It may load a graph's nodes one by one on kernels of its own, or hand the whole graph to a compiler.

    Platform.probe() -> [DeviceInfo]            who is here? touches nothing, never raises
    Platform.open(devices) -> Device            take the devices (open_with: and settings of the platform's own)
    Device.supports(graph) -> (Support, ...)    can you run this? decided once, before serving
    Device.load(graph, weights) -> LoadedModel  weights resident
    LoadedModel.allocate(layout, num_blocks)    the paged cache
    LoadedModel.compile(shape) -> Program       ready to run steps up to that shape
    Program.run(batch) -> Pending               one step, perhaps still running
    Pending.sample(...) -> Ticket[Tokens]       tokens for the rows that want one

Ownership. The core owns slots, block ids and every array it passes; a plugin copies what it needs before the call
returns, and writes to none of them (BlockTransfer's `out` apart). The plugin owns weights, cache and results; an array in
a Tokens or from `fetch` belongs to the caller.

Order. Effects on a LoadedModel are as if executed in the order issued. `sample` for a slot is issued before a `run`
that reads it. No more than `steps_in_flight` steps are issued before the first is waited for.

Threads. One thread at a time calls a Device, its models and their programs; it need not be the one that opened or
loaded them. Only `compile` may run on another thread, beside a step. `probe` is called on a thread of its own.

Blocking. `probe` takes well under a second: one that takes longer than a deadline (10 s, import included) is given up,
and the platform is not used. `run`, `sample`, `fetch`, `copy_blocks` and BlockTransfer return at once where the device is
asynchronous, and may compute before they return where it is not. `done` and `memory` never wait for a step. Everything
else takes as long as it needs: `open`, `supports`, `load`, `allocate` and `compile` run before serving, `wait` and
`result` are there to wait.

Lifetime. A Platform lives as long as the process; constructing it costs nothing. A Device lives from `open` until
`close`, its models are closed before it. A Program is good until its model is closed; several may exist. A Pending is
good until the next-but-one `run`, a Ticket for as long as the caller keeps it; `allocate` and `close` void both where
they were not waited for. A process may open, close and open again. Opening what is open already gives another Device, or
raises PlatformError and leaves the first one as it was.

Blocks. Block 0 is scrap: padding may be written there and is never read. A row owns tokens past .. past + n; its key
and value for position p go to block table[p // S], offset p % S. Blocks that the core shares between rows are never
written. Slot 0 is scrap in the same way.

Errors. `probe` never raises, `close` never raises. `open` raises PlatformError: a device may be gone since `probe`. OutOfMemory
comes from load, workspace, allocate and compile only. CacheLost (allocate again, weights are intact) or DeviceLost (the process is
replaced) from any later call or ticket. What `supports` has not accepted is never loaded. A shape beyond what was
compiled is the core's mistake and may raise ValueError. Any other exception ends the engine, with its text.

Names. Classes that implement these interfaces have the contract's public names and no others, with the contract's parameter
names, order and defaults: registration refuses the rest, so that a misspelt optional member is an error and a later
contract can add names. Names that begin with an underscore are the plugin's own.

Optional. What is not listed here is required. Platform.rank (None: only when named), Platform.contract (1),
DeviceInfo.memory_bytes (None: unknown), .unavailable (None: it can be opened), .emulated (False), every field of Capabilities
that has a default, BlockTransfer on a LoadedModel: all three of its members, or none (then the core recomputes
instead of moving blocks), and Configurable on a Platform: both of its members, or none (then it has no settings).

Versions. A core that speaks contract n takes plugins that were written against n or n - 1 and refuses all others.

Arrays are host NumPy, C-contiguous.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .graph import CacheGroup, Graph, Weight, WeightForm

CONTRACT = 1

OPTIONAL_MEMBERS = ("block_transfer",)
"""Features that are no members of a list."""

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]
A = TypeVar("A", covariant=True)


# ---------------------------------------------------------------------------------------------- what is there


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """One device, as seen without touching it.

    id           what a user writes after the colon of --platform NAME:id
    description  for people: "AMD EPYC 9B45, 2 cores, avx512 bf16 vnni"
    unavailable  why it cannot be used, None if it can
    emulated     its results come from an emulator, not from the hardware it stands for
    """

    id: str
    description: str
    memory_bytes: int | None = None
    unavailable: str | None = None
    emulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOption:
    """A setting of the platform's own: --option NAME=VALUE. The core refuses values that are not as declared.

    name     lower-case letters, digits and underscores. Two names mean the same everywhere and have flags of their own:
             "threads", a whole number of the host's threads that compute, and "precision", some of
             "accurate", "balanced" and "fast"
    help     a line for people
    default  what holds when it is not given, for people: "one per core"
    values   the words it may be; empty: a whole number in [low, high]
    """

    name: str
    help: str
    default: str
    values: tuple[str, ...] = ()
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True)
class CacheForm:
    """A way the device can keep keys and values.

    name            what --kv-cache-dtype takes: "f32", "bf16", "f16", "u8", ...
    block_multiple  a block's tokens must be a multiple of this
    block_maximum   and at most this
    stable          the bytes of a block depend on its tokens alone, not on how the sequence was cut into steps
    compute_dtypes  of graphs that can use it; empty: all that the device computes in
    """

    name: str
    block_multiple: int
    block_maximum: int
    stable: bool = True
    compute_dtypes: tuple[str, ...] = ()


State = Literal["supported", "unsupported", "unverified"]


@dataclass(frozen=True, slots=True)
class Feature:
    """What is known of one feature of a device.

    name    prefix:member for members of the lists in Capabilities: op, dtype, weights, cache, fused, rewrite, column, as
            in "dtype:bf16", "weights:int8", "cache:u8", "op:moe"; or an optional member of the contract: "block_transfer"
    state   supported    it works here, and was seen to (by conformance, or by a trial when the device was opened)
            unsupported  it does not
            unverified   it is offered and nobody has seen it work on this device; used, and the log says so
    reason  how that is known, or what is missing; a line for people
    """

    name: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a device can do, as data. Fixed for the life of a Device.

    The lists say what the core may use; a Feature adds what is known about it. Listed and without a Feature is
    supported, neither listed nor a Feature is unsupported.

    ops              op name -> revision understood (graph/ops.py)
    compute_dtypes   of graphs, best first
    weight_forms     multiplied natively; the core converts other forms before loading
    cache_forms      best first
    fused_ops        fused ops wanted, in order of preference; the core rewrites matches into them
    rewrites         of: "merge_qkv" (one linear for q, k, v), "merge_gate_up" (one for gate and up)
    columns          optional columns of Batch that are understood: "token_types"
    steps_in_flight  steps that may be issued before the first is waited for, at least 1
    dynamic_shapes   one Program serves every smaller shape without padding
    top_logprobs     most alternatives `sample` reports
    max_width        largest head width D, None if any
    features         reasons, and what is unverified; most platforms name what they miss or have not tried
    """

    ops: Mapping[str, int]
    compute_dtypes: tuple[str, ...]
    weight_forms: tuple[WeightForm, ...]
    cache_forms: tuple[CacheForm, ...]
    fused_ops: tuple[str, ...] = ()
    rewrites: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    steps_in_flight: int = 1
    dynamic_shapes: bool = False
    top_logprobs: int = 20
    max_width: int | None = None
    features: tuple[Feature, ...] = ()

    def listed(self) -> tuple[str, ...]:
        """Names of the features on the lists."""
        lists: dict[str, Iterable[object]] = {
            "op": self.ops,
            "dtype": self.compute_dtypes,
            "weights": self.weight_forms,
            "cache": (form.name for form in self.cache_forms),
            "fused": self.fused_ops,
            "rewrite": sorted(self.rewrites),
            "column": sorted(self.columns),
        }
        return tuple(f"{prefix}:{name}" for prefix, names in lists.items() for name in names)

    def feature(self, name: str) -> Feature:
        """What is known of a feature: as declared, else by the lists."""
        for declared in self.features:
            if declared.name == name:
                return declared
        if name in OPTIONAL_MEMBERS:
            return Feature(name, "unverified", "not declared; a loaded model shows it")
        if name in self.listed():
            return Feature(name, "supported", "")
        return Feature(name, "unsupported", "not declared")

    def incoherent(self) -> tuple[str, ...]:
        """What contradicts itself in here, a line each; nothing in a plugin that is right."""
        found = [
            f"{name} is empty"
            for name in ("ops", "compute_dtypes", "weight_forms", "cache_forms")
            if not getattr(self, name)
        ]
        if self.steps_in_flight < 1:
            found.append(f"steps_in_flight is {self.steps_in_flight}; it must be at least 1")
        listed, names = set(self.listed()), [feature.name for feature in self.features]
        found += [f"feature {name} is declared twice" for name in names if names.count(name) > 1]
        for feature in self.features:
            is_listed = feature.name in listed
            if feature.name not in OPTIONAL_MEMBERS and is_listed == (
                feature.state == "unsupported"
            ):
                found.append(
                    f"feature {feature.name} is {feature.state} and {'' if is_listed else 'not '}on its list"
                )
            if not feature.reason:
                found.append(f"feature {feature.name} has no reason")
        return tuple(dict.fromkeys(found))

    def known(self) -> tuple[Feature, ...]:
        """Every feature that is listed, declared or optional."""
        names = (*self.listed(), *OPTIONAL_MEMBERS, *(feature.name for feature in self.features))
        return tuple(self.feature(name) for name in dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; over a mesh, of the member with the least.

    host  the memory is the host's own, shared with this process
    """

    total: int
    free: int
    largest_allocation: int
    host: bool


@dataclass(frozen=True, slots=True)
class Support:
    """Whether and how a node runs.

    kernel  name of what will run it, None if nothing does
    reason  why this kernel, or why none
    """

    node: str
    kernel: str | None
    reason: str = ""


# ---------------------------------------------------------------------------------------------- what is loaded


@runtime_checkable
class WeightSource(Protocol):
    """The numbers of a graph's weights. Reads may come in any order and from any thread."""

    def spec(self, name: str) -> Weight:
        """The weight, as the graph has it."""

    def planes(self, name: str) -> tuple[str, ...]:
        """Names of the planes of the weight's form: "data", and "scale", "zero" where the form has them."""

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        """Rows of a plane; a view of a memory map where nothing has to be converted or joined.

        bf16 comes as ml_dtypes.bfloat16. The array must not be written to.
        """


@dataclass(frozen=True, slots=True)
class KVLayout:
    """How keys and values are paged. block_size is S, form one of the device's cache forms."""

    block_size: int
    form: str
    groups: tuple[CacheGroup, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """The largest step a Program takes: T tokens, R rows, N outputs, M blocks per row."""

    tokens: int
    rows: int
    outputs: int
    blocks: int


# ---------------------------------------------------------------------------------------------- one step


@dataclass(slots=True)
class Batch:
    """What one step computes, exact lengths; the plugin pads to its own buckets.

    tokens      [T]      i32  an id, or ~v: what slot v sampled last
    positions   [P, T]   i32  rotary positions
    row_starts  [R + 1]  i32  row r owns tokens row_starts[r]:row_starts[r + 1], at least one
    slots       [R]      i32  the row's slot
    past        [R]      i32  tokens of the row already in the cache
    tables      per cache group [R, M] i32  the row's blocks in order; 0 past its end
    copies      per cache group [C, 2] i32  (source, target) blocks, copied before the rows run; no target is a source
    outputs     [N]      i32  indices into tokens whose hidden state wants an output

    Columns, None unless the graph has an input of the name; a device lists those it understands in `columns`:

    token_types [T]      i32  which of a sequence's segments a token belongs to, from 0
    """

    tokens: I32
    positions: I32
    row_starts: I32
    slots: I32
    past: I32
    tables: tuple[I32, ...]
    copies: tuple[I32, ...]
    outputs: I32
    token_types: I32 | None = None


@dataclass(slots=True)
class SamplingColumns:
    """How to draw one token for each of n of the step's outputs. All [n] unless said.

    slot         i32  slot register that keeps the token, or -1
    target       i32  -1 draws; otherwise nothing is drawn and this id is scored (prompt log-probabilities)
    temperature  f32  0 takes the largest logit
    top_k        i32  0 keeps all
    top_p        f32  1 keeps all
    min_p        f32  0 keeps all
    seed         u32 [n, 2]  low and high word of the key
    position     i32  counter of the draw: the index of the new token in its sequence
    logprobs     i32  alternatives to report, -1 not even the token's own

    Order: edits, mask, temperature, top-k, top-p, min-p, draw. The draw is Gumbel-max over Philox-4x32-10 (Salmon et
    al. 2011): key = seed, counter = (id >> 2, position, 0, 0), word id & 3, u = (x + 0.5) / 2**32 kept below 1,
    the largest logit / T - log(-log u) wins, ties to the lowest id. Log-probabilities are of the logits after edits
    and mask, before temperature.
    """

    slot: I32
    target: I32
    temperature: F32
    top_k: I32
    top_p: F32
    min_p: F32
    seed: U32
    position: I32
    logprobs: I32


@dataclass(slots=True)
class LateEdits:
    """Changes to logits, known only when the tokens before are. Sparse: most rows have none.

    rows     [e]  i32  index into the sampled rows (0 .. n - 1), sorted
    ids      [e]  i32  vocabulary ids, each at most once per row
    factors  [e]  f32  a positive logit is divided by it, a negative one multiplied
    addends  [e]  f32  then added; -inf forbids the id
    mask_rows  [m]  i32        sampled rows that have a mask
    masks      [m, ceil(V / 32)] u32  bit id & 31 of word id >> 5 allows the id
    """

    rows: I32
    ids: I32
    factors: F32
    addends: F32
    mask_rows: I32
    masks: U32


@dataclass(slots=True)
class Tokens:
    """What was sampled, in the order of the sampled rows.

    ids           [n]     i32  the drawn or scored id
    logprobs      [n]     f32  its log-probability, NaN where not asked for
    top_ids       [n, k]  i32  most likely first, k the most any row asked for; -1 where not asked for
    top_logprobs  [n, k]  f32
    not_finite    [n]     bool the row's logits held NaN or +inf: its token means nothing
    """

    ids: I32
    logprobs: F32
    top_ids: I32
    top_logprobs: F32
    not_finite: NDArray[np.bool_]


class Ticket(ABC, Generic[A]):
    """A result that may still be on its way."""

    @abstractmethod
    def done(self) -> bool:
        """Whether `result` would return at once."""

    @abstractmethod
    def result(self) -> A:
        """Wait and return it; raises what the device raised."""


class Pending(ABC):
    """One step in flight."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the step has finished."""

    @abstractmethod
    def wait(self) -> None:
        """Block until the step has finished; raises CacheLost or DeviceLost."""

    @abstractmethod
    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        """Draw a token for some of the step's outputs.

        rows [n] i32, indices into batch.outputs. May be called again for other rows, until the next-but-one `run`.
        """

    @abstractmethod
    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        """An output of the graph at some of its N rows, [n, V] or [n, E]; before the next `run`."""


class Program(ABC):
    """A graph made ready for steps up to a shape.

    shape  the one it was compiled for, or a larger one
    """

    shape: Shape

    @abstractmethod
    def run(self, batch: Batch) -> Pending:
        """Start one step; returns at once where the device is asynchronous. Keeps no array of the caller."""


class LoadedModel(ABC):
    """Weights on the device, then the paged cache."""

    @abstractmethod
    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        """Bytes of one block per cache group, all its layers and padding included."""

    @abstractmethod
    def workspace(self, shape: Shape) -> int:
        """Peak bytes of a step beyond weights and cache, its logits included."""

    @abstractmethod
    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        """Make the cache, block 0 included in the count.

        Again: the old cache is dropped first, and with it the steps in flight, whose results are void.
        """

    @abstractmethod
    def compile(self, shape: Shape) -> Program:
        """Blocking; may run beside a step, on another thread. Warms up whatever a first step would pay for."""

    @abstractmethod
    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        """Copy whole blocks within a group, in order with the steps."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back. Twice does no harm."""


@runtime_checkable
class BlockTransfer(Protocol):
    """Optional on a LoadedModel, all of it or none: moving blocks to and from host memory.

    block_format  layout, mesh and dtype in one string; equal strings may exchange bytes
    """

    block_format: str

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        """Blocks as of the moment of the call, into out [len(blocks), block_bytes]."""

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        """The other way."""


class Device(ABC):
    """An open device, or a mesh of them. Several models may be loaded on it.

    capabilities  the same value for as long as the device is open
    """

    capabilities: Capabilities

    @abstractmethod
    def memory(self) -> Memory:
        """As of now; other processes count."""

    @abstractmethod
    def supports(self, graph: Graph) -> tuple[Support, ...]:
        """For every node of the graph, in order: what runs it, or why nothing does."""

    @abstractmethod
    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        """Make weights resident. The graph is one that `supports` accepted whole."""

    @abstractmethod
    def close(self) -> None:
        """Give the device back. Twice does no harm."""


class Platform(ABC):
    """What an entry point in the group `dovetail.platforms` names; constructed without arguments.

    Importing its module imports no framework and takes well under a second.

    name      what a user writes: --platform NAME
    contract  the CONTRACT it was written against, as a literal number: it must not follow the core that is installed
    rank      order of preference when the user names none, highest first; None: only when named
    """

    name: str
    contract: int = 1
    rank: int | None = None

    @abstractmethod
    def probe(self) -> list[DeviceInfo]:
        """The devices here, usable or not, each id once. Never raises, never initialises or locks a device."""

    @abstractmethod
    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """Take devices that `probe` returned; several make a mesh. Raises PlatformError, also for one gone since."""


@runtime_checkable
class Configurable(Protocol):
    """Optional on a Platform, both or none: settings of its own, declared as data.

    options  each name once
    """

    options: tuple[DeviceOption, ...]

    def open_with(self, devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
        """As `open`, which is the same as no options; those given have values as declared."""


@dataclass(frozen=True, slots=True)
class Ready(Ticket[A]):
    """A ticket whose result is already there."""

    value: A = field()

    def done(self) -> bool:
        return True

    def result(self) -> A:
        return self.value


OutputName = Literal["logits", "hidden"]
