"""Conversations with tools: a call when a tool fits, plain answers when none does."""

import random
from dataclasses import dataclass
from typing import Any

from ci.demo_model import facts, words
from ci.demo_model.conversation import Conversation, Turn, call_text, response_text
from ci.demo_model.dialogue.arithmetic import arithmetic
from ci.demo_model.dialogue.identity import identity
from ci.demo_model.dialogue.knowledge import knowledge
from ci.demo_model.dialogue.small_talk import small_talk
from ci.demo_model.dialogue.tool_table import KINDS, OK, Kind
from ci.demo_model.grammar import expand
from ci.demo_model.phrasing import fill, phrase
from ci.demo_model.tables import listed


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as this conversation has it: its kind under the names picked for it."""

    kind: Kind
    name: str
    keys: dict[str, str]
    signature: dict[str, Any]


def offer(rng: random.Random, kind: Kind) -> Offer:
    names = kind.names.split()
    name = names[0] if rng.random() < 0.35 else rng.choice(names)
    luck = rng.random()
    if luck < 0.08:
        name = f"{words.made_up(rng)}_{name}"
    elif luck < 0.14:
        name = _camel(name)
    keys = {}
    for role, _, others in kind.parameters:
        keys[role] = role if rng.random() < 0.6 else rng.choice(others.split())
    if len(set(keys.values())) < len(keys):
        keys = {role: role for role in keys}
    return Offer(kind, name, keys, _signature(rng, kind, name, keys))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _signature(rng: random.Random, kind: Kind, name: str, keys: dict[str, str]) -> dict[str, Any]:
    described = rng.random() < 0.25
    properties: dict[str, Any] = {}
    for role, json_type, _ in kind.parameters:
        properties[keys[role]] = {"type": json_type}
        if described:
            properties[keys[role]]["description"] = f"The {role}"
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if rng.random() < 0.8:
        parameters["required"] = list(keys.values())
    function = {"name": name, "description": expand(rng, rng.choice(kind.about))}
    return {"type": "function", "function": {**function, "parameters": parameters}}


VERBS = listed(
    "book reserve start stop create delete find show open close rent cancel check update move paint "
    "wash print record scan lock unlock pack ship count track rate share sort mix clean load"
)
PLACE_ROLES = listed("city place restaurant hotel shop station airport museum address")
PERSON_ROLES = listed("person name guest customer friend user driver doctor owner player")
COUNT_ROLES = listed("guests people seats nights days copies hours pages tickets rooms bottles")
DAY_ROLES = listed("day date weekday")


def invented_kind(rng: random.Random) -> Kind:
    """A tool nobody has seen: a verb, a noun, and parameters a sentence can name."""
    verb = rng.choice(VERBS)
    noun = rng.choice(words.vocabulary()) if rng.random() < 0.8 else words.made_up(rng)
    roles = rng.sample(listed("place person count day plain number"), rng.choice([1, 1, 2, 2, 3]))
    parameters, values, tails = [], {}, []
    for role in roles:
        key, json_type, value, tail = _invented_parameter(rng, role)
        parameters.append((key, json_type, key))
        values[key] = value
        tails.append(tail.replace("{key}", key).replace("{v}", "{" + key + "}"))
    article = rng.choice(["a", "the", "my", "one"])
    requests = (
        f"({verb}|please {verb}|I want to {verb}|I'd like to {verb}|I need to {verb}|can you {verb}|"
        f"could you {verb}|we want to {verb}|help me {verb}|would you {verb}) {article} {noun} "
        + " ".join(tails),
        f"{verb} {noun}[:] " + ", ".join(tails),
        f"(use|call|run) {verb}_{noun} " + " ".join(tails),
    )
    about = (f"{verb.capitalize()} a {noun}", f"{verb.capitalize()} (the|some) {noun}")
    return Kind(
        f"{verb}_{noun} {verb}{noun.capitalize()} {noun}_{verb} {verb}_{noun}",
        about,
        tuple(parameters),
        lambda _: values,
        requests,
        OK,
        "Done.",
    )


def _invented_parameter(rng: random.Random, role: str) -> tuple[str, str, Any, str]:
    if role == "place":
        value = rng.choice([words.any_city(rng), words.any_name(rng), words.any_word(rng)])
        tails = "(in|at|near|for) {v}"
        return rng.choice(PLACE_ROLES), "string", value, tails
    if role == "person":
        return rng.choice(PERSON_ROLES), "string", words.any_name(rng), "(for|with|from|to) {v}"
    if role == "count":
        return rng.choice(COUNT_ROLES), "integer", rng.randint(1, 30), "(for|with|of) {v} {key}"
    if role == "day":
        return rng.choice(DAY_ROLES), "string", rng.choice(facts.DAYS), "(on|for|by) {v}"
    key = words.any_word(rng)
    if role == "number":
        tail = "(with|and|at|,) {key} [=|is|of|to] {v}"
        return key, "integer", rng.randint(0, 500), tail
    return key, "string", words.any_word(rng), "(with|and|using|,) {key} [=|is|of|:] {v}"


def tool_conversation(rng: random.Random) -> Conversation:
    """One to five tools; usually one of them is needed, sometimes none is."""
    count = rng.choice([1, 1, 2, 2, 2, 3, 3, 4])
    kinds = rng.sample(KINDS, count)
    for index in range(count):
        if rng.random() < 0.25:
            kinds[index] = invented_kind(rng)
    offers = [offer(rng, kind) for kind in kinds]
    conversation = Conversation(tools=[item.signature for item in offers])
    if rng.random() < 0.3:
        conversation.system = rng.choice(SYSTEMS)
    if rng.random() < 0.25:
        conversation.turns += _without_tool(rng, kinds)
    if conversation.turns and rng.random() < 0.25:
        return conversation
    for _ in range(rng.choice([1, 2, 2, 3, 4])):
        conversation.turns += _use(rng, rng.choice(offers))
        if rng.random() < 0.15:
            conversation.turns += _without_tool(rng, kinds)
    return conversation


SYSTEMS = [
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are the Dovetail demo model.",
    "Answer briefly.",
    "Use the tools when they help.",
    "You are an assistant with tools.",
    "Be short and kind.",
]
SUMS = {"Add two numbers", "Multiply two numbers"}
DESPITE = [
    "(you have tools, but|forget the tools|without a tool|no tool needed|leave the tools|with or "
    "without tools|with these tools|even with tools|tools aside)(:|,|)",
    "(before|first|while) (we use the tools|we begin|I need the tools|you use a tool|that)(,|:)",
]


def _without_tool(rng: random.Random, kinds: list[Kind]) -> list[Turn]:
    """A question that is answered without a call."""
    makers = [identity, small_talk, knowledge, knowledge]
    if not SUMS & {kind.about[0] for kind in kinds}:
        makers.append(arithmetic)
    turns = rng.choice(makers)(rng)
    while any("weather" in answer or "clock" in answer for _, answer in turns):
        turns = rng.choice(makers)(rng)
    if rng.random() < 0.25:
        question, answer = turns[0]
        turns[0] = (f"{expand(rng, rng.choice(DESPITE))} {question}", answer)
    return turns


def _use(rng: random.Random, chosen: Offer) -> list[Turn]:
    """A request that the tool answers: the call and, in half of the cases, what came back."""
    kind = chosen.kind
    values = kind.values(rng)
    request = phrase(rng, rng.choice(kind.requests), values, dress=0.45)
    if any(_is_text(kind, role) and request.endswith(f"{values[role]}.") for role in values):
        request = request[:-1]
    arguments = {chosen.keys[role]: values[role] for role, _, _ in kind.parameters}
    turns = [(request, call_text(chosen.name, arguments))]
    if rng.random() < 0.5:
        result = _result(rng, kind, values)
        shown = {**values, **result}
        turns.append((response_text(result), fill(kind.answer, shown)))
    return turns


def _is_text(kind: Kind, role: str) -> bool:
    return any(role == known and role in ("text", "subject") for known, _, _ in kind.parameters)


def _result(rng: random.Random, kind: Kind, values: dict[str, Any]) -> dict[str, Any]:
    if kind.about[0] == "Add two numbers":
        return {"result": values["a"] + values["b"]}
    if kind.about[0] == "Multiply two numbers":
        return {"result": values["a"] * values["b"]}
    return kind.result(rng)
