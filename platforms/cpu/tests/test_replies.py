"""The bundled model's greedy replies to the questions it is accepted by (their first turns), beside those in f32."""

import sys
from pathlib import Path

import pytest
from dovetail import LLM, SamplingParams
from dovetail_cpu.native import library
from dovetail_cpu.native.library import Library

sys.path.insert(0, str(Path(__file__).parents[3]))

from ci.demo_model.questions import QUESTIONS

FOUND = library.find()
pytestmark = pytest.mark.skipif(not isinstance(FOUND, Library), reason=str(FOUND))


def replies(**settings):
    """Token ids of all replies: those without tools computed side by side, one with tools alone."""
    sampling = SamplingParams(temperature=0, max_tokens=128)
    chats = [[{"role": "user", "content": q.turns[0]}] for q in QUESTIONS if not q.tools]
    calling = next(question for question in QUESTIONS if question.tools)
    with LLM("demo", platform="cpu", **settings) as llm:
        said = llm.chat(chats, sampling)
        asked = [{"role": "user", "content": calling.turns[0]}]
        said += llm.chat(asked, sampling, tools=list(calling.tools))
    return [each.outputs[0].token_ids for each in said]


def test_replies_under_the_default_settings_are_those_of_f32():
    assert replies() == replies(dtype="f32", option=("kernels=openvino",))


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_replies_with_quantised_weights_are_those_of_f32_on_the_same_weights(weights):
    exact = replies(quantization=weights, dtype="f32", option=("kernels=openvino",))
    assert replies(quantization=weights, precision="accurate") == exact


def test_replies_with_int8_weights_and_activations_in_groups_are_those_of_f32_but_for_one_at_most():
    exact = replies(dtype="f32", option=("kernels=openvino",))
    said = replies(quantization="int8", precision="balanced")
    assert sum(one != other for one, other in zip(said, exact, strict=True)) <= 1
