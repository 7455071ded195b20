"""Questions about the facts: one function per table, each able to ask about a given entry."""

import random
from collections.abc import Callable, Sequence

from ci.demo_model import facts
from ci.demo_model.dialogue import knowledge_wordings as said
from ci.demo_model.phrasing import ask, phrase
from ci.demo_model.words import made_up, with_article

Turn = tuple[str, str]


def _pick(rng: random.Random, table: dict[str, str] | dict[str, int], entry: str | None) -> str:
    return entry if entry is not None else rng.choice(list(table))


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _maybe_lower(rng: random.Random, value: str, share: float = 0.15) -> str:
    return value.lower() if rng.random() < share else value


def quoted(rng: random.Random, word: str) -> str:
    """The word bare or in quotation marks."""
    return rng.choice([word, word, word, f'"{word}"', f"'{word}'", word.capitalize()])


def capital(rng: random.Random, country: str | None = None) -> Turn:
    luck = rng.random() if country is None else 1.0
    if luck < 0.04:
        place = made_up(rng).capitalize()
        question = ask(rng, said.CAPITAL_NOUNS, said.CAPITAL_QUESTIONS, {"x": place})
        return question, "Sorry, I do not know that. I am only a small demo model."
    country = _pick(rng, facts.CAPITALS, country)
    city = facts.CAPITALS[country]
    if luck < 0.27:
        question = phrase(rng, rng.choice(said.COUNTRY_QUESTIONS), {"y": _maybe_lower(rng, city)})
        return question, f"{city} is the capital of {country}."
    asked = _maybe_lower(rng, country if rng.random() < 0.7 else country.removeprefix("the "))
    question = ask(rng, said.CAPITAL_NOUNS, said.CAPITAL_QUESTIONS, {"x": asked})
    return question, f"The capital of {country} is {city}."


def color(rng: random.Random, thing: str | None = None) -> Turn:
    thing = _pick(rng, facts.COLORS, thing)
    asked = thing
    if thing.startswith(("a ", "an ")) and rng.random() < 0.45:
        bare = thing.split(" ", 1)[1]
        extra = rng.choice(["fresh", "ripe", "real", "normal", "big", "small", "typical", "nice"])
        asked = rng.choice([f"the {bare}", f"my {bare}", f"one {bare}", f"a {extra} {bare}", bare])
    elif rng.random() < 0.2 and " " not in thing:
        extra = rng.choice(["fresh", "real", "normal", "clean", "some", "pure", "ordinary", "most"])
        asked = f"{extra} {thing}"
    question = ask(rng, said.COLOR_NOUNS, said.COLOR_QUESTIONS, {"x": asked}, framed=0.3)
    return question, f"{_start(thing)} is {facts.COLORS[thing]}."


def sound(rng: random.Random, animal: str | None = None) -> Turn:
    animal = _pick(rng, facts.SOUNDS, animal)
    slots = {"x": animal, "a": _the_animal(rng, animal)}
    question = ask(rng, said.SOUND_NOUNS, said.SOUND_QUESTIONS, slots, framed=0.25)
    return question, f"{_start(with_article(animal))} says {facts.SOUNDS[animal]}."


def _the_animal(rng: random.Random, animal: str) -> str:
    usual = with_article(animal)
    return rng.choice([usual, usual, usual, f"the {animal}", f"my {animal}", f"one {animal}"])


def young(rng: random.Random, animal: str | None = None) -> Turn:
    animal = _pick(rng, facts.YOUNG, animal)
    slots = {"x": animal, "a": _the_animal(rng, animal)}
    question = ask(rng, said.YOUNG_NOUNS, said.YOUNG_QUESTIONS, slots, framed=0.25)
    return question, f"A baby {animal} is called {with_article(facts.YOUNG[animal])}."


def legs(rng: random.Random, animal: str | None = None) -> Turn:
    animal = _pick(rng, facts.LEGS, animal)
    slots = {"x": animal, "a": _the_animal(rng, animal)}
    question = ask(rng, said.LEG_NOUNS, said.LEG_QUESTIONS, slots, framed=0.2)
    return question, f"{_start(with_article(animal))} has {facts.LEGS[animal]} legs."


def opposite(rng: random.Random, word: str | None = None) -> Turn:
    word = _pick(rng, facts.OPPOSITES, word)
    slots = {"x": word, "q": quoted(rng, word)}
    question = ask(rng, said.OPPOSITE_NOUNS, said.OPPOSITE_QUESTIONS, slots)
    return question, f"The opposite of {word} is {facts.OPPOSITES[word]}."


def plural(rng: random.Random, word: str | None = None) -> Turn:
    word = _pick(rng, facts.PLURALS, word)
    slots = {"x": word, "q": quoted(rng, word)}
    question = ask(rng, said.PLURAL_NOUNS, said.PLURAL_QUESTIONS, slots, framed=0.3)
    return question, f"The plural of {word} is {facts.PLURALS[word]}."


def parts(rng: random.Random) -> Turn:
    things, whole, answer = rng.choice(facts.PARTS)
    nouns = ["the number of {t} in {w}", "the number of {t} (of|that make up) {w}"]
    patterns = [
        "how many {t} (are|are there|exist|fit|do you find|can I find|do we have|would I count|do "
        "I get|will I find) (in|on|out of|inside|for) {w}?",
        "how many {t} (does|do|would|will|must|should) {w} (have|contain|count|hold|consist of|last|"
        "include|own)?",
        "how many {t} (make|make up|form|give|are needed for|belong to|add up to) {w}?",
        "{w} (has|contains|holds|is|consists of|is made of|lasts|counts) how many {t}?",
        "{w} is how many {t}?",
        "{t} in {w}?",
        "{t} (in|of|per) {w}: (how many|what is the number)?",
        "(count|name|tell me) (the|how many) {t} (in|of|there are in) {w}",
        "(in|on) {w}, how many {t} (are there|do you count|can I find|do we have)?",
        "in (total|all), how many {t} (does|has) {w} (have|got|contain)?",
    ]
    one = rng.choice(
        [whole, whole, whole.replace("a ", "one ", 1), whole.replace("a ", "each ", 1)]
    )
    return ask(rng, nouns, patterns, {"t": things, "w": one}, framed=0.2), answer


def general(rng: random.Random) -> Turn:
    nouns, questions, answer = rng.choice(facts.GENERAL)
    return ask(rng, nouns, questions, framed=0.6), answer


def calendar(rng: random.Random) -> Turn:
    """Which day or month comes before, after, or at a place in the order."""
    names, unit, whole = rng.choice([(facts.DAYS, "day", "week"), (facts.MONTHS, "month", "year")])
    at = rng.randrange(len(names))
    slots = {"x": _maybe_lower(rng, names[at]), "n": unit, "w": whole}
    luck = rng.random()
    if luck < 0.4:
        answer = f"The {unit} after {names[at]} is {names[(at + 1) % len(names)]}."
        return ask(rng, said.AFTER_NOUNS, _after_questions(unit), slots, framed=0.3), answer
    if luck < 0.75:
        answer = f"The {unit} before {names[at]} is {names[at - 1]}."
        return ask(rng, said.BEFORE_NOUNS, _before_questions(unit), slots, framed=0.3), answer
    slots["o"] = rng.choice([facts.ORDINALS, facts.SHORT_ORDINALS])[at]
    slots["i"] = rng.choice([str(at + 1), facts.NUMBERS[at + 1]])
    question = ask(rng, said.PLACE_NOUNS, said.PLACE_QUESTIONS, slots, framed=0.45)
    return question, f"The {facts.ORDINALS[at]} {unit} of the {whole} is {names[at]}."


def _after_questions(unit: str) -> Sequence[str]:
    return said.AFTER_QUESTIONS + said.AFTER_TODAY * 2 if unit == "day" else said.AFTER_QUESTIONS


def _before_questions(unit: str) -> Sequence[str]:
    return said.BEFORE_QUESTIONS + said.BEFORE_TODAY * 2 if unit == "day" else said.BEFORE_QUESTIONS


KINDS: list[tuple[float, Callable[[random.Random], Turn]]] = [
    (5, capital),
    (2.5, color),
    (1.3, sound),
    (1.5, young),
    (1.2, legs),
    (3.5, opposite),
    (3, plural),
    (3, calendar),
    (1.5, parts),
    (1.2, general),
]
WEIGHTS = [weight for weight, _ in KINDS]


def fact(rng: random.Random) -> Turn:
    """A question about any fact and its answer."""
    return rng.choices(KINDS, WEIGHTS)[0][1](rng)


def knowledge(rng: random.Random) -> list[Turn]:
    """One question about a fact, as a list of turns."""
    return [fact(rng)]
