"""Tokenizers that somebody wrote to do harm: each in tests/hostile/corpus/refused is refused in one line, before anything happens."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from dovetail.errors import CheckpointError, InvalidParameter
from dovetail.text.tokenizer import Tokenizer
from dovetail.tokens import apart, read_tokenizer
from dovetail.tokens.charsmap import longest_text
from dovetail.tokens.patterns import plain
from limited import HERE, limited

CORPUS = HERE / "corpus"
REFUSED = sorted((CORPUS / "refused").glob("*.json"))
LOADING = """
import sys
from pathlib import Path
from dovetail.errors import CheckpointError
from dovetail.text.tokenizer import Tokenizer
for name in sys.argv[1:]:
    try:
        Tokenizer.load(Path(name), {}, vocab_size=1000)
    except CheckpointError as error:
        print(error)
    else:
        print("TAKEN")
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each is refused with, all of them in one process that may not take a gigabyte more than it needs."""
    done = limited("-c", LOADING, *map(str, REFUSED), memory_bytes=2 << 30, processor_s=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(REFUSED), done.stdout + done.stderr
    assert done.stderr == ""
    return dict(zip((path.stem for path in REFUSED), lines, strict=True))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_a_harmful_file_is_refused_by_name(path: Path, said: dict[str, str]) -> None:
    assert said[path.stem].startswith(str(path)), said[path.stem]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("charsmap_claims_four_gigabytes", "its trie claims 4294967280 bytes of 40"),
        ("charsmap_points_beyond", "its trie points beyond its end"),
        ("charsmap_names_no_text", "its trie names a text beyond the last"),
        ("merge_cut_within_a_character", "model.merges[0] has 'é', which must begin with 'a'"),
        ("merge_longer_than_any_token", "merges[0] makes 'aabb', which model.vocab does not have"),
        ("replace_doubles_again_and_again", "times as long; at most 256 times are allowed"),
        ("template_of_many_tokens", "post_processor adds 10000 bytes or tokens to every text"),
        ("words_of_any_length", "model.max_input_chars_per_word is 1099511627776; expected 0 to"),
        ("pieces_of_length_zero", "pre_tokenizer.length is 0"),
        ("added_id_huge", "post_processor adds the id 4294967295"),
    ],
)
def test_the_refusal_says_what_is_wrong(name: str, message: str, said: dict[str, str]) -> None:
    assert message in said[name]


@pytest.mark.parametrize(
    "path", sorted((CORPUS / "tokenizers").glob("*.json")), ids=lambda p: p.stem
)
def test_an_ordinary_file_is_what_it_was(path: Path) -> None:
    ours = Tokenizer.load(path, {}, vocab_size=2000)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert ours.backend.to_str() == theirs.to_str()
    for text in ("The quick brown fox", "ﬁ ①  x\n\n naïve 你好 😀"):
        assert ours.encode(text) == theirs.encode(text).ids


def test_a_map_of_characters_is_measured() -> None:
    assert longest_text((CORPUS / "charsmap.b64").read_text().strip()) == 2


# ------------------------------------------------------------------------------------------------------ patterns

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HARMFUL = [
    *(
        r"(a+)+$",
        "a*b",
        r"\s+$",
        "(?:a|a)*b",
        r"\s*[\r\n]+|\s|\s+",
        "a?" * 20,
        r"(\w)\1+",
        "a*a*a*b",
    ),
    *(
        r"\p{L}+(?=x)",
        "(?:a*)*",
        "a{1,99999}b",
        r"\s+(?!\S)",
        "a{2}{900}{900}",
        "a+?b",
        "(?<x>a)\\g<x>",
    ),
    *("[]a]+b", "[a", "(", "a**", "x(?#", "[[a]b", "a{,}"),
]


@pytest.mark.parametrize(
    "pattern", [GPT2, LLAMA, GPT4O, DEEPSEEK, " {2,}", r"\s+", "[一-龥]+", r"\d"]
)
def test_patterns_of_well_known_models_are_plain(pattern: str) -> None:
    assert plain(pattern)


@pytest.mark.parametrize("pattern", HARMFUL)
def test_patterns_that_may_go_back_far_are_not(pattern: str) -> None:
    assert not plain(pattern)


def with_pattern(folder: Path, pattern: str) -> Path:
    found: dict[str, Any] = json.loads((CORPUS / "tokenizers/byte_level.json").read_text())
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    found["pre_tokenizer"]["pretokenizers"][0] = split
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(found))
    return path


def test_a_pattern_that_is_not_plain_works_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = with_pattern(tmp_path, r"\p{L}+(?= )|\s+|.")
    ours = Tokenizer.load(path, {}, vocab_size=2000)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    for text in ("The quick brown fox ", "naïve 😀"):
        assert ours.encode(text) == theirs.encode(text).ids
        assert (
            ours.encode(text, add_special_tokens=False)
            == theirs.encode(text, add_special_tokens=False).ids
        )
    pair = theirs.encode("The", "fox")
    assert ours.encode_parts(["The", "fox"]) == (pair.ids, pair.type_ids)
    with pytest.raises(InvalidParameter, match="lone surrogate"):
        ours.encode("\ud800")


def test_a_text_that_takes_forever_is_refused_and_the_next_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "TIMEOUT_S", 0.5)
    ours = Tokenizer.load(with_pattern(tmp_path, "(?:a|a)*[bc]|."), {}, vocab_size=2000)
    before = ours.encode("ab")
    started = time.process_time()
    with pytest.raises(
        InvalidParameter, match=r"cannot be tokenized: the model's tokenizer (takes|fails)"
    ):
        ours.encode("a" * 100_000)
    assert time.process_time() - started < 1  # it was not this process that computed
    assert ours.encode("ab") == before


def test_grammars_never_run_such_a_pattern(tmp_path: Path) -> None:
    """The engine spells forced text with the tokenizer, and nothing there stops it."""
    file = read_tokenizer(with_pattern(tmp_path, "(?:a|a)*[bc]|."))
    assert file.patterns == ("(?:a|a)*[bc]|.",)
    plainly = file.without_patterns().backend()
    ids = plainly.encode("a" * 100_000, add_special_tokens=False).ids
    assert plainly.decode(ids) == "a" * 100_000


def test_a_failure_of_the_library_is_an_error_of_the_text(tmp_path: Path) -> None:
    """Its panics are no exceptions to Python, and would go through every handler."""
    path = tmp_path / "tokenizer.json"
    model = {"type": "WordLevel", "unk_token": "none", "vocab": {"a": 0}}
    path.write_text(json.dumps({"version": "1.0", "model": model}))
    ours = Tokenizer.load(path, {}, vocab_size=2000)
    with pytest.raises(InvalidParameter, match="the model's tokenizer fails: WordLevel error"):
        ours.encode("b")


@pytest.mark.defends(
    "hostile checkpoint files",
    "no file is read that is larger than its kind may be",
    without=("dovetail.tokens.file", "if len(data) > MAX_BYTES:", "if False:"),
)
def test_a_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="larger than the"):
        Tokenizer.load(path, {}, vocab_size=2000)
