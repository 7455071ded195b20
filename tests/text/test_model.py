"""From an ask in text to a request in tokens."""

from __future__ import annotations

import pytest
from dovetail.errors import InvalidParameter, PromptTooLong, RequestError
from dovetail.sampling import SamplingParams
from dovetail.text.model import TextModel
from dovetail.text.tokenizer import Tokenizer


@pytest.fixture
def model(byte_level: Tokenizer) -> TextModel:
    return TextModel(
        name="tiny",
        tokenizer=byte_level,
        template=None,
        eos_ids=frozenset({0}),
        max_model_len=20,
        vocab_size=400,
        defaults={"temperature": 0.5, "top_k": 7},
    )


def test_defaults_of_the_model_apply_where_the_request_is_silent(model: TextModel) -> None:
    params = model.sampling(top_k=3, temperature=None, max_tokens=None)
    assert (params.temperature, params.top_k, params.max_tokens) == (0.5, 3, None)


def test_the_context_bounds_what_is_generated(model: TextModel) -> None:
    prompt = [5] * 15
    free = model.request(prompt, SamplingParams(max_tokens=None), request_id="a")
    clipped = model.request(prompt, SamplingParams(max_tokens=16), request_id="b", clip=True)
    assert free.max_tokens == clipped.max_tokens == 5
    with pytest.raises(PromptTooLong, match=r"20 tokens.*15.*16.*together 31"):
        model.request(prompt, SamplingParams(max_tokens=16), request_id="c")
    with pytest.raises(PromptTooLong, match="shorten the prompt"):
        model.request([5] * 20, SamplingParams(max_tokens=None), request_id="d")
    assert model.request([5] * 20, SamplingParams(max_tokens=0), request_id="e").max_tokens == 0


def test_completions_of_one_seed_differ_and_repeat(model: TextModel) -> None:
    params = SamplingParams(seed=-3, n=3)
    seeds = [model.request([5], params, request_id="", index=i).seed for i in range(3)]
    assert len(set(seeds)) == 3 and min(seeds) >= 0
    assert seeds == [model.request([5], params, request_id="", index=i).seed for i in range(3)]


def test_end_of_sequence_can_be_ignored(model: TextModel) -> None:
    params = SamplingParams(stop_token_ids=(9,))
    assert model.request([5], params, request_id="").stop_ids == {0, 9}
    params = SamplingParams(stop_token_ids=(9,), ignore_eos=True)
    assert model.request([5], params, request_id="").stop_ids == {9}


@pytest.mark.parametrize("prompt", [[], [-1], [400], [5, 10**12]])
def test_prompts_of_other_ids_are_refused(model: TextModel, prompt: list[int]) -> None:
    with pytest.raises(InvalidParameter) as error:
        model.request(prompt, SamplingParams(), request_id="")
    assert error.value.param == "prompt"


def test_ids_in_parameters_are_checked(model: TextModel) -> None:
    with pytest.raises(InvalidParameter, match="logit_bias"):
        model.request([5], SamplingParams(logit_bias={400: 1.0}), request_id="")


def test_a_model_without_a_template_says_where_to_go(model: TextModel) -> None:
    with pytest.raises(RequestError, match="/v1/completions"):
        model.render([{"role": "user", "content": "x"}])


def test_a_text_that_cannot_fit_is_refused_before_it_is_encoded(model: TextModel) -> None:
    most = 20 * model.tokenizer.longest
    with pytest.raises(PromptTooLong, match=rf"{most + 1} characters.*20 tokens.*{most}"):
        model.encode("x" * (most + 1))
    assert model.encode("x" * most)


def test_many_stop_ids_are_refused(model: TextModel) -> None:
    with pytest.raises(InvalidParameter, match="1025 ids; at most 1024"):
        model.sampling(stop_token_ids=tuple(range(1025)))


def test_stop_ids_that_leave_nothing_to_draw_are_refused(model: TextModel) -> None:
    every = tuple(range(1, 400))  # 0 is the end of the sequence
    with pytest.raises(InvalidParameter, match="no token could be drawn"):
        params = SamplingParams(min_tokens=1, max_tokens=2, stop_token_ids=every)
        model.request([5], params, request_id="")
    model.request([5], SamplingParams(max_tokens=2, stop_token_ids=every), request_id="")
