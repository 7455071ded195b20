"""Every reader of a checkpoint's files, fed with files made worse. Run within limits of memory and time:

    python tests/hostile/fuzz.py TARGET [--examples 200] [--seed N]

A reader takes a file or raises one CheckpointError of one line that names it. A crash, a hang or memory without bounds ends
this process; whatever else is raised is Hypothesis's to report, made small. test_fuzz.py runs it; longer runs are by hand.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dovetail.errors import CheckpointError, DovetailError, InvalidParameter
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mutating import worse_bytes, worse_json

CORPUS = Path(__file__).parent / "corpus"
TEXTS = ("", "the quick brown fox", "a" * 400, " \n\t" * 50, "é漢字😀\u0301", "<s> </s>", "12345 '")


def check_refusal(error: DovetailError, folder: Path) -> None:
    """One line that names the file."""
    text = str(error)
    assert str(folder) in text, text
    assert "\n" not in text and len(text) < 2000, text


# ------------------------------------------------------------------------------------------------- the targets


def tokenizer(rng: random.Random, folder: Path) -> None:
    """tokenizer.json: loaded, then used."""
    from dovetail.text.tokenizer import Tokenizer

    seeds = sorted((CORPUS / "tokenizers").glob("*.json"))
    path = folder / "tokenizer.json"
    path.write_bytes(worse_json(rng, json.loads(rng.choice(seeds).read_bytes())))
    try:
        found = Tokenizer.load(path, {}, vocab_size=2000)
    except CheckpointError as error:
        check_refusal(error, path)
        return
    for text in TEXTS:
        try:
            ids = found.encode(text)
            found.encode_parts([text, "b"], most=20)
            found.decode(ids)
            decoder = found.decoder(prompt=ids[:1])
            for one in ids[:50]:
                decoder.push([one])
            decoder.flush()
        except InvalidParameter:
            continue


def checkpoint(rng: random.Random, folder: Path) -> None:
    """The small files of a directory and the headers of its tensors."""
    from dovetail.weights.checkpoint import open_checkpoint
    from dovetail.weights.safetensors import open_tensors

    names = sorted(path.name for path in (CORPUS / "checkpoint").iterdir())
    for name in names:
        shutil.copy(CORPUS / "checkpoint" / name, folder / name)
    for name in rng.sample(names, 2):
        path = folder / name
        whole = path.suffix == ".json" and rng.random() < 0.9
        data = path.read_bytes()
        path.write_bytes(worse_json(rng, json.loads(data)) if whole else worse_bytes(rng, data))
    try:
        found = open_checkpoint(str(folder))
        tensors = open_tensors(folder, found.folders)
        for name in tensors:
            tensors.view(name).tobytes()
    except CheckpointError as error:
        check_refusal(error, folder)


def template(rng: random.Random, folder: Path) -> None:
    """Chat templates: compiled, then rendered."""
    from dovetail.text.template import ChatTemplate

    seeds = (CORPUS / "templates.txt").read_text().split("\n---\n")
    data = "".join(rng.choice(seeds) for _ in range(rng.randint(1, 2))).encode()
    source = (worse_bytes(rng, data) if rng.random() < 0.8 else data).decode(errors="replace")
    try:
        made = ChatTemplate(source, {"bos_token": "<s>"}, time_limit_s=0.3)
        made.render([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
    except DovetailError as error:
        assert str(error)


def planes(rng: random.Random, folder: Path) -> None:
    """Files of quantised weights: used as they were written, or not at all."""
    from dovetail.graph import INT8, Weight
    from dovetail.weights.plane_file import Damaged, Layout, PlaneWriter, open_planes
    from dovetail.weights.quantise import empty_planes

    weights = [Weight(f"w{n}", (16, 64), INT8, (f"w{n}",)) for n in range(2)]
    layout, path = Layout("k", weights), folder / "k.safetensors"
    writer = PlaneWriter(path, layout)
    for weight in weights:
        made = empty_planes((16, 64), INT8)
        for plane in made.values():
            plane[...] = 3
        writer.put(weight.name, made)
    writer.finish()
    good = path.read_bytes()
    path.write_bytes(worse_bytes(rng, good))
    try:
        open_planes(path, layout)
    except Damaged as error:
        assert str(error)
        return
    changed = path.read_bytes()
    for place in layout.places.values():
        span = slice(place.offset, place.offset + place.num_bytes)
        assert changed[span] == good[span]


def block(rng: random.Random, folder: Path) -> None:
    """Files of the disk tier."""
    import numpy as np
    from dovetail.tiers.block_file import BadBlock, read_block, write_block
    from dovetail.tiers.names import NAME_BYTES, Record

    name, data = bytes(range(NAME_BYTES)), np.arange(512, dtype=np.uint8)
    path = folder / "block.kv"
    write_block(path, Record(name, bytes(NAME_BYTES), tuple(range(16)), data))
    good = path.read_bytes()
    path.write_bytes(worse_bytes(rng, good))
    try:
        found = read_block(path, name, data.nbytes)
    except BadBlock as error:
        assert str(error)
        return
    assert path.read_bytes() == good and found.tokens == tuple(range(16))


def charsmap(rng: random.Random, folder: Path) -> None:
    """Maps of characters: refused, or walked by the library without a fault."""
    import base64

    from dovetail.tokens.charsmap import longest_text
    from tokenizers import normalizers

    good = base64.b64decode((CORPUS / "charsmap.b64").read_text())
    data = worse_bytes(rng, good)
    encoded = base64.b64encode(data).decode()
    try:
        longest_text(encoded)
    except ValueError as error:
        assert str(error)
        return
    made = normalizers.Precompiled(data)
    for text in TEXTS:
        made.normalize_str(text)


TARGETS: dict[str, Callable[[random.Random, Path], None]] = {
    each.__name__: each for each in (tokenizer, checkpoint, template, planes, block, charsmap)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given_ = parser.parse_args()
    target = TARGETS[given_.target]

    @settings(
        max_examples=given_.examples,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, Phase.shrink],
        derandomize=given_.seed is None,
    )
    @given(number=st.integers(0, 2**64 - 1))
    def run(number: int) -> None:
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            target(random.Random(number), Path(folder))

    (run if given_.seed is None else seed(given_.seed)(run))()
    print(f"{given_.target}: {given_.examples} examples")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
