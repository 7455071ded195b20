"""What a GPU gives: ceilings of the chip, kernels against them, steps, whole requests, and transformers beside them.

    python ci/bench/gpu.py --out gpu.json                          on cuda, within nine minutes
    python ci/bench/gpu.py --platform cuda:host --tiny --out x.json   the same at tiny shapes, on the host, as a check of the script

One JSON. Every part is written as soon as it is known; one that fails, or for which no time is left, says so in its place.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

# This folder has a file http.py, which would stand in the way of Python's own.
sys.path[0] = str(Path(__file__).resolve().parent / "gpu_parts")

import torch  # noqa: E402
from dovetail.plugins import open_device, select  # noqa: E402
from dovetail_sdk.gpu.emulation import interpret  # noqa: E402
from gpu_rates import architecture_of, ceilings, kernel_rates  # noqa: E402
from gpu_shapes import SHAPES, TINY, Sizes  # noqa: E402
from gpu_steps import (  # noqa: E402
    Loaded,
    idle_share,
    load_shape,
    measure_decode,
    measure_prefill,
)
from gpu_throughput import ours, transformers_batched, transformers_generate  # noqa: E402

SECONDS = 530.0
"""Of the whole run; a part begins only if it is not late."""


class Report:
    """The JSON, written anew after every part."""

    def __init__(self, path: Path, budget_s: float, leave_out: str | None) -> None:
        self.values: dict[str, Any] = {}
        self._leave_out = leave_out
        self._path, self._budget_s, self._started = path, budget_s, time.perf_counter()

    def part(self, name: str, work: Callable[[], Any], *, expected_s: float = 0.0) -> Any:
        """Do a part; None where it failed or was left out, with the reason in the JSON."""
        left = self._budget_s - (time.perf_counter() - self._started)
        value: Any = None
        if self._leave_out and re.search(self._leave_out, name):
            self.values[name] = {"left_out": "by --leave-out"}
        elif left < expected_s:
            self.values[name] = {
                "left_out": f"{left:.0f} s were left and it takes {expected_s:.0f}"
            }
        else:
            started = time.perf_counter()
            try:
                value = self.values[name] = work()
            except Exception as error:  # one part must not take the others with it
                where = traceback.format_exc(limit=-3)
                self.values[name] = {"failed": f"{type(error).__name__}: {error}", "where": where}
            print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        self.values["seconds"] = round(time.perf_counter() - self._started, 1)
        self._path.write_text(json.dumps(self.values, indent=1) + "\n")
        return value


def main() -> int:
    given = arguments()
    report = Report(given.out, given.seconds, given.leave_out)
    sizes = TINY if given.tiny else Sizes()
    selection = select(given.platform)
    report.values["platform"] = str(selection)
    report.values["device"] = ", ".join(info.description for info in selection.devices)
    report.values["versions"] = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    chip = torch.device("cpu" if selection.devices[0].emulated else "cuda")
    if selection.devices[0].emulated:
        interpret()
    limits = report.part("ceilings", lambda: ceilings(chip, sizes), expected_s=5)
    first, *others = steps_of(sizes)
    with closing(open_device(selection)) as device:
        measure_steps(report, device, chip, sizes, limits, *first)
    for name in sizes.served:
        serve(report, given.platform, chip, sizes, name, given.folder / name)
    with closing(open_device(selection)) as device:
        kind = import_module(f"dovetail_{selection.platform.name}.select").chip(
            architecture_of(chip)
        )
        report.part(
            "kernels",
            lambda: list(kernel_rates(chip, given.tiny, kind.fp8, limits)),
            expected_s=60,
        )
        for name, form in others:
            measure_steps(report, device, chip, sizes, limits, name, form)
    print(json.dumps(report.values, indent=1))
    return 0


def serve(
    report: Report, platform: str, chip: torch.device, sizes: Sizes, name: str, folder: Path
) -> None:
    """Whole requests, ours and transformers'."""
    report.part(f"{name}: ours", lambda: ours(platform, SHAPES[name], folder, sizes), expected_s=60)
    report.part(
        f"{name}: transformers generate",
        lambda: transformers_generate(chip, folder, sizes),
        expected_s=45,
    )
    report.part(
        f"{name}: transformers batched",
        lambda: transformers_batched(chip, folder, sizes),
        expected_s=45,
    )


def steps_of(sizes: Sizes) -> Iterator[tuple[str, str]]:
    """Shapes and weight forms, the most wanted first; what is served is measured behind the first."""
    for form in sizes.forms:
        for name in sizes.shapes:
            yield name, form


def measure_steps(
    report: Report,
    device: Any,
    chip: torch.device,
    sizes: Sizes,
    limits: dict[str, float] | None,
    name: str,
    form: str,
) -> None:
    """Decode, prefill and idle share of one shape in one form."""
    label = f"{name} {form}"
    if form not in known_forms(device):
        report.values[label] = {"unsupported": f"the device does not multiply weights in {form}"}
        return
    loaded: Loaded | None = None

    def load() -> dict[str, Any]:
        nonlocal loaded
        loaded = load_shape(device, SHAPES[name], form, sizes)
        return loaded.describe()

    report.part(f"{label}: load", load, expected_s=40)
    if loaded is None:
        return
    made: Loaded = loaded
    report.part(f"{label}: decode", lambda: measure_decode(made, sizes, limits), expected_s=15)
    report.part(f"{label}: prefill", lambda: measure_prefill(made, sizes, limits), expected_s=15)
    report.part(f"{label}: idle", lambda: idle_share(made, chip, sizes), expected_s=10)
    made.model.close()


def known_forms(device: Any) -> set[str]:
    """Forms of weights that the device multiplies, as this script calls them."""
    kinds = {str(form) for form in device.capabilities.weight_forms}
    return {"bf16", "fp8", "int8"} & kinds | ({"int4"} if "int4g128" in kinds else set())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--platform", default="cuda", help="NAME or NAME:device")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes: checks the script alone")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that it may take")
    parser.add_argument("--leave-out", metavar="RE", help="parts whose name it is found in")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/dev/shm/dovetail-gpu"),
        help="for checkpoints with random weights, 16 GB of them",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
