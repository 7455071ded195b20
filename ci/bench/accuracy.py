"""How far each form of weights, cache and computation is from f32: log-probabilities and greedy tokens.

    python ci/bench/accuracy.py [--model demo] [--model random] [--questions 100] [--layers 4] [--case bf16,int8,bf16]

"demo" is the bundled model along its greedy replies in f32 to the questions it is accepted by (ci/demo_model/questions.py;
what follows a tool's result is left out), "random" the shape of Qwen2.5-0.5B with random weights and fewer layers, along
random ids. Every form is fed the same texts, prompts in one step and replies token by token, ten side by side. Compared are
the log-probabilities of the ten tokens that the reference finds most likely wherever a reply's token is drawn.

mean, max   absolute difference of those log-probabilities
same        share of places whose most likely token is the reference's
replies     whole replies that would have been the same

Beside f32 on the weights as stored stands f32 on the numbers that quantised weights stand for: what is left is the
arithmetic's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from dovetail import LLM, SamplingParams
from dovetail.platform import F32
from forms import Case, Found, Source, Text, follow
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from ci.demo_model.questions import QUESTIONS

MOST_TOKENS = 128
LIKELIEST = 10
PROMPTS, PROMPT_TOKENS, REPLY_TOKENS = 10, 96, 24
CASES = (
    Case("f32", "stored", "f16"),
    Case("f32", "stored", "u8"),
    Case("bf16", "stored", "bf16"),
    Case("bf16", "stored", "bf16", kernels="openvino"),
    Case("bf16", "stored", "u8", kernels="openvino"),
    Case("f32", "int8", "f32"),
    Case("bf16", "int8", "bf16", precision="accurate"),
    Case("bf16", "int8", "bf16", precision="balanced"),
    Case("bf16", "int8", "bf16", precision="fast"),
    Case("bf16", "int8", "bf16", kernels="openvino"),
    Case("bf16", "int8", "u8", kernels="openvino"),
    Case("f32", "int4", "f32"),
    Case("bf16", "int4", "bf16", precision="accurate"),
    Case("bf16", "int4", "bf16", precision="balanced"),
    Case("bf16", "int4", "bf16", kernels="openvino"),
    Case("bf16", "int4", "u8", kernels="openvino"),
)


def demo_texts(questions: int) -> list[Text]:
    """Each turn of the questions' conversations as a prompt, and the reply in f32."""
    texts: list[Text] = []
    sampling = SamplingParams(temperature=0, max_tokens=MOST_TOKENS)
    with LLM("demo", platform="cpu", dtype="f32") as llm:
        for question in QUESTIONS[:questions]:
            messages: list[dict[str, str]] = []
            options = {"tools": list(question.tools)} if question.tools else {}
            for turn in question.turns:
                messages.append({"role": "user", "content": turn})
                (said,) = llm.chat(messages, sampling, **options)
                messages.append({"role": "assistant", "content": said.text})
                texts.append(Text(tuple(said.prompt_token_ids), tuple(said.outputs[0].token_ids)))
    return texts


def random_texts() -> list[Text]:
    """Random ids, the last of them in place of a reply."""
    rng = np.random.default_rng(0)
    ids = rng.integers(300, 31_000, (PROMPTS, PROMPT_TOKENS + REPLY_TOKENS)).tolist()
    return [Text(tuple(each[:PROMPT_TOKENS]), tuple(each[PROMPT_TOKENS:])) for each in ids]


def log_softmax(logits: F32) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


class Reference:
    """Where a reference looks, and what it finds there: of each text [tokens, LIKELIEST]."""

    def __init__(self, logits: Sequence[F32]) -> None:
        self._ids = [np.argpartition(-each, LIKELIEST, axis=1)[:, :LIKELIEST] for each in logits]
        self._values = self._look(logits)
        self._best = [each.argmax(1) for each in logits]

    def compare(self, logits: Sequence[F32]) -> tuple[float, float, float, int]:
        """mean, max, same and replies of another form's logits."""
        found = zip(self._look(logits), self._values, strict=True)
        apart = np.concatenate([np.abs(a - b).reshape(-1) for a, b in found])
        pairs = zip(logits, self._best, strict=True)
        same = [each.argmax(1) == best for each, best in pairs]
        whole = sum(bool(each.all()) for each in same)
        return float(apart.mean()), float(apart.max()), float(np.concatenate(same).mean()), whole

    def _look(self, logits: Sequence[F32]) -> list[NDArray[np.float64]]:
        pairs = zip(logits, self._ids, strict=True)
        return [np.take_along_axis(log_softmax(each), ids, axis=1) for each, ids in pairs]


def measure(
    source: Source, texts: Sequence[Text], cases: Sequence[Case]
) -> Iterator[tuple[Case, Found, Reference, Reference]]:
    """Every case that the device has, with f32 on the stored weights and f32 on the case's own."""
    references: dict[str, Reference] = {}
    for weights in dict.fromkeys(("stored", *(case.weights for case in cases))):
        plain = follow(source, Case("f32", weights, "f32", kernels="openvino"), texts)
        assert plain is not None  # every device of the platform computes in f32
        references[weights] = Reference(plain.logits)
        for case in cases:
            if case.weights == weights and (found := follow(source, case, texts)):
                yield case, found, references["stored"], references[weights]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", choices=("demo", "random"))
    parser.add_argument("--questions", type=int, default=len(QUESTIONS))
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--case", action="append", help="dtype,weights,cache[,precision[,kernels]]")
    given = parser.parse_args()
    cases = [Case(*case.split(",")) for case in given.case or ()] or CASES
    for model in given.model or ("demo", "random"):
        source = Source(model, given.layers)
        texts = demo_texts(given.questions) if model == "demo" else random_texts()
        drawn = sum(len(text.reply) for text in texts)
        print(f"{model}: {len(texts)} replies of {drawn} tokens")
        heads = "".join(f"{name:>9}" for name in ("mean", "max", "same"))
        print(f"{'':44}{'from f32':>9}{'':18}{'':>9}{'from f32 on the same weights':>30}")
        print(f"{'dtype weights cache precision kernels':44}{heads}{'replies':>9} {heads}")
        for case, found, stored, same in measure(source, texts, cases):
            chosen = case.weights != "stored" and found.kernels != "openvino"
            precision = (case.precision or "default") if chosen else "-"
            words = (case.dtype, case.weights, case.cache, precision, found.kernels)
            name = f"{words[0]:5} {words[1]:7} {words[2]:5} {words[3]:9} {words[4]}"
            mean, most, share, replies = stored.compare(found.logits)
            line = f"{name:44}{mean:9.4f}{most:9.3f}{share:9.2%}{replies:9}"
            mean, most, share, _ = same.compare(found.logits)
            print(f"{line} {mean:9.4f}{most:9.3f}{share:9.2%}", flush=True)


if __name__ == "__main__":
    main()
