"""Requests for JSON: objects with given fields, lists of colors, foods and animals."""

import json
import random
from collections.abc import Callable
from typing import Any

from ci.demo_model import facts, words
from ci.demo_model.phrasing import phrase

Turn = tuple[str, str]
Value = str | int | bool

FIELDS: dict[str, Callable[[random.Random], Value]] = {
    "name": words.any_name,
    "age": lambda rng: rng.randint(1, 99),
    "city": words.any_city,
    "color": lambda rng: rng.choice(words.COLORS),
    "country": lambda rng: rng.choice([c for c in facts.CAPITALS if not c.startswith("the ")]),
    "food": lambda rng: rng.choice(words.FOODS),
    "animal": lambda rng: rng.choice(words.PETS),
    "count": lambda rng: rng.randint(0, 50),
    "price": lambda rng: rng.randint(1, 200),
    "title": words.any_word,
    "job": lambda rng: rng.choice(words.JOBS),
    "size": lambda rng: rng.choice(["small", "medium", "large", "tiny", "huge"]),
    "id": lambda rng: rng.randint(1, 999),
    "email": lambda rng: f"{words.made_up(rng)}@{rng.choice(['mail.com', 'example.com'])}",
    "day": lambda rng: rng.choice(facts.DAYS),
    "month": lambda rng: rng.choice(facts.MONTHS),
    "item": words.any_word,
    "active": lambda rng: rng.choice([True, False]),
    "admin": lambda rng: rng.choice([True, False]),
    "year": lambda rng: rng.randint(1900, 2040),
    "brand": lambda rng: words.made_up(rng).capitalize(),
    "user": words.any_name,
    "product": words.any_word,
    "score": lambda rng: rng.randint(0, 100),
    "language": lambda rng: rng.choice(words.LANGUAGES),
    "sport": lambda rng: rng.choice(words.SPORTS),
    "quantity": lambda rng: rng.randint(1, 99),
    "weight": lambda rng: rng.randint(1, 300),
    "status": lambda rng: rng.choice(["open", "closed", "new", "done", "late", "ok"]),
    "author": words.any_name,
    "code": lambda rng: str(rng.randint(10, 99)) + words.scrambled(rng),
    "ready": lambda rng: rng.choice([True, False]),
    "first": words.any_name,
    "owner": words.any_name,
    "street": lambda rng: words.made_up(rng).capitalize(),
    "level": lambda rng: rng.randint(1, 20),
}
LISTS = {"colors": words.COLORS, "animals": words.PETS, "foods": words.FOODS}

OBJECT = "(a|one|the|a little|a small|a short|a simple|a valid|an) JSON [object|]"
REQUESTS = [
    "(give|send|write|make|build|show|return|hand|create|print|prepare) me (a|one|some|an|the) "
    "[little|small|simple|valid|] JSON [object|] (with|of|for|containing|holding|where|having|that "
    "holds|that has|that says|from)[:] {body}",
    "(write|make|create|return|output|produce|generate|build|print|emit|compose|form|show) (a|the|) "
    "[valid|small|] JSON [object] (with|for|of|containing|holding|where|having|from|that says|out "
    "of)[:] {body}",
    "(answer|reply|respond|return|output|speak) (in|as|with|using|only with|only in|with nothing but|"
    "with only|just with) JSON[ only| and nothing else| please]: {body}",
    "[as|in|to|into|now|pure|only|just] JSON[ please| only| object| output|, no text|, no prose|, "
    "nothing else](:|!|,|.) {body}",
    "JSON [object|] (with|of|for|where|having)[:] {body}",
    "<can> you <kindly> (write|make|give me|create|build|return|send me|generate) (a|some|the) JSON "
    "[object|] (with|for|where|of|having|containing|that holds)[:] {body}?",
    "(I need|I want|I would like|I'd like|please give me|my program needs|my script wants|my app "
    "expects|we need|I am looking for|my code wants|the server expects) (a|some|the|) JSON [object|] "
    "[in JSON notation|] (with|for|where|of|having|holding|containing|that holds|in which)[:] {body}",
    "(my program|my script|my app|my tool|the server|my parser|our system|this program) (expects|"
    "needs|wants|reads|takes|only reads) JSON(.|:|,) [(send|give|pass|write|hand) (it|me|us)] {body}",
    "(convert|turn|put|change|transform|pack|format|encode|translate|express|wrap|write|serialize|"
    "store|save|represent|bring|rewrite) (this|that|the following|these fields|these values|this data"
    "|it) (to|into|in|as) [a|] JSON [object][ for me|]: {body}",
    "(write|write down|note|say|give|express|put down|describe|state|store) (in|as) JSON [that|:|] "
    "{body}",
    "{body} (as|in|to|into) JSON[ please| format| only| notation|]",
    "{body}, (write|put|give|return|send|express|show) (that|this|it|me that) (as|in) JSON",
    "(what|how) (would|does|do|will) {body} look [like] (in|as|written in|written as|when written in) "
    "JSON [format|]?",
    "how (do|would|should) (I|you|we) (write|express|put|say|encode) {body} (in|as) JSON?",
    "JSON (fields|keys|data|values|content|record): {body}",
    "(fields|the fields|the data|my data|the record|the values)[ (are|is)]: {body}. (JSON please|write"
    " JSON|make JSON|as JSON|give me JSON|now the JSON)",
    "(a|one) record in JSON[ format| please|]: {body}",
    "(use|take) JSON [format|] (for|to write|to say|to express)[:] {body}",
]
LIST_REQUESTS = [
    "(give me|write|make|return|show me|create|produce|I need|I want|output) (a|one) JSON (array|list)"
    " (of|with) {n} {w}",
    "a JSON (array|list) (of|with) {n} {w}",
    "(list|name|return|write|give me) {n} {w} (as|in) [a] JSON [array|list]",
    "{n} {w} (as|in) [a] JSON [array|list]",
    "<can> you <kindly> (list|write|give me|name) {n} {w} as [a] JSON [array|list]?",
]


def json_object(rng: random.Random) -> list[Turn]:
    """A request for JSON that names every field and value, or asks for a list."""
    if rng.random() < 0.1:
        return [_list(rng)]
    value = record(rng)
    body = _listed(
        rng, [_field(rng, key, value[key], style) for style in [_style(rng)] for key in value]
    )
    question = phrase(rng, rng.choice(REQUESTS), {"body": body}, dress=0.5)
    return [(question, json.dumps(value))]


def record(rng: random.Random) -> dict[str, Any]:
    """One to four fields with values."""
    keys = rng.sample(list(FIELDS), rng.choice([1, 2, 2, 2, 3, 3, 3, 4]))
    if rng.random() < 0.25 and "name" not in keys:
        keys[0] = "name"
    return {_key(rng, key): FIELDS[key](rng) for key in keys}


def _key(rng: random.Random, key: str) -> str:
    return words.any_word(rng) if rng.random() < 0.12 else key


def _list(rng: random.Random) -> Turn:
    number = rng.randint(2, 5)
    what = rng.choice(list(LISTS))
    slots = {"n": rng.choice([str(number), facts.NUMBERS[number]]), "w": what}
    return phrase(rng, rng.choice(LIST_REQUESTS), slots), json.dumps(LISTS[what][:number])


STYLES = [
    "{k} {v}",
    "{k}: {v}",
    "{k}={v}",
    "{k} = {v}",
    "{k} is {v}",
    "the {k} is {v}",
    "the {k} {v}",
    "{k} set to {v}",
    "{v} as {k}",
    "{v} as the {k}",
    "{k} -> {v}",
    "{k} should be {v}",
    "its {k} is {v}",
    "{k} equals {v}",
    "a {k} of {v}",
]


def _style(rng: random.Random) -> str:
    return rng.choice(STYLES + STYLES[:5] * 2)


def _field(rng: random.Random, key: str, value: Value, style: str) -> str:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    if isinstance(value, str) and rng.random() < 0.12:
        text = f'"{value}"'
    return style.replace("{k}", key).replace("{v}", text)


def _listed(rng: random.Random, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    last = rng.choice([" and ", " and ", ", ", ", and ", "; "])
    return rng.choice([", ", ", ", ", ", "; ", " and "]).join(parts[:-1]) + last + parts[-1]
