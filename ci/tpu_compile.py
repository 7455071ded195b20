"""Compile Llama-3.1-8B for TPUs that are not here, and hold what the compiler says to what is recorded.

    python ci/tpu_compile.py             compare with ci/tpu_compile.toml; says why not where libtpu is not installed
    python ci/tpu_compile.py --record    write what was found there

libtpu (656 MB) has the chips' own compiler, which needs no chip: programs that do not fit the vector memory or the chip's are
refused, the sums between chips can be counted, and the cache must be changed in place. What is recorded is of one release of it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata, util
from math import prod
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_suffix(".toml")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
}
ROWS, TOKENS, CONTEXT, BLOCK = 256, 2048, 8192, 16
SLACK = 1.05
"""How much more memory than recorded a program may take."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is compiled for: a topology's name for the compiler, members, tokens that the cache has room for, and the buckets, all
    if none are named."""

    name: str
    chip: str
    topology: str
    members: int
    weights: str
    cache: str
    cache_tokens: int
    tokens: tuple[int, ...] = ()


MACHINES = (
    Machine("v5e-4", "v5e", "v5e:2x2", 4, "bf16", "bf16", 160_000),
    Machine("v6e-1", "v6e", "v6e:2x2", 1, "bf16", "bf16", 64_000),
    Machine("v5p-4", "v5p", "v5p:2x2x1", 4, "bf16", "bf16", 640_000),
    Machine("v6e-1-int8", "v6e", "v6e:2x2", 1, "int8", "fp8", 128_000, (256,)),
    Machine("v5e-4-int4", "v5e", "v5e:2x2", 4, "int4", "fp8", 160_000, (256,)),
)


def main() -> int:
    """Exit status: 0 if everything is as recorded, or nothing could be compiled."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--record", action="store_true")
    parser.add_argument(
        "--only", default="", help="machines and tokens in whose name this is found"
    )
    options = parser.parse_args()
    library = util.find_spec("libtpu")
    if library is None or library.origin is None:
        print("skipped: libtpu is not installed (pip install 'dovetail-tpu[hardware]')")
        return 0
    os.environ |= {
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_LIBRARY_PATH": str(Path(library.origin).with_name("libtpu.so")),
        "JAX_PLATFORMS": "cpu",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    version = metadata.version("libtpu")
    recorded: dict[str, Any] = tomllib.loads(RECORD.read_text()) if RECORD.exists() else {}
    before = recorded.pop("libtpu", None)
    if not options.record and before != version:
        print(f"error: libtpu {version} is installed; {RECORD.name} is of {before}; see --record")
        return 1
    found: dict[str, dict[str, int]] = {}
    for machine in MACHINES:
        found |= compile_all(machine, options.only)
        if options.record:
            RECORD.write_text(rendered(version, {**recorded, **found}))
    if options.record:
        return 0
    faults = compared(recorded, found, whole=not options.only)
    print("\n".join(faults) or f"{len(found)} programs are as recorded")
    return 1 if faults else 0


def compile_all(machine: Machine, only: str) -> dict[str, dict[str, int]]:
    """What the compiler says of every bucket of a machine."""
    from dovetail.graph import INT4, INT8, passes, with_forms
    from dovetail.models import build
    from dovetail.platform import KVLayout, Shape
    from dovetail_tpu.buckets import ladder
    from dovetail_tpu.chips import chips
    from dovetail_tpu.lower import Lowered
    from dovetail_tpu.target import Target
    from dovetail_tpu.trace import Settings
    from jax.experimental import topologies

    chip = chips()[machine.chip]
    graph = build(CONFIG, dtype="bf16", max_model_len=CONTEXT)
    if machine.weights != "bf16":
        form = INT8 if machine.weights == "int8" else INT4
        names = [name for name in graph.weights if name.endswith("_proj.weight")]
        graph = with_forms(graph, dict.fromkeys(names, form))
    graph = passes.merge_linears(graph, qkv=False, gate_up=True)
    if machine.members > 1:
        graph = passes.shard(graph, machine.members).local(0)
    lowered = Lowered.of(graph)
    layout = KVLayout(32 if machine.cache == "fp8" else BLOCK, machine.cache, graph.cache)
    blocks = machine.cache_tokens // layout.block_size
    shape = Shape(TOKENS, ROWS, ROWS + 64, CONTEXT // layout.block_size)
    topology = topologies.get_topology_desc(machine.topology, "tpu")
    settings = Settings(chip, pallas=True, members=machine.members)
    target = Target(tuple(topology.devices[: machine.members]), settings, emulated=False)
    found = {}
    for bucket in ladder(shape, chip):
        name = f"{machine.name}-{bucket.tokens}"
        if only in name and bucket.tokens in (machine.tokens or (bucket.tokens,)):
            found[name] = compile_one(target, lowered, bucket, layout, blocks)
            print(name, found[name], flush=True)
            room = chip.hbm_gib << 30
            if found[name]["bytes"] > room:
                raise SystemExit(f"{name} takes {found[name]['bytes']} bytes; the chip has {room}")
    return found


def compile_one(target: Any, lowered: Any, bucket: Any, layout: Any, blocks: int) -> dict[str, int]:
    """Compile one program; its memory, and the sums between chips in the loop over layers."""
    import jax
    from dovetail_tpu.executable import lower_step
    from dovetail_tpu.feed import format_of
    from dovetail_tpu.resident import SLOTS, cache_shape
    from dovetail_tpu.trace import DTYPES
    from dovetail_tpu.weights import param_shapes

    struct: Any = jax.ShapeDtypeStruct  # which has no types
    params = {
        name: {
            plane: struct(target.shape(shape), dtype) for plane, (shape, dtype) in planes.items()
        }
        for name, planes in param_shapes(lowered).items()
    }
    dtype = DTYPES[layout.form]
    caches = [
        (target.shape(cache_shape(target, layout, group, blocks)), dtype)
        for group in lowered.graph.cache
    ]
    cache_bytes = sum(prod(shape) for shape, _ in caches) * dtype.dtype.itemsize // target.members
    form = format_of(bucket, lowered.graph.inputs, layout)
    compiled = lower_step(target, lowered, bucket, form, params, caches, SLOTS).compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    given_away = cache_bytes + 4 * SLOTS  # the cache, and every slot's last token
    if memory.alias_size_in_bytes != given_away:
        raise SystemExit(
            f"of {given_away} bytes that are given away {memory.alias_size_in_bytes} are changed in place"
        )
    arguments, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    fresh = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "bytes": arguments + temporary + fresh,
        "temporary": temporary,
        "cache": cache_bytes,
        "all_reduces": len(re.findall(r" all-reduce(?:-start)?\(", text)),
        "kernels": text.count("tpu_custom_call"),
    }


def compared(
    recorded: dict[str, dict[str, int]], found: dict[str, dict[str, int]], *, whole: bool
) -> list[str]:
    """What is worse than recorded, a line each; whole: everything was compiled."""
    faults = []
    for name, now in found.items():
        before = recorded.get(name)
        if before is None:
            faults.append(f"{name} is not recorded; run with --record")
            continue
        if now["bytes"] > before["bytes"] * SLACK:
            faults.append(f"{name} takes {now['bytes']} bytes; {before['bytes']} are recorded")
        faults += [
            f"{name} has {now[key]} {key}; {before[key]} are recorded"
            for key in ("all_reduces", "kernels")
            if now[key] != before[key]
        ]
    if whole:
        faults += [
            f"{name} is recorded and was not compiled" for name in recorded if name not in found
        ]
    return faults


def rendered(version: str, found: dict[str, dict[str, int]]) -> str:
    """The record."""
    lines = [
        "# Made by ci/tpu_compile.py --record: what the chips' compiler says of Llama-3.1-8B, bytes on one chip.\n",
        f'libtpu = "{version}"\n',
    ]
    for name, numbers in found.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in numbers.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
