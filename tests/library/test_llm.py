"""The library: LLM and AsyncLLM, on the null platform where tokens are exact."""

from __future__ import annotations

import asyncio

import pytest
from dovetail import LLM, AsyncLLM, SamplingParams
from dovetail.errors import (
    EngineStopped,
    InvalidParameter,
    Overloaded,
    PlatformNotFound,
    PromptTooLong,
)
from dovetail_sdk.null import expected
from dovetail_sdk.testing import write_checkpoint

from tests.waiting import Patience

GREEDY = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def llm(directory):
    with LLM(directory, platform="null") as model:
        yield model


def test_prompts_may_be_text_ids_or_lists_of_either(llm):
    ids = llm.generate("ab", GREEDY)[0].prompt_token_ids
    assert llm.generate(ids, GREEDY)[0].outputs == llm.generate("ab", GREEDY)[0].outputs
    both = llm.generate(["ab", ids], GREEDY)
    assert [one.prompt for one in both] == ["ab", None]
    assert both[0].outputs[0].token_ids == both[1].outputs[0].token_ids == expected(ids, 6, 320)


def test_results_come_in_the_order_of_the_prompts(llm):
    prompts = [[n + 2, 7, 9] for n in range(20)]
    completions = llm.generate(prompts, GREEDY)
    assert [one.prompt_token_ids for one in completions] == prompts
    assert [one.outputs[0].token_ids for one in completions] == [
        expected(p, 6, 320) for p in prompts
    ]


def test_n_completions_differ_by_seed_and_repeat_with_it(llm):
    params = SamplingParams(temperature=1, max_tokens=5, ignore_eos=True, n=3, seed=11)
    first, again = llm.generate([[5, 6]] * 2, params)
    tokens = [output.token_ids for output in first.outputs]
    assert len({tuple(one) for one in tokens}) == 3
    assert [output.token_ids for output in again.outputs] == tokens
    assert tokens == [expected([5, 6], 5, 320, temperature=1, seed=11 + n) for n in range(3)]


def test_a_stop_string_ends_the_text_and_the_request(llm):
    whole = llm.generate(
        "stop here", SamplingParams(temperature=0, max_tokens=80, ignore_eos=True)
    )[0]
    text = whole.text
    stop = text[8:10]
    cut = llm.generate(
        "stop here", SamplingParams(temperature=0, max_tokens=80, ignore_eos=True, stop=(stop,))
    )[0]
    assert cut.text == text[: text.index(stop)]
    assert cut.outputs[0].finish_reason == "stop" and cut.outputs[0].stopped == stop
    assert len(cut.outputs[0].token_ids) < 80
    llm.generate("next", GREEDY)
    assert llm.engine.stats().running == 0


def test_chat_renders_the_template(llm):
    message = {"role": "user", "content": "hi"}
    (answer,) = llm.chat([message], GREEDY)
    assert answer.prompt == "<|user|>hi\n<|assistant|>"
    assert len(llm.chat([[message], [message, message]], GREEDY)) == 2


def test_log_probabilities_are_one_per_token(llm):
    params = SamplingParams(
        temperature=0, max_tokens=4, ignore_eos=True, logprobs=2, prompt_logprobs=1
    )
    completion = llm.generate([[4, 5, 6]], params)[0]
    assert [len(one.top_ids) for one in completion.outputs[0].logprobs] == [2] * 4
    assert completion.prompt_logprobs[0] is None and len(completion.prompt_logprobs) == 3


@pytest.mark.parametrize(
    ("prompt", "params", "kind"),
    [
        ([], GREEDY, InvalidParameter),
        ([999], GREEDY, InvalidParameter),
        ([-1], GREEDY, InvalidParameter),
        ([1] * 600, GREEDY, PromptTooLong),
    ],
)
def test_a_bad_prompt_is_refused_and_harms_nothing(llm, prompt, params, kind):
    with pytest.raises(kind):
        llm.generate([prompt], params)
    assert llm.generate([[3]], GREEDY)[0].outputs[0].token_ids == expected([3], 6, 320)


def test_a_closed_llm_says_so(directory):
    llm = LLM(directory, platform="null")
    llm.close()
    llm.close()
    with pytest.raises(EngineStopped, match="closed"):
        llm.generate([[3]], GREEDY)


def test_a_refused_completion_takes_its_siblings_along(directory):
    async def scenario():
        llm = await AsyncLLM.start(directory, platform="null", max_num_seqs=1, max_queue=1)
        try:
            with pytest.raises(Overloaded):
                await llm.generate([5, 6], SamplingParams(n=4, max_tokens=400, ignore_eos=True))
            patience = Patience("both that were let in are cancelled")
            while llm.client._streams._open:
                patience.look()
                await asyncio.sleep(0)
            alone = await llm.generate([5], GREEDY)
            assert alone.outputs[0].token_ids == expected([5], 6, 320)
            assert (await llm.client.stats()).total_generated_tokens < 2 * 400
        finally:
            await llm.close()

    asyncio.run(scenario())


def test_unknown_settings_and_platforms_are_named(directory):
    with pytest.raises(TypeError, match="max_model_length"):
        LLM(directory, max_model_length=3)
    with pytest.raises(PlatformNotFound, match="'abacus'"):
        LLM(directory, platform="abacus")


@pytest.mark.parametrize("in_process", [True, False], ids=["thread", "process"])
def test_async_completions_and_streams(directory, in_process):
    async def scenario():
        llm = await AsyncLLM.start(directory, platform="null:ahead2", in_process=in_process)
        try:
            prompts = [[n + 2, 3] for n in range(8)]
            found = await asyncio.gather(*(llm.generate(prompt, GREEDY) for prompt in prompts))
            assert [one.outputs[0].token_ids for one in found] == [
                expected(p, 6, 320) for p in prompts
            ]
            whole = await llm.chat([{"role": "user", "content": "hi"}], GREEDY)
            pieces = [
                delta.text
                async for delta in llm.stream([{"role": "user", "content": "hi"}], GREEDY)
            ]
            assert "".join(pieces) == whole.text
            with pytest.raises(InvalidParameter):
                async for _ in llm.stream("x", SamplingParams(n=2)):
                    pass
        finally:
            await llm.close()

    asyncio.run(scenario())
