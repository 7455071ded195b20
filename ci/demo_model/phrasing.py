"""How people wrap a request: greetings before it, politeness after it, frames, slips of the pen.

A request is a pattern (see `grammar`) with `{slots}`. The values are filled in last, so that no
slip ever touches what has to be copied.
"""

import random
import re
from collections.abc import Mapping, Sequence

from ci.demo_model.grammar import expand
from ci.demo_model.tables import listed

OPENERS = [
    "(hey|hi|hello|ok|okay|so|well|now|right|hmm|oh|and|alright|look|listen|say|um|yes|no|great|"
    "thanks|sorry|fine|cool|good|but|ah|actually|excuse me|hello again|hi there|hey there|nice)"
    "[ Dovetail| there| friend| buddy| my friend| little model| dear bot| robot| again| you],",
    "(one|a|another|a quick|a short|a small|an easy|my next|the next|a simple|a silly|my first|"
    "my last|just one|quick|next) (question|one|thing|request|query)[ for you](:|,|.)",
    "I have (a|one|another|a quick|one more) (question|request|thing to ask)[ for you](.|:|,)",
    "(please|kindly)[,]",
    "(help me [out]|I need [some|your] help|can you help me|be so kind|do me a favor|listen)(:|,|.)",
    "my <kin> (asks|asked|wants to know|is asking|wonders)[ me](:|,)",
    "(for|this is for) (my|a|the) <school>(:|,|.)",
    "(I am|I'm) (just |really |)(curious|wondering|bored|testing you|learning|lost|stuck)(:|,|.)",
    "let (me|us) (ask|test|try|see|check|start)( you| something| this|)(:|,|.)",
    "(here is|here's) (a question|an easy one|another one|a test|my question|something)(:|.|,)",
    "(and|ok|so) (now|then|next)(:|,|)",
    "(quiz|test|trivia|pop quiz|school|homework|crossword|riddle) (time|question|night)(:|!|,)",
    "(seriously|honestly|frankly|by the way|btw|in short|simple question|first|again|finally)(:|,)",
    "(I just installed this|this is my first try|I am new here|we are testing this)(.|,)",
    "(tell me|answer me|answer this)(:|,)",
]
CLOSERS = [
    " (please|thanks|thank you|pls|thx|then|exactly|again|quickly|right now|now|today|by the way)",
    " (for me|for my <kin>|for us|for my <school>|if you can|if possible|if you don't mind)",
    ", (please|thanks|thank you|do you know|can you tell me|would you say|you think|if I may ask)",
    ", (I forgot|I'm curious|just curious|my friend|dear|buddy|Dovetail|robot|little model)",
    " (in your opinion|in general|in short|in one word|in a few words|in simple words|normally)",
    " (this morning|this evening|this afternoon|tonight|for real|once more|at all|really)",
]
NOUN_FRAMES = [
    "(what is|what's|what is|what was|what would be|what exactly is|and what is) {n}?",
    "(what is|what's|what was|so what is) {n} (again|exactly|then|called|really)?",
    "{n}?",
    "{n}",
    "{n} (is|is called|would be|equals|was) (what|what exactly|what again)?",
    "{n} (is|would be|was|is called)[ ...]",
    "<tell> me {n}",
    "<kindly> <tell> me {n}",
    "(name|state|say|write|find|guess|write down|look for|list|spot|provide|recall) {n}",
    "<can> you <kindly> (tell|give|show|remind|teach) me[ of] {n}?",
    "<can> you <kindly> (name|say|state|find|guess|recall|write|share|provide) {n}?",
    "<can> you <kindly> (tell|show) (me|us) what {n} (is|might be|could be)?",
    "do you (know|remember|happen to know|still know|have|recall) {n}?",
    "do you (know|remember|happen to know|still know|think you know) what {n} is?",
    "(are you able|would it be possible) to (tell me|say|name|give me) {n}?",
    "(I need|I want|I would like|I'd like|I'd love|I have|I hope|I am trying|I'm trying) to "
    "(know|find out|learn|hear|get|say|name|give|remember|work out|write down) {n}",
    "(I need|I want|I am looking for|I'm looking for|I forgot|I search|I keep forgetting|"
    "I can't remember|I don't know|I can't recall|I'm after|please let me have) {n}",
    "(I wonder|I was wondering|I forgot|I can't remember|I don't know|not sure|no idea|"
    "I can never remember|I'm trying to remember|I can't think of) what {n} (is|might be|was)",
    "(any|do you have any|have you any|got any|you have any) (idea|clue|guess) "
    "(what {n} is|about {n}|as to {n})?",
    "(what do you think|what would you say|what do you believe|what do people say|how would you "
    "say|what do you say) (is|to be|about) {n}?",
    "what (do|should|would|can) (we|I|you|people|one) (call|say for|name|answer for|give as) {n}?",
    "my <kin> (asks|asked me|wants|needs|wants to know|is looking for|is learning) {n}",
    "my <kin> (asks|wants to know|asked me|can't remember|forgot) what {n} is",
    "(for|in) (my|a|the) <school> I (need|have to know|must write|should know|was asked) {n}",
    "(the question|my question|the task|question|the riddle) is[:] (what is|what's|name) {n}[?]",
    "(if I|when I|suppose I|if someone|if my <kin>) (asked|asks|want|wanted|needs) {n}, what (is it|"
    "would you say|should I say|do I say|is the answer)?",
    "(help me with|help me find|let me know|let me hear|explain|I bet you know|you must know|"
    "you surely know|surely you know) {n}",
]
FILLERS = listed(
    "just,really,actually,maybe,perhaps,kindly,quickly,now,again,still,then,also,simply,usually,"
    "you know,uh,well,please,like,I guess,for once,possibly,finally,exactly,in fact,honestly,so,"
    "typically,sort of,here,right",
    ",",
)
DROPPABLE = set(listed("the is a of me you please what to do can are in does would it that for"))
SYNONYMS: dict[str, Sequence[str]] = {
    "what is": ("what's", "whats", "what's"),
    "I am": ("I'm", "im"),
    "do not": ("don't", "dont"),
    "cannot": ("can't", "cant"),
    "color": ("colour",),
    "called": ("named", "known as"),
    "tell me": ("let me know", "tell us", "say to me"),
    "big": ("large", "huge"),
    "small": ("tiny", "little"),
    "you": ("u", "ya"),
    "are": ("r",),
    "favorite": ("favourite",),
    "want": ("wish", "want"),
    "would like": ("want", "wish"),
    "which": ("what",),
    "write": ("type", "print", "put down"),
    "say": ("speak out", "pronounce"),
    "show": ("display", "print"),
    "name": ("mention", "name"),
    "answer": ("reply", "response"),
    "make": ("produce", "create"),
    "how many": ("what number of", "how mny", "what count of"),
    "how much": ("what amount",),
    "give me": ("hand me", "let me have", "pass me", "bring me"),
    "can you": ("are you able to", "could you", "would you"),
    "could you": ("would you", "might you", "can you"),
    "I want": ("I need", "I wish", "I would love"),
    "the": ("teh", "that", "this"),
    "and": ("plus also", "&"),
    "know": ("kno", "remember"),
    "word": ("term", "expression"),
    "have": ("own", "got"),
    "comes": ("arrives", "goes"),
    "people": ("folks", "persons"),
    "right": ("correct", "proper"),
    "question": ("query", "thing to ask"),
}


def fill(text: str, slots: Mapping[str, object]) -> str:
    """The text with its `{slots}` replaced, each once per place, never inside a value."""
    return re.sub(r"\{(\w+)\}", lambda match: str(slots[match.group(1)]), text)


def phrase(
    rng: random.Random, pattern: str, slots: Mapping[str, object] | None = None, *, dress: float = 1
) -> str:
    """One wording of the pattern: dressed up with chance `dress`, with slips, its slots filled."""
    text = expand(rng, pattern).lstrip(" ,:.")
    ending = "?" if text.endswith("?") else ""
    text = text.rstrip("?")
    if rng.random() < 0.22 * dress:
        text += expand(rng, "_" + rng.choice(CLOSERS))[1:]
    if rng.random() < 0.42 * dress:
        text = f"{expand(rng, rng.choice(OPENERS))} {text}"
    text = _slips(rng, text) + ending
    return _dots_and_case(rng, fill(_lower(rng, text), slots or {}))


def ask(
    rng: random.Random,
    nouns: Sequence[str],
    questions: Sequence[str],
    slots: Mapping[str, object] | None = None,
    *,
    framed: float = 0.45,
) -> str:
    """A question: with chance `framed` a noun phrase in a frame, else one of the questions."""
    if nouns and (not questions or rng.random() < framed):
        pattern = rng.choice(NOUN_FRAMES).replace("{n}", rng.choice(nouns))
    else:
        pattern = rng.choice(questions)
    return phrase(rng, pattern, slots)


def _slips(rng: random.Random, text: str) -> str:
    """Now and then a synonym, a missing word, a filler or a typing slip, outside of slots."""
    if rng.random() < 0.24:
        text = _swap_synonym(rng, text)
    words = text.split(" ")
    luck = rng.random()
    at = rng.randrange(len(words))
    if luck < 0.09 and len(words) > 4 and words[at].lower() in DROPPABLE:
        del words[at]
    elif luck < 0.16 and len(words) > 3:
        words.insert(max(at, 1), rng.choice(FILLERS))
    elif luck < 0.22 and words[at].isalpha() and len(words[at]) >= 4:
        words[at] = _mistype(rng, words[at])
    return " ".join(words)


def _swap_synonym(rng: random.Random, text: str) -> str:
    found = [key for key in SYNONYMS if re.search(rf"(?<!{{)\b{key}\b(?!}})", text)]
    if not found:
        return text
    key = rng.choice(found)
    return re.sub(rf"(?<!{{)\b{key}\b(?!}})", rng.choice(SYNONYMS[key]), text, count=1)


def _mistype(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[: at + 1] + word[at:]


def _lower(rng: random.Random, text: str) -> str:
    """Lower case in three of ten texts, but never inside a slot's name."""
    if rng.random() >= 0.3:
        return text
    return re.sub(r"\{\w+\}|[A-Z]", lambda m: m[0] if m[0][0] == "{" else m[0].lower(), text)


def _dots_and_case(rng: random.Random, text: str) -> str:
    if rng.random() < 0.62:
        text = text[:1].upper() + text[1:]
    luck = rng.random()
    if luck < 0.18:
        return text.rstrip("?")
    if luck < 0.26:
        return text.rstrip("?") + rng.choice(["?", "??", " ?", "...", "!"])
    if not text.endswith(("?", ".", "!")) and luck < 0.62:
        text += rng.choice([".", ".", ".", "!"])
    return text
