"""Turns that need the turn before: the same question again, names, results, words, order."""

import random
from collections.abc import Callable, Mapping

from ci.demo_model import facts, words
from ci.demo_model.dialogue import knowledge as ask
from ci.demo_model.dialogue import knowledge_wordings as said
from ci.demo_model.dialogue.counting import sequence, written
from ci.demo_model.dialogue.letters import reversed_reply, spelled, spelling
from ci.demo_model.dialogue.recall import field_of_object, liking, not_told, own_name, owning
from ci.demo_model.phrasing import phrase

Turn = tuple[str, str]

LEAD = "[and|ok|great|fine|good|nice|right|thanks|now|cool|alright|perfect|well|super|I see|so|very good][,|]"
SAME = [
    f"{LEAD} (and|what about|how about|and what about|what of|and how about|then what about) {{x}}?",
    f"{LEAD} (and|now|next|also|then|same for|next one|again for|now for|this time|next up)[:] {{x}}",
    f"{LEAD} (the same|same question|do the same|same thing|same again|one more time|likewise|once "
    "more|ditto) (for|with) {x}",
    f"{LEAD} (do|try|take|now do|now take|tell me|also tell me|give me|let's do|go on with|continue "
    "with|let's take|could you also do|can you also do|can you do|please do|now try|I need|also give "
    "me|now tell me) {x}[ too| as well| now| next| please|, please]",
    f"{LEAD} (what|which one|which|how) (is|would be|would it be|is it|does it look) (for|with|in the "
    "case of|when it comes to|if I say|for the word|if we take|if it is) {x}?",
    "{x}?",
    "{x}",
    "(and|ok, and|so|but) {x}?",
    f"{LEAD} (what|which one|which) (does|has|would) {{x}} (have|got)?",
    f"{LEAD} (if|when) (I|you|we) (take|ask about|think of|look at|say|change it to|replace it by|use|"
    "pick) {x} instead[, what is it (then|now)|, what then|]?",
    "(my next one is|the next one is|next is|another one|one more|a further one)(:|,|) {x}",
    f"{LEAD} (what|which) (is it|one is it|would it be|answer do I get|is the answer) for {{x}}?",
    f"{LEAD} (I'd like|I also need|I would also like|I want|we also want) (the same|it|that|one) for "
    "{x}[ too| as well| please]",
    "{x}, (what about it|then|please|too|as well|what about that one|how about that|now)[?]",
    "(not {old}, but|instead of {old}, take|I meant|no, I mean|rather|I should have said|sorry, I "
    "meant) {x}",
]
SPELL_IT = [
    f"{LEAD} (spell|spell out|write) (it|that|that word|the answer|your answer|this word|this|that "
    "name|the last word)[ letter by letter| for me| out| please]",
    f"{LEAD} how (do|would|can|should) (you|I|we|one) (spell|write) (it|that|that word|the answer|"
    "this|that city|that name|this word|that one)?",
    f"{LEAD} how is (it|that|this|that word|the answer|that name) (spelled|written|spelt)?",
    f"{LEAD} <can> you <kindly> spell (it|that|this|the answer|that word|that one)[ for me]?",
    f"{LEAD} (which|what) letters (are in it|does it have|are in that word|make it)?",
    f"{LEAD} (letter by letter|in single letters|the letters of it|its letters|its spelling)[, please]",
]
REVERSE_IT = [
    f"{LEAD} (reverse|flip|turn around|mirror|invert) (it|that|that word|the answer|your answer|this)",
    f"{LEAD} (write|say|spell|read|type) (it|that|the answer|that word|this) (backwards|in reverse|from "
    "back to front|from the end|the other way around)",
    f"{LEAD} (what is|how is|what's) (it|that|the answer|that word) (backwards|in reverse|reversed)?",
    f"{LEAD} <can> you <kindly> (reverse|flip|turn around) (it|that|the answer|that word)?",
    "(and|now|the same) (backwards|in reverse|reversed|from back to front)[?]",
]
REPEAT_IT = [
    f"{LEAD} (repeat|say|tell me|write|give me) (that|it|this|your answer|the answer|what you said|"
    "that last part|your last answer|the last one|your reply)[ again| once more| please| one more time"
    "| a second time]",
    f"{LEAD} (say|tell me|write) (that|it) (again|once more|one more time|a second time)[ please]",
    "(pardon|pardon me|sorry|excuse me|what|come again|once more|again|say again|huh|one more time|"
    "how was that|I beg your pardon)[ please|, what was that|, what did you say|, could you repeat "
    "that|, say it again]?",
    f"{LEAD} what (did you|have you) [just] (say|said|answer|answered|write|tell me)[ just now| before"
    "| again]?",
    f"{LEAD} <can> you <kindly> (repeat|say again|say once more|write again|restate) (that|it|your "
    "answer|this|the last answer|what you said)[ for me]?",
    "I (did not|didn't|could not|couldn't|can't) (hear|catch|get|understand|read|follow|see) (you|that"
    "|it|this|your answer|what you said)[, (say it again|repeat please|please repeat|say that once "
    "more|what was it|once more please|please say that again|again please)]",
    f"{LEAD} what was (that|your answer|the answer|your last answer|it|your reply)[ again]?",
    "(I forgot|I missed|I lost|I have forgotten) (it|that|your answer|the answer|what you said)[, "
    "(again please|what was it|repeat it|say it again)]",
]

Chain = tuple[Mapping[str, object], Callable[[random.Random, str], Turn], Callable[[str], str]]
CHAINS: list[Chain] = [
    (facts.CAPITALS, ask.capital, str),
    (facts.CAPITALS, ask.capital, str),
    (facts.OPPOSITES, ask.opposite, str),
    (facts.PLURALS, ask.plural, str),
    (facts.COLORS, ask.color, str),
    (facts.SOUNDS, ask.sound, words.with_article),
    (facts.YOUNG, ask.young, words.with_article),
    (facts.LEGS, ask.legs, words.with_article),
]


def same_again(rng: random.Random) -> list[Turn]:
    """A question about one entry, then only the names of others."""
    table, maker, named = rng.choice(CHAINS)
    entries = rng.sample(list(table), rng.choice([2, 2, 3, 4]))
    turns = [maker(rng, entries[0])]
    for old, entry in zip(entries, entries[1:], strict=False):
        shown = rng.choice([named(entry), f"the {entry}"]) if named is not str else entry
        if entry.isalpha() and rng.random() < 0.15:
            shown = entry.lower()
        question = phrase(rng, rng.choice(SAME), {"x": shown, "old": old}, dress=0.2)
        turns.append((question, maker(rng, entry)[1]))
    return turns


def spell_again(rng: random.Random) -> list[Turn]:
    """Several words to spell, the later ones named only."""
    turns = spelling(rng)
    for _ in range(rng.randint(1, 2)):
        word = words.any_word(rng)
        question = phrase(rng, rng.choice(SAME[:6]), {"x": word, "old": "that"}, dress=0.2)
        turns.append((question, spelled(word)))
    return turns


MORE = [
    f"{LEAD} (add|plus|put|and|and plus|then add|now add|increase it by|raise it by) {{c}}[ more| to "
    "that| to it| on top| to the result| to this| on top of (that|it)][ please]",
    f"{LEAD} (and|what) if (I|we|you) (add|put|give|include) {{c}} [more| to that| to it| on top]?",
    f"{LEAD} {{c}} more[ is what|, what is it|, how much is that|, please]?",
    f"{LEAD} (what is|how much is|what do I get with) (that|it|the result|this) (plus|and|increased by) "
    "{c}?",
    "(+ {c}|plus {c}|+{c})[?]",
]
LESS = [
    f"{LEAD} (minus|subtract|take away|take|remove|take off|now subtract|less|deduct|now take|decrease "
    "it by|lower it by) {c}[ from (that|it|the result|this|that result)| away| again| of it][ please]",
    f"{LEAD} (take|remove) {{c}} (away|off|) from (that|it|the result|this|your answer)",
    f"{LEAD} (and|what) if (I|we|you) (subtract|remove|take away|lose|take off) {{c}}[ from that]?",
    f"{LEAD} {{c}} less[ is what|, what is it|, how much is that|, please]?",
    f"{LEAD} (what is|how much is|what do I get with) (that|it|the result|this) (minus|less) {{c}}?",
    "(- {c}|minus {c}|-{c})[?]",
]
FIRST_SUM = [
    "(what is|what's|how much is|calculate|compute|tell me|) {a} (+|plus|and) {b}[?]",
    "(add|sum) {a} and {b}",
    "{a}+{b}[=]",
    "what do {a} and {b} (make|give)?",
    "the sum of {a} and {b}",
]
FIRST_DIFFERENCE = [
    "(what is|what's|how much is|calculate|compute|tell me|) {a} (-|minus) {b}[?]",
    "(subtract|take) {b} from {a}",
    "{a}-{b}[=]",
]


def running_sum(rng: random.Random) -> list[Turn]:
    """A sum or difference, then more of it or less."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    if rng.random() < 0.7:
        total, question = a + b, phrase(rng, rng.choice(FIRST_SUM), {"a": a, "b": b}, dress=0.5)
        turns = [(question, f"{a} + {b} = {total}")]
    else:
        a, b = max(a, b), min(a, b)
        total = a - b
        question = phrase(rng, rng.choice(FIRST_DIFFERENCE), {"a": a, "b": b}, dress=0.5)
        turns = [(question, f"{a} - {b} = {total}")]
    for _ in range(rng.choice([1, 1, 2])):
        c = rng.randint(1, 9)
        grows = rng.random() < 0.5 or c > total
        shown = written(rng, c)
        wording = phrase(rng, rng.choice(MORE if grows else LESS), {"c": shown}, dress=0.2)
        after = total + c if grows else total - c
        turns.append((wording, f"{total} {'+' if grows else '-'} {c} = {after}"))
        total = after
    return turns


WORD_SOURCES: list[tuple[Mapping[str, str], Callable[[random.Random, str], Turn]]] = [
    (facts.CAPITALS, ask.capital),
    (facts.OPPOSITES, ask.opposite),
    (facts.PLURALS, ask.plural),
    (facts.COLORS, ask.color),
    (facts.YOUNG, ask.young),
]


def word_of_answer(rng: random.Random) -> list[Turn]:
    """A fact, then its answer spelled or reversed."""
    table, maker = rng.choice(WORD_SOURCES)
    entry = rng.choice([key for key, value in table.items() if value.isalpha()])
    word = table[entry].lower()
    turns = [maker(rng, entry)]
    if len(word) <= 7 and rng.random() < 0.4:
        turns.append((phrase(rng, rng.choice(REVERSE_IT), dress=0.2), reversed_reply(word)))
    else:
        turns.append((phrase(rng, rng.choice(SPELL_IT), dress=0.2), spelled(word)))
    return turns


def say_again(rng: random.Random) -> list[Turn]:
    question, answer = ask.fact(rng)
    return [(question, answer), (phrase(rng, rng.choice(REPEAT_IT), dress=0.2), answer)]


COUNT_FIRST = ["count to {n}", "(can you|please) count (to|up to) {n}", "count from 1 to {n}"]
COUNT_BACK = [
    f"{LEAD} (backwards|and back|and backwards|in reverse|the other way|the other way around|in the "
    "other direction|from the end|down again|back down|and now back|back to 1)[ please]",
    f"{LEAD} (count|do it|say it|say them|go|list them|reverse|the same) (backwards|back|down|in reverse"
    "|in the other direction|the order|the other way around)[ again| please]",
    f"{LEAD} <can> you <kindly> (count back|go back|do it backwards|count down again|reverse it)?",
]
COUNT_ON = [
    f"{LEAD} (go on|continue|keep going|carry on|count on|on|go further|keep counting|move on|more|now "
    "up|now) (to|until|up to|till) {m}[ please]",
    f"{LEAD} <can> you <kindly> (go on|continue|keep going|carry on|count on) (to|until|up to) {{m}}?",
]


def counting_on(rng: random.Random) -> list[Turn]:
    stop = rng.randint(2, 12)
    first = phrase(rng, rng.choice(COUNT_FIRST), {"n": written(rng, stop)}, dress=0.5)
    turns = [(first, sequence(1, stop))]
    if rng.random() < 0.5:
        return [*turns, (phrase(rng, rng.choice(COUNT_BACK), dress=0.2), sequence(stop, 1))]
    last = stop + rng.randint(2, 6)
    question = phrase(rng, rng.choice(COUNT_ON), {"m": written(rng, last)}, dress=0.2)
    return [*turns, (question, sequence(stop + 1, last))]


NEXT_ONE = [
    "(and|then|and then|then what|what then|and next|and after|so then|next|the next one)[?]",
    f"{LEAD} (which one|what|which|which {{n}}|what {{n}}|and which one|and what) (comes|is|follows|is "
    "next|will be|comes next) [right|directly|] after (that|that one|it|this one|this|the one you "
    "said)?",
    f"{LEAD} (and|what about|how about|now|tell me|name|give me) (the next one|the one after|the one "
    "after that|the following one|the following {n}|the next {n}|the {n} after (that|it|this)|the {n} "
    "following that [one])[?]",
    f"{LEAD} (which one|which {{n}}|what|what {{n}}) (follows|succeeds) (that|it|that one|this one)?",
    f"{LEAD} what (comes|is) (next|after that|then|after it)?",
    f"{LEAD} (when that is over|once that ends|after that|once it is over)[,] (what|which {{n}}) "
    "(comes|is next|starts|follows)?",
]
ONE_BEFORE = [
    f"{LEAD} (which one|what|which|which {{n}}|what {{n}}) (comes|is|was|lies) [right|directly|] before "
    "(that|that one|it|this one|this)?",
    f"{LEAD} (and|what about|how about|now|tell me|name|give me) (the one before|the one before that|"
    "the previous one|the {n} before (that|it|this)|the previous {n}|the preceding one)[?]",
    f"{LEAD} what (came|comes|is|was) before (that|it|that one)?",
]


def along_calendar(rng: random.Random) -> list[Turn]:
    """The day or month after one, then the next or the one before again."""
    names, unit = rng.choice([(facts.DAYS, "day"), (facts.MONTHS, "month")])
    at = rng.randrange(len(names))
    step, nouns = rng.choice([(1, said.AFTER_QUESTIONS), (-1, said.BEFORE_QUESTIONS)])
    side = "after" if step == 1 else "before"
    slots = {"x": names[at], "n": unit, "w": "week" if unit == "day" else "year"}
    there = (at + step) % len(names)
    answer = f"The {unit} {side} {names[at]} is {names[there]}."
    turns = [(phrase(rng, rng.choice(nouns), slots), answer)]
    for _ in range(rng.choice([1, 1, 2])):
        patterns = NEXT_ONE if step == 1 else ONE_BEFORE
        following = (there + step) % len(names)
        answer = f"The {unit} {side} {names[there]} is {names[following]}."
        turns.append((phrase(rng, rng.choice(patterns), slots, dress=0.2), answer))
        there = following
    return turns


KINDS: list[tuple[float, Callable[[random.Random], list[Turn]]]] = [
    (5, same_again),
    (1, spell_again),
    (2.4, own_name),
    (2, liking),
    (1.2, owning),
    (0.5, not_told),
    (2.4, running_sum),
    (2.2, word_of_answer),
    (1.8, say_again),
    (1.2, counting_on),
    (1.6, along_calendar),
    (1, field_of_object),
]
WEIGHTS = [weight for weight, _ in KINDS]


def follow_up(rng: random.Random) -> list[Turn]:
    """Two or more turns, the later ones meaningless without the earlier."""
    return rng.choices(KINDS, WEIGHTS)[0][1](rng)
