"""What Intel's own compiler makes of the kernels, for chips that are not here; skipped where ocloc is not installed.

A recent ocloc is in Debian's intel-ocloc (26 and later know all chips of budgets.toml).
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tomllib
from pathlib import Path

import dovetail_xpu.kernels
import pytest
from dovetail_sdk.opencl import SOURCE, text_of
from dovetail_sdk.opencl.programs import options

BUDGETS = tomllib.loads((Path(__file__).parent / "budgets.toml").read_text())
KERNELS = Path(dovetail_xpu.kernels.__file__).parent
OCLOC = shutil.which("ocloc")
CASES = [
    pytest.param(chip, program, id=f"{chip}-{program['file']}-{index}")
    for chip in BUDGETS["chips"]
    for index, program in enumerate(BUDGETS["program"])
    if chip in BUDGETS["unit"] or not program.get("unit")
]


def facts(binary: bytes) -> dict[str, dict[str, str]]:
    """Kernel -> the fields that .ze_info has of it. The section is YAML, one field to a line."""
    image = binary[binary.find(b"\x7fELF") :]
    (offset,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names = struct.unpack_from("<HHH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, offset + i * size) for i in range(count)]
    strings = image[headers[names][4] :][: headers[names][5]]
    (section,) = [h for h in headers if strings[h[0] :].startswith(b".ze_info\0")]
    text = image[section[4] :][: section[5]].decode().rstrip("\0")
    found: dict[str, dict[str, str]] = {}
    mine: dict[str, str] = {}
    for line in text.splitlines():
        if named := re.match(r"  - name: +(\S+)", line):
            mine = found.setdefault(named[1].strip("'\""), {})
        elif line and not line.startswith(" "):  # another section: its fields are nobody's
            mine = {}
        elif field := re.match(r" +(\w+): +(\S+)", line):
            mine.setdefault(field[1], field[2])
    return found


@pytest.fixture(scope="session")
def chips() -> set[str]:
    if OCLOC is None:
        pytest.skip("ocloc is not installed; Debian's intel-ocloc has it")
    known = subprocess.run([OCLOC, "compile", "--help"], capture_output=True, text=True).stdout
    return {chip for chip in BUDGETS["chips"] if re.search(rf"\b{chip}\b", known)}


@pytest.mark.parametrize(("chip", "program"), CASES)
def test_kernels_keep_within_their_budget(chip, program, chips, tmp_path):
    if chip not in chips:
        pytest.skip(f"this ocloc does not know {chip}")
    folder = KERNELS if (KERNELS / program["file"]).exists() else SOURCE
    source, target = tmp_path / program["file"], tmp_path / "out"
    source.write_text(text_of(folder / program["file"]))
    given = " ".join(options(program["macros"]))
    command = [OCLOC, "compile", "-file", str(source), "-device", chip, "-options", given]
    done = subprocess.run(
        [*command, "-output_no_suffix", "-output", str(target)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = facts(Path(f"{target}.bin").read_bytes())
    assert found
    for name, fields in found.items():
        assert int(fields.get("spill_size", 0)) <= program.get("spills", 0), name
        if program.get("unit"):
            assert fields.get("has_dpas") == "true", name
