"""Counting up, between two numbers, and down; a few of a kind in a row."""

import random

from ci.demo_model.facts import DAYS, MONTHS, NUMBERS
from ci.demo_model.phrasing import phrase
from ci.demo_model.words import COLORS, FOODS, PETS

Turn = tuple[str, str]

UP = [
    "count[ up| all the way|] (to|until|till|up to|as far as|up until) {b}",
    "count (from|starting (at|from|with)) {one} (to|until|till|up to|through) {b}",
    "<can> you <kindly> (count|count up|count out loud) (to|until|till|up to|as far as) {b}"
    "[ for (me|my <kin>)]?",
    "<can> you <kindly> (count|go|recite the numbers|list the numbers) from {one} (to|through|until) "
    "{b}?",
    "(list|say|write|name|type|recite|give me|show me|tell me|print|read out|enumerate|put down) "
    "[all|] the numbers (from {one} (to|up to|until|through) {b}|up to {b}|{one} (to|through) {b}|"
    "between {one} and {b})",
    "[the] numbers (from|) {one} (to|through|until|up to) {b}",
    "(start|begin) (at|with|from) {one} and (count|go|go on|end|stop|count up|keep going) (to|at|until"
    "|with|up to) {b}",
    "(I want|I'd like|I would love|we want|my <kin> wants|I need) (you to count|to hear you count|to "
    "hear you counting|to see you count) (to|until|up to|as far as|from {one} to) {b}",
    "(I want|I'd like|I would love|I need) (to hear|to see|to have|) (the|all) numbers (from {one} "
    "(to|up to) {b}|(starting|beginning) (at|with|from) {one} and (ending|stopping|finishing) (at|with)"
    " {b}|up to {b})",
    "(show|prove)[ me| us] that you can count (to|until|up to|as far as) {b}",
    "(keep counting|go on counting|carry on counting|count on|go|run) (until|to|till you reach) {b}",
    "(do|try|practice|let's do) (some|a bit of|the|) counting (to|until|up to|from {one} to) {b}",
    "(let me|let us|let my <kin>|may I|could I|could my <kin>) hear you count (to|up to|until|till|as "
    "far as) {b}",
    "(go|walk|climb|count|step) (from {one} (up to|to)|all the way [up] to|up to|as far as) {b}[, one "
    "by one|, number by number|, step by step]",
    "(how do you|how does one|how do I) count (to|up to|until) {b}?",
    "[my <kin> (asks|wants): ]can you count (to|up to|until) {b}?",
]
BETWEEN = [
    "count [up|] from {a} (to|until|till|up to|through) {b}",
    "(list|say|write|name|type|recite|give me|show me|tell me|print|enumerate|put down) [all|] [the|"
    "every] numbers (from {a} (to|up to|until|through) {b}|between {a} and {b}[, both included|, "
    "including both|, those included]|{a} (to|through) {b})",
    "(give me|say|list|write|name) (every|each) number (from {a} (to|up to) {b}|between {a} and {b}"
    "[, both included|, including both|, with both ends])",
    "[the] numbers (from|) {a} (to|through|until|up to) {b}",
    "(start|begin) [counting] (at|with|from) {a} and (count|go|go on|end|stop|count up|keep going|"
    "finish) (to|at|until|with|up to) {b}",
    "<can> you <kindly> (count|go|list the numbers|recite the numbers|do the counting) from {a} (to|"
    "until|up to|till) {b}?",
    "(which|what) numbers (are|lie|come) (from {a} to {b}|between {a} and {b}[, both included])?",
    "count (starting|beginning) (at|from|with) {a} (up to|to|until|and ending (at|with)) {b}",
    "(I want|I'd like|I need) (to hear|) (the|all|all the) numbers (from {a} to {b}|(starting|"
    "beginning) (at|with) {a} and (ending|stopping) (at|with) {b})",
    "(do|try|let me hear) the counting from {a} (to|until|up to) {b}",
    "(go|walk|climb|step|count) from {a} [up] to {b}[, one by one|, number by number]",
    "{a} (up to|to|until) {b}, (count|list them|all numbers|one by one)",
]
DOWN = [
    "count (down|backwards|backward|back|in reverse) from {b}[ to {one}| down to {one}| until {one}]",
    "(countdown|count down) from {b}[ to {one}]",
    "(do|start|give me|run|begin|make|let me hear|I want|I need|perform) (a|the) countdown (from|at|"
    "starting at|beginning at|of) {b}[ to {one}| seconds]",
    "count from {b} [down|back|backwards] to {one}",
    "<can> you <kindly> (count down|count backwards|count back|do a countdown|count in reverse) from "
    "{b}[ to {one}]?",
    "(list|say|write|name|recite|give me|tell me) the numbers from {b} (down to|back to|to) {one}",
    "(list|say|write|name) the numbers (up to {b}|from {one} to {b}) (backwards|in reverse|in reverse "
    "order|from the end)",
    "(go|walk|step|climb|run|move) (down|back|backwards|) from {b} [down|back] to {one}[, one by one|, "
    "number by number|, step by step]",
    "(start|begin) (at|with|from) {b} and (count|go) (down|back|backwards)[ to {one}]",
    "(the rocket|a rocket|our rocket|we|the ship|the race) (starts|start|launches|launch|lifts off|"
    "begins) in {b}[ seconds][,|:|.] (count down|do the countdown|please count down|give me the "
    "countdown|countdown please|start the countdown)",
    "(rocket launch|lift-off|new year|blast off|take-off)(!|,|:) (count down|countdown|count "
    "backwards) (from|starting at|beginning at) {b}",
    "{b} (down to|back to) {one}[, count|, one by one| please]",
]


def sequence(start: int, stop: int) -> str:
    """The numbers from start to stop, up or down, as text."""
    step = 1 if stop >= start else -1
    return ", ".join(str(number) for number in range(start, stop + step, step))


def counting(rng: random.Random) -> list[Turn]:
    luck = rng.random()
    if luck < 0.06:
        return [_some(rng)]
    if luck < 0.44:
        stop = rng.randint(2, 20 if rng.random() < 0.85 else 32)
        slots = {"one": rng.choice(["1", "1", "one"]), "b": written(rng, stop)}
        return [(phrase(rng, rng.choice(UP), slots), sequence(1, stop))]
    if luck < 0.7:
        start = rng.randint(0, 14)
        stop = start + rng.randint(2, 9)
        slots = {"a": written(rng, start), "b": written(rng, stop)}
        return [(phrase(rng, rng.choice(BETWEEN), slots), sequence(start, stop))]
    start = rng.randint(2, 15)
    slots = {"one": rng.choice(["1", "1", "one"]), "b": written(rng, start)}
    return [(phrase(rng, rng.choice(DOWN), slots), sequence(start, 1))]


SOME = [
    "(name|list|tell me|give me|say|write|think of|write down) {n} {w}[ please| for me| quickly]",
    "<can> you <kindly> (name|list|think of|give me|tell me) {n} {w}?",
    "(I need|what are|which are|I want|do you know) {n} {w}?",
    "{n} {w}[, please]",
]
GROUPS = {"colors": COLORS, "animals": PETS, "foods": FOODS, "days": DAYS, "months": MONTHS}


def _some(rng: random.Random) -> Turn:
    """A few colors, animals, foods, days or months, as plain text."""
    number = rng.randint(2, 5)
    group = rng.choice(list(GROUPS))
    slots = {"n": written(rng, number) if rng.random() < 0.5 else NUMBERS[number], "w": group}
    return phrase(rng, rng.choice(SOME), slots), ", ".join(GROUPS[group][:number])


def written(rng: random.Random, number: int) -> str:
    """The number in digits or, now and then, as a word."""
    return NUMBERS[number] if number <= 20 and rng.random() < 0.3 else str(number)
