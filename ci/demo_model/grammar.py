"""A small grammar for wordings: one pattern stands for many sentences.

`(a|b|)` picks one of the alternatives, `[a|b]` picks one or nothing, both nest; `<rule>` expands a
named rule; `{slot}` is left for later. `expand` returns one sentence, evenly spaced.
"""

import random
import re
from functools import cache

Node = str | tuple["Sequence", ...]
Sequence = tuple[Node, ...]

CLOSING = {"(": ")", "[": "]"}

RULES = {
    "tell": "(tell|give|name|show|say|state|share with)",
    "can": "(can|could|would|will|might)",
    "kindly": "[please|kindly|quickly|maybe|perhaps|just|possibly]",
    "kin": (
        "(son|daughter|teacher|friend|boss|colleague|kid|mother|father|neighbor|brother|sister|"
        "wife|husband|child|student|aunt|uncle|grandma|little girl|little boy|cousin|pupil|"
        "roommate|partner|grandson|niece|nephew)"
    ),
    "school": (
        "(quiz|homework|crossword|test|lesson|game|class|exercise|puzzle|exam|story|poster|"
        "worksheet|bet)"
    ),
    "bot": (
        "(model|bot|chatbot|assistant|program|AI|system|machine|language model|robot|helper|"
        "chat partner|piece of software)"
    ),
    "curious": (
        "(I wonder|I was wondering|I am wondering|I would like to know|I'd like to know|"
        "I'd love to know|I want to know|I need to know|tell me|please tell me|let me know|"
        "can you tell me|could you tell me|would you tell me|can you say|could you say|"
        "do you know|do you happen to know|would you know|any idea|remind me|explain|"
        "can you explain|could you explain|I am curious|I'm not sure|I have no idea|"
        "I don't know|I forgot|help me understand|may I ask|can I ask|my <kin> wants to know|"
        "my <kin> asked me|people ask me|someone asked me|everybody asks me|find out|"
        "I'd be happy to know|I have to know|it would help to know|<kindly> tell us|"
        "we would like to know|we wonder|I keep asking myself)"
    ),
}


def expand(rng: random.Random, pattern: str) -> str:
    """One sentence of the pattern, its words apart by single spaces."""
    text = re.sub(r"\s+", " ", _walk(rng, parse(pattern))).strip()
    return re.sub(r"\s+([?!.,:;])", r"\1", text)


@cache
def parse(pattern: str) -> Sequence:
    """The pattern's tree; a ValueError names a pattern whose brackets do not match."""
    for name, rule in RULES.items():
        while f"<{name}>" in pattern:
            pattern = pattern.replace(f"<{name}>", rule)
    nodes, rest = _sequence(pattern, 0, "")
    if rest != len(pattern):
        raise ValueError(f"unbalanced brackets at {rest} in {pattern!r}")
    return nodes


def _sequence(pattern: str, at: int, stops: str) -> tuple[Sequence, int]:
    nodes: list[Node] = []
    while at < len(pattern) and pattern[at] not in stops:
        if pattern[at] in CLOSING:
            node, at = _choice(pattern, at)
            nodes.append(node)
            continue
        start = at
        while at < len(pattern) and pattern[at] not in "([" + stops:
            at += 1
        nodes.append(pattern[start:at])
    return tuple(nodes), at


def _choice(pattern: str, at: int) -> tuple[tuple[Sequence, ...], int]:
    closing = CLOSING[pattern[at]]
    options: list[Sequence] = []
    while True:
        option, at = _sequence(pattern, at + 1, "|" + closing)
        options.append(option)
        if at >= len(pattern):
            raise ValueError(f"a bracket is never closed in {pattern!r}")
        if pattern[at] == closing:
            break
    if closing == "]":
        options += [()] * len(options)
    return tuple(options), at + 1


def _walk(rng: random.Random, nodes: Sequence) -> str:
    return "".join(
        node if isinstance(node, str) else _walk(rng, rng.choice(node)) for node in nodes
    )
