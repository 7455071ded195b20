"""Grammars beside everything else an engine does: what a request gets does not depend on it."""

from __future__ import annotations

import json
import random
import re

import pytest
from dovetail.config import EngineConfig
from dovetail.engine.load import load_engine
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail.structured import Grammar
from dovetail.weights.checkpoint import open_checkpoint
from tokenizers import Tokenizer

from tests.waiting import Patience

END = 2043
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 6},
            "kind": {"enum": ["a long constant", "another constant"]},
            "list": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        },
        "required": ["name", "kind"],
        "additionalProperties": False,
    }
)
GRAMMARS = [
    Grammar("json_schema", SCHEMA),
    Grammar("regex", "[ab]{3,9}c"),
    Grammar("choice", '["the quick brown fox", "the lazy dog"]'),
    None,
    Grammar("lark", 'start: "<" %json {"type": "boolean"} ">" /[xyz]{2}/'),
]


@pytest.fixture(scope="module")
def demo():
    return open_checkpoint("demo")


@pytest.fixture(scope="module")
def tokenizer(demo) -> Tokenizer:
    return Tokenizer.from_file(str(demo.tokenizer_file))


def make(demo, device: str, **settings):
    settings = {"block_size": 4, "max_num_seqs": 4, "max_num_batched_tokens": 16, **settings}
    return load_engine(EngineConfig(platform=f"null:{device}", max_model_len=96, **settings), demo)


@pytest.mark.parametrize("wanted", [False, True])
def test_the_vocabulary_is_read_before_it_is_needed_if_that_is_wanted(demo, wanted):
    engine = make(demo, "0", prepare_grammars=wanted)
    masks = engine._masks
    if wanted:
        assert masks._compiler.submit(lambda: masks._vocabulary).result() is not None
    assert (masks._vocabulary is not None) is wanted
    engine.submit(request(1, grammar=GRAMMARS[1]))
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    assert outputs[-1].finish in (FinishReason.STOP, FinishReason.LENGTH)
    engine.close()


def request(number: int, **changes) -> Request:
    draw = random.Random(number)
    grammar = changes.pop("grammar", GRAMMARS[number % len(GRAMMARS)])
    params = {
        "temperature": 1.0,
        "presence_penalty": draw.choice([0.0, 0.5]),
        "logit_bias": draw.choice([{}, {70: -1.0}]),
        "min_tokens": draw.choice([0, 3]),
        "logprobs": draw.choice([None, None, 1]),
    }
    shared = [5, 6, 7, 8, 9, 10, 11, 12, 13]
    return Request(
        id=str(number),
        prompt=shared[: draw.randrange(1, 9)]
        + [draw.randrange(100) for _ in range(draw.randrange(9))],
        sampling=SamplingParams(grammar=grammar, max_tokens=60, **{**params, **changes}),
        max_tokens=60,
        stop_ids=frozenset([END]),
        seed=number,
    )


def run(engine, requests, *, stagger: bool = False, lose: bool = False):
    """Tokens and reason of the end of each; requests may come one per step."""
    waiting = list(requests)
    got: dict[str, list[int]] = {r.id: [] for r in requests}
    ended: dict[str, FinishReason] = {}
    patience = Patience("all requests have ended")
    while len(ended) < len(requests):
        patience.look()
        for asked in waiting[: 1 if stagger else None]:
            engine.submit(asked)
        del waiting[: 1 if stagger else None]
        for output in engine.step():
            assert output.error is None, output
            got[output.request_id] += output.tokens
            assert output.logprobs is None or len(output.logprobs) == len(output.tokens)
            if output.finish is not None:
                ended[output.request_id] = output.finish
        engine._scheduler.check()
    while engine.has_work:
        assert not engine.step()
    assert not engine._masks.following
    return {name: (tokens, ended[name]) for name, tokens in got.items()}


def follows(tokenizer: Tokenizer, asked: Request, tokens: list[int], finish: FinishReason) -> bool:
    """Whether what was said is what the grammar wants."""
    text = tokenizer.decode([t for t in tokens if t != END], skip_special_tokens=False)
    grammar = asked.sampling.grammar
    if grammar is None or finish is FinishReason.LENGTH:
        return True
    if grammar.kind == "json_schema":
        return set(json.loads(text)) >= {"name", "kind"}
    if grammar.kind == "choice":
        return text in json.loads(grammar.text)
    pattern = grammar.text if grammar.kind == "regex" else "<(true|false)>[xyz]{2}"
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize("device", ["strict", "strict2", "strict3"])
def test_tokens_do_not_depend_on_batching_chunks_prefixes_or_preemption(demo, tokenizer, device):
    asked = [request(number) for number in range(20)]
    alone = make(demo, device, max_num_batched_tokens=512, enable_prefix_caching=False)
    crowded = make(demo, device, kv_cache_memory=650_000)
    try:
        apart = {}
        for one in asked:
            apart |= run(alone, [one])
        together = run(crowded, asked, stagger=True)
        assert crowded.stats().total_preemptions > 0
        assert crowded.stats().total_cached_tokens > 0
    finally:
        alone.close()
        crowded.close()
    for one in asked:
        for tokens, finish in (apart[one.id], together[one.id]):
            assert follows(tokenizer, one, tokens, finish), (one, tokens)
    if device == "strict":  # with more in flight, tokens are forced only where nothing is
        assert together == apart


def test_forced_tokens_cost_no_step_each(demo, tokenizer):
    engine = make(demo, "strict", max_num_batched_tokens=512)
    ((tokens, finish),) = run(engine, [request(2, logprobs=None, min_tokens=0)]).values()
    assert finish is FinishReason.STOP
    assert engine.stats().total_steps < len(tokens)
    engine.close()


def test_the_end_of_a_grammar_ends_the_sequence(demo):
    """Whatever min_tokens and ignore_eos say, and without an end-of-sequence token."""
    engine = make(demo, "strict")
    fixed = request(1, grammar=Grammar("regex", "abc"), min_tokens=50)
    ((tokens, finish),) = run(engine, [fixed]).values()
    assert finish is FinishReason.STOP and END not in tokens
    endless = request(1, grammar=Grammar("regex", "a+"), ignore_eos=True, min_tokens=0)
    ((tokens, finish),) = run(engine, [endless]).values()
    assert finish is FinishReason.LENGTH and END not in tokens
    open_end = request(1, grammar=Grammar("regex", "a*b*"), min_tokens=5)
    ((tokens, finish),) = run(engine, [open_end]).values()
    assert len(tokens) > 5
    engine.close()


@pytest.mark.defends(
    "costly grammars",
    "a grammar that fails in the engine ends its own request alone",
    without=("dovetail.engine.masks", "error = future.exception()\n", "error = None\n"),
)
def test_a_grammar_that_cannot_be_compiled_ends_its_request_alone(demo):
    engine = make(demo, "strict")
    bad = request(1, grammar=Grammar("lark", "start: nowhere"))
    good = request(2)
    engine.submit(bad)
    engine.submit(good)
    ended = {}
    patience = Patience("both requests have ended")
    while len(ended) < 2:
        patience.look()
        ended |= {o.request_id: o for o in engine.step() if o.finish is not None}
    assert ended["1"].finish is FinishReason.ERROR and ended["1"].refused
    assert "nowhere" in (ended["1"].error or "")
    assert ended["2"].finish is FinishReason.STOP
    engine.close()


def test_cancelling_works_at_every_point(demo):
    engine = make(demo, "strict2")
    for steps in range(6):
        engine.submit(request(0))
        for _ in range(steps):
            engine.step()
        engine.cancel("0")
        ended = []
        while engine.has_work:
            ended += [o.finish for o in engine.step() if o.finish is not None]
        assert ended in ([FinishReason.CANCELLED], [FinishReason.STOP], [])
        assert not engine._masks.following and not engine._masks.compiling
    engine.close()
