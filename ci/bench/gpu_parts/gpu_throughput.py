"""Whole requests offline: Dovetail, and transformers on the same weights in two ways."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dovetail import AsyncLLM, SamplingParams, models
from dovetail.graph import Graph
from dovetail.weights import random_weights
from dovetail_sdk.testing.checkpoints import write_tokenizer
from gpu_shapes import Sizes

LEARNED = 256
"""Ids that prompts are made of: every vocabulary has them."""


def requests(sizes: Sizes) -> list[tuple[list[int], int]]:
    """Prompts and lengths of replies: log-normal, with the means and the long tails of chats that people shared."""
    rng = np.random.default_rng(7)

    def lengths(mean: int) -> Any:
        spread = 1.0
        drawn = rng.lognormal(np.log(mean) - spread**2 / 2, spread, sizes.requests)
        return np.clip(drawn, 2, sizes.longest).astype(int)

    return [
        (rng.integers(2, LEARNED, int(prompt)).tolist(), int(reply))
        for prompt, reply in zip(lengths(sizes.mean_prompt), lengths(sizes.mean_reply), strict=True)
    ]


def write_checkpoint(folder: Path, config: dict[str, Any]) -> Path:
    """Random weights in bf16 in Hugging Face form, written tensor by tensor; nothing is done if it is there."""
    done = folder / "model.safetensors"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder, LEARNED)
    graph: Graph = models.build(config, dtype="bf16")
    header, start = {}, 0
    for name, weight in graph.weights.items():
        size = 2 * int(np.prod(weight.shape))
        places = [start, start + size]
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": places}
        start += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    source, part = random_weights(graph), folder / "model.part"
    with part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in graph.weights:
            file.write(np.ascontiguousarray(source.read(name)).reshape(-1).view(np.uint8).data)
    part.rename(done)
    return folder


def ours(platform: str, config: dict[str, Any], folder: Path, sizes: Sizes) -> dict[str, Any]:
    """All requests at once through the engine, in a process of its own as the server has it."""
    write_checkpoint(folder, config)
    return asyncio.run(_ours(platform, folder, sizes))


async def _ours(platform: str, folder: Path, sizes: Sizes) -> dict[str, Any]:
    asked = requests(sizes)
    llm = await AsyncLLM.start(
        str(folder),
        in_process=False,
        platform=platform,
        dtype="bf16",
        max_model_len=min(sizes.model_len, 4096),
    )
    try:

        async def one(prompt: list[int], reply: int) -> int:
            params = SamplingParams(temperature=0.0, max_tokens=reply, ignore_eos=True)
            return len((await llm.generate(prompt, params)).outputs[0].token_ids)

        await one(*asked[0])
        started = time.perf_counter()
        made = await asyncio.gather(*(one(*request) for request in asked))
        return rates(asked, list(made), time.perf_counter() - started)
    finally:
        await llm.close()


def transformers_generate(chip: torch.device, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """generate() on padded batches of some of the requests, sorted by length so that little is padded."""
    model = transformers_model(chip, folder)
    asked = sorted(requests(sizes)[: sizes.compared], key=lambda one: len(one[0]) + one[1])
    made: list[int] = []
    started = time.perf_counter()
    for first in range(0, len(asked), 32):
        some = asked[first : first + 32]
        width, most = max(len(prompt) for prompt, _ in some), max(reply for _, reply in some)
        ids = torch.ones(len(some), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (prompt, _) in enumerate(some):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        with torch.inference_mode():
            model.generate(
                ids.to(chip), attention_mask=mask.to(chip), max_new_tokens=most, min_new_tokens=most,
                do_sample=False, pad_token_id=1,
            )  # fmt: skip
        made += [reply for _, reply in some]  # what was asked for counts, padding does not
    return rates(asked, made, time.perf_counter() - started)


def transformers_batched(chip: torch.device, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Its continuous batching, on some of the requests; a request's own length is its limit."""
    from transformers import GenerationConfig

    model = transformers_model(chip, folder)
    asked = requests(sizes)[: 4 * sizes.compared]
    limit = int(np.mean([reply for _, reply in asked]))
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=limit, do_sample=False, eos_token_id=-1, pad_token_id=1
    )
    started = time.perf_counter()
    made = model.generate_batch(
        [prompt for prompt, _ in asked], generation_config=config, **cache_limits(chip)
    )
    seconds = time.perf_counter() - started
    counts = [len(one.generated_tokens) for one in made.values()]
    return rates(asked, counts, seconds) | {"tokens_per_reply": limit}


def cache_limits(chip: torch.device) -> dict[str, Any]:
    """Nothing on a chip, whose memory transformers measures; on a host, which it would take most of, a little."""
    if chip.type != "cpu":
        return {}
    from transformers import ContinuousBatchingConfig

    limits = ContinuousBatchingConfig(num_blocks=16, page_size=32, max_batch_tokens=64)
    return {"continuous_batching_config": limits, "warmup": False}


def transformers_model(chip: torch.device, folder: Path) -> Any:
    """The checkpoint in transformers, by its fastest attention that is always there."""
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="sdpa"
    )
    return model.to(chip).eval()


def rates(asked: list[tuple[list[int], int]], made: list[int], seconds: float) -> dict[str, Any]:
    """Tokens per second of what was generated, and with the prompts."""
    prompts = sum(len(prompt) for prompt, _ in asked)
    return {
        "requests": len(made),
        "seconds": round(seconds, 3),
        "output_tokens": sum(made),
        "output_tokens_per_s": sum(made) / seconds,
        "total_tokens_per_s": (prompts + sum(made)) / seconds,
    }
