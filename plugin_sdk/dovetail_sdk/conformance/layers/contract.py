"""Contract: who is here, what is promised, and whether the promises hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from dovetail.errors import OutOfMemory, PlatformError, UnsupportedOp
from dovetail.graph import COMPUTE_DTYPES, OPS, Graph, Node, case_graph, cases, passes
from dovetail.platform import (
    CONTRACT,
    BlockTransfer,
    Capabilities,
    Configurable,
    DeviceInfo,
    KVLayout,
    Memory,
    Support,
)

from dovetail_sdk.conformance.check import Check, Failed, Unsupported, expect
from dovetail_sdk.conformance.context import Config, Context
from dovetail_sdk.conformance.driving import Row
from dovetail_sdk.conformance.numbers import require_close
from dovetail_sdk.conformance.tiny import Tiny, prompt, tolerance

FRAMEWORKS = (
    "cupy",
    "jax",
    "mlx",
    "numba",
    "onnxruntime",
    "openvino",
    "paddle",
    "pyopencl",
    "tensorflow",
    "torch",
    "transformers",
    "triton",
)
"""What importing a plugin's module must not import."""

REQUIRED = (
    "embed",
    "linear",
    "rms_norm",
    "rope",
    "kv_write",
    "attention",
    "gated_activation",
    "add",
    "reshape",
    "take_rows",
)
"""Ops that no decoder does without; a device runs them as they are, fused or taken apart."""


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        probe_tells_who_is_here,
        names_and_versions,
        import_imports_no_framework,
        open_and_close_twice,
        open_what_is_open,
        options_are_taken_as_declared,
        capabilities_are_coherent,
        memory_is_plausible,
        supports_answers_in_order,
        unknown_ops_are_refused,
        declared_ops_are_accepted_or_refused_with_a_reason,
        required_ops_run,
        declared_dtypes_and_cache_forms_run,
        declared_weight_forms_run,
        block_transfer_is_all_or_nothing,
        too_large_a_cache_is_out_of_memory,
        models_close_twice,
    )
    return (Check("contract", function.__name__, function) for function in functions)


def probe_tells_who_is_here(context: Context) -> None:
    """Never raises, gives the same ids every time, each once."""
    first, second = context.platform.probe(), context.platform.probe()
    expect(isinstance(first, list), f"probe returned {type(first).__name__}, not a list")
    for info in first:
        expect(isinstance(info, DeviceInfo), f"probe returned a {type(info).__name__}")
        expect(info.id and not set(info.id) & set(":, "), f"device id {info.id!r} cannot be typed")
        expect(info.description, f"device {info.id} has no description")
        expect(info.unavailable is None or info.unavailable, f"device {info.id}: no reason given")
    ids = [info.id for info in first]
    expect(len(set(ids)) == len(ids), f"device ids {ids} are not unique")
    expect(ids == [info.id for info in second], "probe saw other devices the second time")


def names_and_versions(context: Context) -> None:
    """Name, contract and rank are what a command line and a registry can use."""
    platform = context.platform
    name = platform.name
    expect(isinstance(name, str) and name, f"name is {name!r}")
    expect(not set(name) & set(":, ") and name == name.lower(), f"name {name!r} cannot be typed")
    expect(
        type(platform.contract) is int and platform.contract in (CONTRACT, CONTRACT - 1),
        f"contract is {platform.contract!r}; this suite is for {CONTRACT}",
    )
    rank = platform.rank
    expect(rank is None or type(rank) is int, f"rank is {rank!r}; a whole number or None is needed")


def import_imports_no_framework(context: Context) -> None:
    """In an interpreter of its own."""
    module = type(context.platform).__module__
    if module == "__main__":
        raise Unsupported("the platform is defined in a script")
    code = (
        f"import importlib, sys; importlib.import_module({module!r}); "
        f"print(*sorted({set(FRAMEWORKS)!r} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    expect(done.returncode == 0, f"importing {module} failed: {done.stderr.strip()[-500:]}")
    expect(not done.stdout.split(), f"importing {module} imports {done.stdout.strip()}")


def open_and_close_twice(context: Context) -> None:
    """Close, close again, open again: closing never raises and gives the device back."""
    for _ in range(2):
        device = context.platform.open(context.devices)
        expect(isinstance(device.capabilities, Capabilities), "capabilities is no Capabilities")
        device.close()
        device.close()


def open_what_is_open(context: Context) -> None:
    """Gives another Device, or PlatformError; the first one works on either way."""
    tiny, config, tokens = Tiny(), context.main, prompt(5)
    with tiny.open(context, config) as session:
        wanted = session.whole(tokens, [3, 2])
        try:
            other = context.platform.open(context.devices)
        except PlatformError:
            other = None
        if other is not None:
            expect(other is not context.device, "open returned the Device that is open already")
            with tiny.load(other, config) as second:
                found = second.whole(tokens, [2, 3])
            other.close()
            require_close("the second Device", found, wanted, tolerance(config))
        require_close(
            "the first Device afterwards", session.whole(tokens, [3, 2]), wanted, tolerance(config)
        )


def options_are_taken_as_declared(context: Context) -> int:
    """open_with takes no option at all, and every option alone at each of its words or at both its bounds."""
    if not isinstance(context.platform, Configurable):
        raise Unsupported("the platform has no options of its own")
    tried = 0
    for option in context.platform.options:
        expect(option.help and option.default, f"option {option.name} lacks help or default")
        for value in option.values or (str(option.low), str(option.high)):
            context.platform.open_with(context.devices, {option.name: value}).close()
            tried += 1
    context.platform.open_with(context.devices, {}).close()
    return tried


def capabilities_are_coherent(context: Context) -> None:
    """Lists name what there is, and agree with each other."""
    able = context.capabilities
    faults = list(able.incoherent())
    faults += [
        f"op {name} has revision {revision}; {OPS[name].revision if name in OPS else 'no such op'}"
        for name, revision in able.ops.items()
        if name not in OPS or not 1 <= revision <= OPS[name].revision
    ]
    faults += [f"dtype {d} does not exist" for d in able.compute_dtypes if d not in COMPUTE_DTYPES]
    faults += [f"fused op {name} is not in ops" for name in able.fused_ops if name not in able.ops]
    for form in able.cache_forms:
        if not 1 <= form.block_multiple <= form.block_maximum:
            faults.append(f"cache form {form.name}: no block size between its limits")
        if strange := set(form.compute_dtypes) - set(able.compute_dtypes):
            faults.append(f"cache form {form.name} is for {sorted(strange)}, not computed in")
    for name in ("compute_dtypes", "weight_forms", "fused_ops"):
        values = getattr(able, name)
        if len(set(values)) != len(values):
            faults.append(f"{name} names something twice")
    names = [form.name for form in able.cache_forms]
    if len(set(names)) != len(names):
        faults.append("cache_forms names something twice")
    if able.top_logprobs < 0:
        faults.append(f"top_logprobs is {able.top_logprobs}")
    expect(not faults, "; ".join(faults))
    expect(context.capabilities == able, "capabilities changed while the device was open")


def memory_is_plausible(context: Context) -> None:
    """Bytes, and free no more than there is."""
    memory = context.device.memory()
    expect(isinstance(memory, Memory), f"memory returned a {type(memory).__name__}")
    expect(memory.total > 0 and 0 <= memory.free <= memory.total, f"{memory}")
    expect(0 <= memory.largest_allocation <= memory.total, f"{memory}")


def supports_answers_in_order(context: Context) -> None:
    """One Support per node, in order, the same every time."""
    graph = Tiny().graph(context.main.dtype)
    answers = context.device.supports(graph)
    expect(all(isinstance(answer, Support) for answer in answers), "not every answer is a Support")
    names = [answer.node for answer in answers]
    expect(names == [node.name for node in graph.nodes], f"answers are about {names}")
    expect(tuple(answers) == tuple(context.device.supports(graph)), "asked again it says otherwise")
    silent = [answer.node for answer in answers if answer.kernel is None and not answer.reason]
    expect(not silent, f"refused without a reason: {silent}")


def unknown_ops_are_refused(context: Context) -> None:
    """An op that nobody has is an answer, never an exception; the other nodes are answered all the same."""
    graph = Tiny().graph(context.main.dtype)
    strange = [
        replace(node, op="conformance.unknown") if node.op == "gated_activation" else node
        for node in graph.nodes
    ]
    answers = {answer.node: answer for answer in context.device.supports(replaced(graph, strange))}
    for node in strange:
        if node.op == "conformance.unknown":
            answer = answers.get(node.name)
            expect(answer is not None and answer.kernel is None, f"{node.name} was accepted")
            expect(answer is not None and answer.reason, f"{node.name} is refused without a reason")


def replaced(graph: Graph, nodes: list[Node]) -> Graph:
    """The graph with other nodes."""
    return replace(graph, nodes=tuple(nodes))


def declared_ops_are_accepted_or_refused_with_a_reason(context: Context) -> int:
    """At least one case of every op on the list is accepted; refusals have reasons."""
    able = context.capabilities
    for op in able.ops:
        if op not in OPS:
            continue
        offered = [case for case in cases(op) if case.dtype in able.compute_dtypes]
        refusals = []
        for case in offered:
            try:
                context.supports(case_graph(case))
                break
            except Unsupported as refusal:
                refusals.append(str(refusal))
        else:
            raise Failed(
                f"op {op} is declared and all {len(offered)} cases are refused: {refusals[:1]}"
            )
    return len(able.ops)


def required_ops_run(context: Context) -> int:
    """What no decoder does without is accepted in every dtype, perhaps fused or taken apart."""
    device, able = context.device, context.capabilities
    done = 0
    for dtype in able.compute_dtypes:
        graph = Tiny().graph(dtype)
        try:
            passes.prepare(graph, ops=able.ops, supports=device.supports, fused=able.fused_ops)
        except UnsupportedOp as error:
            raise Failed(f"{dtype}: {error}") from None
        done += len(REQUIRED)
    return done


def declared_dtypes_and_cache_forms_run(context: Context) -> int:
    """Every compute dtype with every cache form loads and computes a decoder."""
    missing = set(context.capabilities.compute_dtypes) - {c.dtype for c in context.configs}
    expect(not missing, f"no cache form goes with {sorted(missing)}")
    for config in context.configs:
        run_both(context, config, Tiny(), str(config))
    return len(context.configs)


def declared_weight_forms_run(context: Context) -> int:
    """Every weight form loads and multiplies in every dtype."""
    done = 0
    for dtype in context.capabilities.compute_dtypes:
        config = next(c for c in context.configs if c.dtype == dtype)
        for form in context.capabilities.weight_forms:
            width = max(64, form.group)
            tiny = Tiny(form=form, hidden=width, inner=width)
            run_both(context, config, tiny, f"{form} weights in {config}")
            done += 1
    return done


def run_both(context: Context, config: Config, tiny: Tiny, what: str) -> None:
    """A prompt and a token more, on the platform and on the reference."""
    tokens = prompt(config.block_size + 3)
    blocks = [4, 2]
    with tiny.open(context, config) as session, tiny.oracle(context, config) as oracle:
        found = session.whole(tokens, blocks)
        wanted = oracle.whole(tokens, blocks)
        require_close(what, found, wanted, loose(config, tiny))


def loose(config: Config, tiny: Tiny) -> float:
    """Error allowed; more with integer weights below f32, where activations may be quantised too."""
    quantised = tiny.form is not None and tiny.form.kind != "dense" and config.dtype != "f32"
    return max(tolerance(config), 2e-2 if quantised else 0.0)


def block_transfer_is_all_or_nothing(context: Context) -> None:
    """A LoadedModel has all three members of BlockTransfer, or none."""
    members = ("block_format", "read_blocks", "write_blocks")
    with Tiny().open(context, context.main) as session:
        here = [name for name in members if hasattr(session.model, name)]
        expect(len(here) in (0, 3), f"of BlockTransfer there is only {here}")
        if here:
            model: object = session.model
            expect(isinstance(model, BlockTransfer), "the members are no BlockTransfer")
            assert isinstance(model, BlockTransfer)
            expect(isinstance(model.block_format, str), "block_format is no string")


def too_large_a_cache_is_out_of_memory(context: Context) -> None:
    """OutOfMemory, and the model works on with a smaller one."""
    tokens = prompt(9)
    with Tiny().open(context, context.main) as session:
        wanted = session.whole(tokens, [5, 6, 7])
        layout: KVLayout = session.layout
        try:
            session.model.allocate(layout, (1 << 40,) * session.groups)
        except OutOfMemory as error:
            expect(str(error), "OutOfMemory says nothing")
        else:
            raise Failed("2**40 blocks were allocated")
        session.allocate(12)
        found = session.whole(tokens, [5, 6, 7])
        require_close("after OutOfMemory", found, wanted, tolerance(context.main))


def models_close_twice(context: Context) -> None:
    """A model closes twice without harm, with a step in flight too, and the next one loads."""
    wanted = np.empty(0, np.float32)
    for attempt in range(2):
        session = Tiny().open(context, context.main)
        found = session.whole(prompt(5), [2, 1])
        if attempt:
            require_close("loaded again", found, wanted, tolerance(context.main))
        wanted = found
        session.run([Row(prompt(3), 0, [9])])
        session.close()
        session.close()
