"""What the user told earlier and asks for later: names, likes, what is owned, fields of a record."""

import random
from collections.abc import Callable

from ci.demo_model import facts, words
from ci.demo_model.dialogue import knowledge as ask
from ci.demo_model.dialogue.objects import FIELDS
from ci.demo_model.phrasing import phrase
from ci.demo_model.tables import listed

Turn = tuple[str, str]

NAME_GIVEN = [
    "(my name is|I am|I'm|call me|you can call me|people call me|they call me|my friends call me|this "
    "is|my name's|I am called|the name is|please call me|it's|I go by) {v}",
    "(hello|hi|hey|good morning|good evening|hello there|hi there|nice to meet you), (my name is|I am|"
    "I'm|this is|call me|I am called|my name's) {v}",
    "(my name is|I am|I'm|this is) {v} and I (like|love|enjoy|play) (music|football|tea|cats|pizza|"
    "chess|blue|books|coding|the sea)",
    "{v} (is my name|here|is what people call me|is how they call me)",
    "(I am|I'm) {v} (from {city}|and I am new here|and who are you|, nice to meet you|, remember that)",
    "(remember|keep in mind|note|please remember|don't forget)[ that| please| this]: my name is {v}",
]
NAME_ASKED = [
    "(what is|what's|do you know|do you remember|say|tell me|remember|can you tell me|do you still "
    "know|please say|repeat|what was|can you recall|can you say) my name[ again| now| still]",
    "who am I[ again| now]?",
    "(what|how) (am I|do people) (called|named|call me|call|known as)[ again]?",
    "(which|what) name (did I (tell|give) you|do I have|is mine|have I told you|did I say|did I use|"
    "belongs to me|do I go by)[ before| earlier]?",
    "what did I (say|tell you) (my name (was|is)|I am called|my name is called)?",
    "(do you|can you|could you|are you able to) [still] (know|remember|recall|tell me|say|repeat) (who "
    "I am|what I am called|how I am called|my name|what my name is|the name I told you|what they call "
    "me)[ again]?",
    "(test|memory test|quick test|let's see|small test)(:|,) (what is my name|who am I|how am I called|"
    "do you remember my name|do you know who I am|say my name)?",
    "(have you|did you) (forgotten|forget|keep|noted|remember|learn) (my name|who I am)?",
    "(use|say|greet me by|write down|spell out) my name[, please]",
    "my name (is|was) [what|...]?",
    "I (forgot|bet you forgot|hope you know) (my own name|my name|who I am)[, what is it]",
]


def own_name(rng: random.Random) -> list[Turn]:
    name = words.any_name(rng)
    city = rng.choice(words.CITIES)
    stated = phrase(rng, rng.choice(NAME_GIVEN), {"v": name, "city": city}, dress=0.15)
    turns = [(stated, f"Nice to meet you, {name}!")]
    turns += _between(rng)
    asked = phrase(rng, rng.choice(NAME_ASKED), dress=0.3)
    return [*turns, (asked, f"Your name is {name}.")]


def _between(rng: random.Random) -> list[Turn]:
    """None to two other questions, so that what was said has to be found further back."""
    return [ask.fact(rng) for _ in range(rng.choice([0, 0, 1, 1, 2]))]


LIKED_GIVEN = [
    "(my favorite|my favourite) {k} is {v}",
    "{v} is my (favorite|favourite) {k}",
    "(remember|please remember|note|keep in mind|don't forget|know)[ that] my favorite {k} is {v}",
    "(I like|I love|I prefer|I enjoy) the {k} {v} (best|most|the most|more than all others)",
    "the {k} I (like|love|enjoy|prefer) (best|most|the most) is {v}",
    "(of all|among all|among) {k}s[,] (I like|I love|I prefer) {v} [best|most]",
    "(for me|to me)[,] the best {k} is {v}",
]
LIKED_ASKED = [
    "(what is|what's|tell me|say|do you know|do you remember|remember|what was|repeat|name|can you tell"
    " me) my (favorite|favourite|preferred|best liked) {k}[ again]",
    "(which|what) {k} (do I (like|love|prefer|enjoy) (best|most|the most)|do I (like|love|prefer)|is my "
    "(favorite|favourite)|did I (name|mention|tell you|say I like)|was my favorite|is it that I like "
    "(best|most))?",
    "(tell me|do you (know|remember|recall)|can you (say|recall|tell me)|say) [again|] (which|what) {k} "
    "I (like|love|enjoy|prefer) [best|most|the most]",
    "what did I (say|tell you) (my favorite {k} (was|is)|about my favorite {k}|I like best)?",
    "my (favorite|favourite) {k}?",
    "(memory test|test|quick question)(:|,) my favorite {k} is [what|...]?",
    "do you (still|) (know|remember|recall) (the|which|what) {k} I (like|love|mentioned|told you about|"
    "like best|prefer)?",
]
LIKED: dict[str, Callable[[random.Random], str]] = {
    "color": lambda rng: rng.choice(words.COLORS),
    "food": lambda rng: rng.choice(words.FOODS),
    "animal": lambda rng: rng.choice(words.PETS),
    "city": words.any_city,
    "number": lambda rng: str(rng.randint(1, 99)),
    "word": words.any_word,
    "fruit": lambda rng: rng.choice(listed("apple pear plum cherry banana lemon grape melon")),
    "sport": lambda rng: rng.choice(words.SPORTS),
    "day": lambda rng: rng.choice(facts.DAYS),
    "month": lambda rng: rng.choice(facts.MONTHS),
    "song": words.any_song,
    "drink": lambda rng: rng.choice(listed("tea coffee water milk juice cocoa lemonade")),
    "season": lambda rng: rng.choice(listed("spring summer autumn winter")),
    "name": words.any_name,
    "country": lambda rng: rng.choice([c for c in facts.CAPITALS if c[:4] != "the "]),
    "letter": lambda rng: rng.choice("abcdefghijklmnopqrstuvwxyz"),
    "team": lambda rng: words.made_up(rng).capitalize(),
}


def liking(rng: random.Random) -> list[Turn]:
    kind = rng.choice(list(LIKED))
    slots = {"k": kind, "v": LIKED[kind](rng)}
    stated = phrase(rng, rng.choice(LIKED_GIVEN), slots, dress=0.15)
    turns = [(stated, f"I will remember: your favorite {kind} is {slots['v']}.")]
    turns += _between(rng)
    asked = phrase(rng, rng.choice(LIKED_ASKED), slots, dress=0.3)
    return [*turns, (asked, f"Your favorite {kind} is {slots['v']}.")]


OWNED_GIVEN = [
    "my {k} is (called|named) {v}",
    "(I have|I've got|there is|I own) a {k} (called|named) {v}",
    "the name of my {k} is {v}",
    "(remember|note)[ that]: my {k} is called {v}",
    "{v} is my {k}",
]
OWNED_ASKED = [
    "(what is|what's|tell me|do you remember|say) (the name of my {k}|my {k}'s name)",
    "(what|how) is my {k} (called|named)[ again]?",
    "(who|what) is (my {k}|the name of my {k})?",
    "(which|what) name does my {k} have?",
    "do you (know|remember|recall) (what my {k} is called|my {k}'s name|my {k}|how my {k} is called)?",
    "(what|how) did I call my {k}?",
]


def owning(rng: random.Random) -> list[Turn]:
    kind = rng.choice(
        [*words.PETS, "sister", "brother", "teacher", "boss", "friend", "boat", "son"]
    )
    slots = {"k": kind, "v": words.any_name(rng)}
    stated = phrase(rng, rng.choice(OWNED_GIVEN), slots, dress=0.15)
    turns = [(stated, f"I will remember: your {kind} is called {slots['v']}.")]
    turns += _between(rng)
    asked = phrase(rng, rng.choice(OWNED_ASKED), slots, dress=0.3)
    return [*turns, (asked, f"Your {kind} is called {slots['v']}.")]


def not_told(rng: random.Random) -> list[Turn]:
    """Asked for what was never said."""
    if rng.random() < 0.5:
        return [(phrase(rng, rng.choice(NAME_ASKED), dress=0.3), "You did not tell me your name.")]
    kind = rng.choice(list(LIKED))
    question = phrase(rng, rng.choice(LIKED_ASKED), {"k": kind}, dress=0.3)
    return [(question, f"You did not tell me your favorite {kind}.")]


FIELD_ASKED = [
    "(what is|what's|tell me|read) the {k}[ in it| there| of it]?",
    "(which|what) {k} (is in it|did I give|does it have|is it|is there)?",
    "(and|so) the {k} (is|was) [what]?",
]


def field_of_object(rng: random.Random) -> list[Turn]:
    """Some values are told; one of them is asked for."""
    keys = rng.sample([key for key in FIELDS if key not in ("active", "admin", "ready")], 3)
    value = {key: FIELDS[key](rng) for key in keys}
    told = ", ".join(f"{key} {item}" for key, item in value.items())
    opener = rng.choice(["Remember", "Here is my data", "Note this", "My record", "Keep in mind"])
    turns = [(f"{opener}: {told}", "I will remember that.")]
    for key in rng.sample(keys, rng.randint(1, 2)):
        question = phrase(rng, rng.choice(FIELD_ASKED), {"k": key}, dress=0.2)
        turns.append((question, f"The {key} is {value[key]}."))
    return turns
