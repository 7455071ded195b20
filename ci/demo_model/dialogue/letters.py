"""Spelling, reversing, and questions about the letters of a word."""

import random

from ci.demo_model.phrasing import ask, phrase
from ci.demo_model.words import any_word

Turn = tuple[str, str]

SPELL_NOUNS = [
    "the [correct|right|exact] spelling of {q}",
    "(the|all|all the|the single|the individual) letters (of|in) {q}",
    "(the|all|all the) letters (that make up|that form|from which we build) {q}",
]
SPELL = [
    "(spell|spell out|sound out) {q}[ out]",
    "(spell|write|say|type|sound out|give me|read|dictate|recite|show|read out) {q} (letter by "
    "letter|one letter at a time|one by one|letter after letter|in single letters|with dashes|"
    "slowly, letter by letter|as separate letters)",
    "how (do|would|should|can|could|does) (you|I|we|one|people|they|my <kin>) (spell|write|type) {q}"
    "[ correctly| letter by letter| properly]?",
    "how (is|are|was) {q} (spelled|spelt|written|put together|built from letters)[ letter by letter| "
    "out| correctly]?",
    "<can> you <kindly> (spell|spell out|sound out|take apart) {q}[ for (me|us|my <kin>)]?",
    "(which|what) letters (are in|make|make up|form|do I need for|do I type for|are used in|does one "
    "write for|spell) {q}?",
    "(break|split|take|cut|divide|separate|chop) {q} (into|apart into|up into) [its|single|separate] "
    "letters",
    "(list|show|name|give|write|tell me) [all] the letters (of|in) {q}[ in order| one by one]",
    "(I can't|I cannot|I don't know how to|my <kin> can't|help me|how to|teach me to|I need to|I want "
    "to|I must) (spell|write) {q}",
    "(my <kin>) (asks|wants to know|needs to know) how (to (spell|write)|one (spells|writes)|you "
    "(spell|write)) {q}",
    "{q}: (spell it|spelling|letter by letter|spell this|how is it spelled|its letters)",
    "(spelling bee|spelling test|dictation|spelling contest)[ time](!|:|,) [your|the|the next] [word "
    "is] {q}",
    "(in the spelling bee|at school) (they asked for|I got) {q}, (how is it spelled|spell it)",
    "the word is {q}[, (spell it|please spell it|how do you spell it)]",
    "(put|set) (a dash|dashes|hyphens) between the letters of {q}",
]
REVERSE_NOUNS = [
    "{q} (backwards|reversed|in reverse|from back to front|from the end to the start|turned around)",
    "the (reverse|mirror image) of the (letters|word) {q}",
    "the letters of {q} in (reverse|reversed|backward|opposite) order",
    "{q} with its letters (reversed|in reverse order|turned around)",
]
REVERSE = [
    "(reverse|flip|invert|mirror|turn around|reverse the letters of|flip the letters of) {q}",
    "(write|spell|say|type|read|print|show|give me|put|read me) {q} (backwards|in reverse|reversed|"
    "from back to front|back to front|from right to left|from the end to the start|from last to "
    "first|from its last letter to its first|in the other direction|the other way around|starting "
    "from the end|starting with the last letter|in mirror writing|with the last letter first)",
    "(what is|what's|what would be|what comes out of) {q} (backwards|reversed|in reverse|written "
    "backwards|spelled backwards|from back to front|when read from the end)?",
    "how (do|would|can|could|does) (you|I|we|one) (write|spell|say|read|type) {q} (backwards|in "
    "reverse|from back to front|from the end|the other way around)?",
    "{q} (backwards|reversed|in reverse|back to front|from the end)[, please]",
    "<can> you <kindly> (reverse|flip|turn around|mirror|write backwards|spell backwards|invert) {q}"
    "[ for me]?",
    "(put|write|list|set|swap|change|arrange) the letters (of|in) {q} (in (reverse|backward|opposite|"
    "the opposite|the other) order|from last to first|backwards|the other way around|so that the "
    "last comes first|so the last letter is first)",
    "(what|which word) (do|would|will) (I|you|we) (get|see|have|read) (when|if) (I|you|we|someone) "
    "(reverse|flip|turn around|read backwards|mirror|write backwards|invert) {q}?",
    "(what|which word) (comes out|results|appears|is it|do I see) (if|when) (I|you|we) (read|write|"
    "spell|say) {q} (backwards|from the end|from right to left|in reverse|from its end|from the last "
    "letter to the first)?",
    "(what does|how does) {q} (look|sound) [like] (backwards|reversed|in reverse|when reversed|in a "
    "mirror|if written backwards|from the end)?",
    "(turn|change) {q} (around|back to front|the other way around|into its reverse)",
    "(start|begin) (at|with|from) the (last letter|end) of {q} and (go|write|read|spell|end) (to the "
    "front|to the first|backwards|with the first)",
]
FIRST_NOUNS = [
    "the (first|starting|initial|opening|very first) letter (of|in) {q}",
    "the letter (at the (start|beginning) of|that {q} starts with|that starts|that begins) {q}",
    "the initial of {q}",
]
FIRST = [
    "(which|what) letter (does|do) {q} (start|begin|open) with?",
    "(with|by|on) (which|what) letter does {q} (start|begin|open)?",
    "{q} (starts|begins|opens) with (which|what) [letter]?",
    "(which|what) letter (is|comes|stands) (first|at the start|at the beginning|at the front|in "
    "front) (in|of) {q}?",
    "(which|what) (letter|) (starts|begins|opens|leads) {q}?",
    "what does {q} (start|begin) with?",
    "(if|when) I (write|spell) {q}, (which|what) letter (comes first|do I write first|is first)?",
    "(how|where) does {q} (start|begin), (with|at) (which|what) letter?",
]
LAST_NOUNS = [
    "the (last|final|closing|very last|ending) letter (of|in) {q}",
    "the letter (at the end of|that {q} ends with|that ends|that closes) {q}",
]
LAST = [
    "(which|what) letter (does|do) {q} (end|finish|close|stop) (with|on|in)?",
    "(with|by|on|in) (which|what) letter does {q} (end|finish|close|stop)?",
    "{q} (ends|finishes|closes|stops) (with|on|in) (which|what) [letter]?",
    "(which|what) letter (is|comes|stands) (last|at the end|at the back|in last place) (in|of) {q}?",
    "(which|what) (letter|) (ends|closes|finishes) {q}?",
    "what does {q} (end|finish) with?",
    "(if|when) I (write|spell) {q}, (which|what) letter (comes last|do I write last|is last)?",
]
LENGTH_NOUNS = [
    "the [total] (number|count) of (letters|characters) (in|of) {q}",
    "(the|how many) (letter count|length) of {q}",
]
LENGTH = [
    "how many (letters|characters) (are|are there|do you count|can I count|can you find|would I "
    "write) (in|for) {q}?",
    "how many (letters|characters) (does|do|would|will) {q} (have|contain|consist of|count|need|use)?",
    "how long is {q}[ in letters]?",
    "(count|tell me) the (letters|characters|number of letters) (in|of) {q}",
    "{q} (has|contains|consists of|is made of|is built from|is made up of|counts|needs) how many "
    "(letters|characters)?",
    "(of|from|out of) how many (letters|characters) (is {q} made|does {q} consist|is {q} built)?",
    "{q}: how many letters?",
]


def shown(rng: random.Random, word: str) -> str:
    """The word as people point it out: bare, quoted, in capitals or after `the word`."""
    cased = rng.choice([word] * 6 + [word.upper(), word.capitalize()])
    ways = ["{}", "{}", "{}", '"{}"', "'{}'", "the word {}", "the word {}", 'the word "{}"']
    return rng.choice(ways).format(cased)


def spelled(word: str) -> str:
    return f"{word} is spelled {'-'.join(word)}."


def reversed_reply(word: str) -> str:
    return f"{'-'.join(word)} backwards is {'-'.join(reversed(word))}: {word[::-1]}"


def spelling(rng: random.Random) -> list[Turn]:
    word = any_word(rng)
    question = ask(rng, SPELL_NOUNS, SPELL, {"q": shown(rng, word)}, framed=0.15)
    return [(question, spelled(word))]


def reversing(rng: random.Random) -> list[Turn]:
    word = any_word(rng)[:7]
    question = ask(rng, REVERSE_NOUNS, REVERSE, {"q": shown(rng, word)}, framed=0.2)
    return [(question, reversed_reply(word))]


def letters(rng: random.Random) -> list[Turn]:
    """The first letter, the last letter, or how many letters there are."""
    word = any_word(rng)
    slots = {"q": shown(rng, word)}
    kind = rng.randrange(3)
    if kind == 0:
        answer = f"The first letter of {word} is {word[0]}."
        return [(ask(rng, FIRST_NOUNS, FIRST, slots, framed=0.3), answer)]
    if kind == 1:
        answer = f"{'-'.join(word)} ends with {word[-1]}, so the last letter is {word[-1]}."
        return [(ask(rng, LAST_NOUNS, LAST, slots, framed=0.3), answer)]
    counted = ", ".join(f"{letter} {place}" for place, letter in enumerate(word, 1))
    return [(ask(rng, LENGTH_NOUNS, LENGTH, slots, framed=0.25), _length_reply(counted, word))]


def _length_reply(counted: str, word: str) -> str:
    """The letters numbered one by one, so that the count can be read off the last of them."""
    return f"{counted}: {word} has {len(word)} letters."


REPEAT = [
    "(repeat|say|echo|write|copy|type|print|tell me|speak|shout|whisper)[ after me| exactly| this| "
    "back to me| the following| just| only]: {q}",
    "(repeat|say|echo|write|copy|type|print) (after me|exactly|the words|the following words|this "
    "word for word|these words)[:] {q}",
    "(please|<can> you|can you please) (repeat|say|echo|copy|write|print) (this|the following|after "
    "me|these words|back): {q}",
    "(I want|I'd like) you to (say|repeat|write|copy|echo): {q}",
    "(say|repeat|write) {quoted}",
    "(what I say is|my words are|I say): {q}. (repeat|repeat it|say it too|now you)",
    "(answer|reply|respond) (with|only with|with exactly|with the words|by saying)[:] {quoted}",
]


def repeating(rng: random.Random) -> list[Turn]:
    """Words to say back exactly."""
    words = [any_word(rng) for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 5]))]
    text = " ".join(words)
    question = phrase(rng, rng.choice(REPEAT), {"q": text, "quoted": f'"{text}"'}, dress=0.2)
    return [(_without_added_dot(question, text), text)]


def _without_added_dot(question: str, text: str) -> str:
    """What has to be repeated does not end in a mark that the phrasing put there."""
    return question.rstrip(".!?") if question.rstrip(".!?").endswith(text) else question
