"""Every reader of a checkpoint's files on files made worse, within limits of memory and time (fuzz.py says what has to hold)."""

from __future__ import annotations

import pytest
from limited import HERE, limited

EXAMPLES = {
    "tokenizer": 250,
    "checkpoint": 250,
    "template": 120,
    "planes": 120,
    "block": 150,
    "charsmap": 150,
}


@pytest.mark.defends(
    "hostile checkpoint files",
    "files made worse at random end in an error that names them, in bounded time and memory",
    without=(
        "dovetail.tokens.file",
        "    except Wrong as error:\n",
        "    except ZeroDivisionError as error:\n",
    ),
)
@pytest.mark.parametrize("target", EXAMPLES)
def test_no_file_does_harm(target: str) -> None:
    count = str(EXAMPLES[target])
    done = limited(
        str(HERE / "fuzz.py"), target, "--examples", count, memory_bytes=3 << 30, processor_s=120
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert f"{target}: {count} examples" in done.stdout
    assert "panicked" not in done.stderr, done.stderr[:4000]
