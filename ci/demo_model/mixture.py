"""Whole conversations: which kinds of turns follow one another, and how often.

A conversation is a pure function of its number, so that any part of the training text can be made
again on its own.
"""

import random
from collections.abc import Callable, Iterator

from ci.demo_model.conversation import Conversation, Turn
from ci.demo_model.dialogue.arithmetic import arithmetic
from ci.demo_model.dialogue.counting import counting
from ci.demo_model.dialogue.follow_ups import follow_up
from ci.demo_model.dialogue.identity import identity
from ci.demo_model.dialogue.knowledge import knowledge
from ci.demo_model.dialogue.letters import letters, repeating, reversing, spelling
from ci.demo_model.dialogue.objects import json_object
from ci.demo_model.dialogue.small_talk import small_talk
from ci.demo_model.dialogue.tools import tool_conversation
from ci.demo_model.dialogue.unknown import unknown

TOOL_SHARE = 0.08
LONG_SHARE = 0.001
KINDS: list[tuple[float, Callable[[random.Random], list[Turn]]]] = [
    (15, identity),
    (11, small_talk),
    (10, unknown),
    (20, knowledge),
    (13, arithmetic),
    (11, spelling),
    (9, reversing),
    (6, letters),
    (4, repeating),
    (6, counting),
    (10, json_object),
    (16, follow_up),
]
WEIGHTS = [weight for weight, _ in KINDS]
SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are the Dovetail demo model.",
    "You are a friendly assistant.",
    "Answer briefly.",
    "Be kind and short.",
    "You are a chat bot.",
    "You are a concise assistant that answers in English.",
]


def conversation(number: int) -> Conversation:
    """The conversation of this number, always the same one."""
    rng = random.Random(number)
    if rng.random() < TOOL_SHARE:
        return tool_conversation(rng)
    result = Conversation()
    if rng.random() < 0.25:
        result.system = rng.choice(SYSTEMS)
    count = rng.choice([1, 1, 1, 2, 2, 3, 4, 5, 6])
    if rng.random() < LONG_SHARE:
        count = rng.randint(20, 50)
    for maker in rng.choices([maker for _, maker in KINDS], WEIGHTS, k=count):
        result.turns += maker(rng)
    return result


def conversations(first: int, count: int) -> Iterator[Conversation]:
    """The conversations numbered from `first` on."""
    for number in range(first, first + count):
        yield conversation(number)
