"""The hundred fixed questions the bundled model is accepted by.

They were written before the wordings it is trained on, and none of them may occur in the training
text (`evaluate.py --overlap`). A follow-up is asked after the model's own replies to the turns
before it; only its last turn is judged, and only that turn's wording has to be new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.demo_model.checks import (
    Check,
    calls,
    counts,
    is_json,
    number,
    one_of,
    reverses,
    says,
    spells,
)

CATEGORY_SIZES = {
    "identity": 14,
    "small talk": 10,
    "facts": 28,
    "arithmetic": 12,
    "spelling": 8,
    "counting": 6,
    "json": 7,
    "tools": 7,
    "follow-ups": 8,
}


@dataclass(frozen=True, slots=True)
class Question:
    """User turns, the tools given, the result of a tool the model called, and what is right."""

    category: str
    turns: tuple[str, ...]
    check: Check
    tools: tuple[dict[str, Any], ...] = ()
    tool_result: dict[str, Any] | None = field(default=None)


def _tool(name: str, description: str, **parameters: str) -> dict[str, Any]:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


def _single(category: str, pairs: Sequence[tuple[str, Check]]) -> list[Question]:
    return [Question(category, (wording,), check) for wording, check in pairs]


COLORS = "red green blue yellow white black pink orange brown purple gray"
WEATHER = _tool("get_weather", "Get the current weather of a city", city="string")
CLOCK = _tool("get_time", "Get the local time in a city", city="string")
EMAIL = _tool("send_email", "Send an email", recipient="string", subject="string")
TABLE = _tool("book_table", "Book a table at a restaurant", restaurant="string", guests="integer")
SONG = _tool("play_song", "Play a song", title="string")
SUM = _tool("add_numbers", "Add two numbers", a="integer", b="integer")

IDENTITY = [
    ("Hmm, what have I just started here? Tell me your name.", says(r"demo model", never=r"^no\b")),
    ("Whom am I having the pleasure of chatting with?", says(r"demo model", never=r"^no\b")),
    (
        "Would Dovetail run on a machine with only an ordinary Intel processor?",
        says(r"\byes\b.*\bcpus?\b", never=r"\bno,"),
    ),
    ("I just installed Dovetail. What is it good for?", says(r"(serv|run)\w* .*models?")),
    ("In plain words, what does the Dovetail software do?", says(r"(serv|run)\w* .*models?")),
    ("Where did you come from, who put you together?", says(r"Dovetail (project|team)")),
    (
        "Be honest, is there a person typing these replies?",
        says(r"not a (human|person)", never=r"^yes"),
    ),
    ("Did the people at OpenAI build you?", says(r"^no\b.*Dovetail", never=r"^yes")),
    ("What number of parameters does your network have?", says(r"\bmillion\b")),
    (
        "Is Dovetail something I have to buy a licence for?",
        says(r"\bfree\b|no licen[sc]e", never=r"have to (buy|pay)"),
    ),
    (
        "Could my existing OpenAI client code talk to this server?",
        says(r"OpenAI[- ]compatible", never=r"^no\b"),
    ),
    (
        "Your answers are rather simple. How do I get a stronger model in here?",
        says(r"(larger|bigger|another) model"),
    ),
    (
        "Do my messages leave this computer?",
        says(r"^no\b|\bstays?\b", never=r"^yes|not a human|demo model|program"),
    ),
    (
        "Give me a rundown of the stuff you can help with.",
        says(r"(questions|numbers|spell|count|JSON|tools).*(questions|numbers|spell|JSON|tools)"),
    ),
]

SMALL_TALK = [
    ("Hey hey, little one!", says(r"^(hello|hi|hey)\b")),
    (
        "So, how has your week been treating you?",
        says(r"\bI am (fine|well|good)\b", never=r"sorry"),
    ),
    ("You really saved me there, thank you so much indeed.", says(r"\bwelcome\b")),
    ("I'm heading out now, see you around!", says(r"\b(good)?bye\b|see you")),
    ("A very good evening to you, dear machine.", says(r"^(good evening|hello)")),
    ("I could use a laugh, have you got anything?", says(r"^why .*\?.+", never=r"sorry")),
    ("Nothing went right for me today and I feel miserable.", says(r"sorry to hear|feel better")),
    ("Guess what, I got the job I wanted!", says(r"\b(great|glad|happy|congrat\w*)\b")),
    (
        "Who is going to win the next general election?",
        says(r"(do not|don't) know (that|how|who)|cannot do that|small demo model"),
    ),
    (
        "Can you summarise the plot of the newest James Bond film?",
        says(r"(do not|don't) know (that|how|who)|cannot do that|small demo model"),
    ),
]

FACTS = [
    ("I'm flying to the capital of Japan, which city do I land in?", says(r"\bTokyo\b")),
    ("Hungary's capital city goes by what name?", says(r"\bBudapest\b")),
    ("If you had to name Egypt's capital, what would you say?", says(r"\bCairo\b")),
    ("Oslo is where the government sits in which land?", says(r"\bNorway\b")),
    ("Quiz night: which city is it that Australia has for a capital?", says(r"\bCanberra\b")),
    ("What color would a ripe banana be?", one_of("yellow", COLORS)),
    ("Paint me some grass: which colour do I pick?", one_of("green", COLORS)),
    ("Fresh snow has what colour?", one_of("white", COLORS)),
    ("When I picture a flamingo, it is which color?", one_of("pink", COLORS)),
    ("A sheep on the meadow goes how?", says(r"\bbaa")),
    ("The noise that an owl makes is what?", says(r"\bhoot")),
    ("How does my kitty talk, I mean, what does a cat say?", says(r"\bmeow")),
    ("What should I call the little one of a cow?", says(r"\bcalf\b")),
    ("The farmer's sheep had a baby, what is that animal called?", says(r"\blamb\b")),
    ("Is there a special word for a young kangaroo?", says(r"\bjoey\b")),
    ("How many legs would I count if I looked at a spider?", number(8)),
    ("An ant walks around on how many legs?", number(6)),
    ("I need the word that is contrary to heavy.", says(r"\blight\b")),
    ("What would you say is the exact opposite of always?", says(r"\bnever\b")),
    ("If something isn't wet, then it's ...?", says(r"\bdry\b")),
    ("Which word stands against rich?", says(r"\bpoor\b")),
    ("One tooth, but several ...?", says(r"\bteeth\b")),
    ("When a woman is joined by another one, we speak of two ...?", says(r"\bwomen\b")),
    ("How should I write leaf when there are many of them?", says(r"\bleaves\b")),
    ("Yesterday was Friday, so what day is it now?", says(r"\bSaturday\b", never="Sunday")),
    ("Name the month that sits right before September.", says(r"\bAugust\b")),
    ("What's the third month in the calendar?", says(r"\bMarch\b")),
    ("How many minutes do I get out of one hour?", says(r"\b60\b|\bsixty\b")),
]

ARITHMETIC = [
    ("What do I get if I put 6 and 3 together?", number(9)),
    ("Be so good as to take 5 off 8.", number(3)),
    ("Would you do 7 times 6 in your head?", number(42)),
    ("So 9+4 comes out as?", number(13)),
    ("I've eaten 2 of my 9 cookies. How many remain on the plate?", number(7)),
    (
        "Five birds sit on a wire and two more land there. How many birds is that?",
        number(7),
    ),
    ("Give me the outcome of three times three.", number(9)),
    ("What's left over when six is taken away from ten?", number(4)),
    (
        "A box has 4 pens. I bought 5 boxes. How many pens are there altogether?",
        number(20),
    ),
    ("Please tell my daughter what 1 + 8 makes.", number(9)),
    ("What does 9 x 8 amount to?", number(72)),
    ("By how much is 7 bigger than 4?", number(3)),
]

SPELLING = [
    ("My pupil asks how one writes winter, letter after letter.", spells("winter")),
    ("Kindly sound out rabbit for me one letter at a time.", spells("rabbit")),
    ("How's the word bridge put together, letter-wise?", spells("bridge")),
    ("What comes out if I read the word lamp from its end to its start?", reverses("lamp")),
    ("Swap the order of the letters in cat so the last comes first.", reverses("cat")),
    ("The word hotel opens with which letter?", says(r"\bh[.!\"']*$")),
    ("On which letter does the word music finish?", says(r"\bc[.!\"']*$")),
    ("The word window is made of how many letters?", number(6)),
]

COUNTING = [
    ("Show off your counting: go as far as 7.", counts(1, 7)),
    ("I'd like to hear the numbers starting with 1 and ending with 10.", counts(1, 10)),
    ("Give me every number between 5 and 9, those two included.", counts(5, 9)),
    ("Be my launch clock: from 6 you tick down until you are at 1.", counts(6, 1)),
    ("Could my toddler hear you count till four?", counts(1, 4)),
    ("Walk back from 8 to 1, number by number.", counts(8, 1)),
]

JSON_OBJECTS = [
    (
        "Pack this into a JSON object for me: name is Sofia, age is 42",
        is_json({"name": "Sofia", "age": 42}),
    ),
    (
        "My script expects JSON. Send it city Lyon and country France.",
        is_json({"city": "Lyon", "country": "France"}),
    ),
    (
        "Reply with nothing but JSON: color blue, size large",
        is_json({"color": "blue", "size": "large"}),
    ),
    (
        "I want an object in JSON notation holding product = lamp and price = 19",
        is_json({"product": "lamp", "price": 19}),
    ),
    (
        "Write down as JSON that the name is Victor, the age is 28 and the job is pilot.",
        is_json({"name": "Victor", "age": 28, "job": "pilot"}),
    ),
    (
        "JSON please! Fields: id 512, active false",
        is_json({"id": 512, "active": False}),
    ),
    (
        "What would title: sunrise, year: 1999 look like written in JSON?",
        is_json({"title": "sunrise", "year": 1999}),
    ),
]

TOOLS = [
    Question(
        "tools",
        ("Should I take an umbrella in Hamburg today?",),
        calls("get_weather", {"city": "Hamburg"}),
        (WEATHER,),
    ),
    Question(
        "tools",
        ("What does the clock show in Sydney at the moment?",),
        calls("get_time", {"city": "Sydney"}),
        (WEATHER, CLOCK, EMAIL),
    ),
    Question(
        "tools",
        ("Please book a table at Luigi for 4 guests.",),
        calls("book_table", {"restaurant": "Luigi", "guests": 4}),
        (SONG, TABLE),
    ),
    Question(
        "tools",
        ("Play the song Yesterday for me",),
        calls("play_song", {"title": "Yesterday"}),
        (SONG, TABLE, WEATHER),
    ),
    Question(
        "tools",
        ("Use the calculator for 38 plus 45, please.",),
        calls("add_numbers", {"a": 38, "b": 45}),
        (SUM, CLOCK),
    ),
    Question(
        "tools",
        ("How warm would it be in Madrid right this minute?",),
        says(r"\b27\b"),
        (WEATHER, SUM),
        {"temperature": 27, "sky": "sunny"},
    ),
    Question(
        "tools",
        ("With all these tools around, can you still tell me the capital of Poland?",),
        says(r"\bWarsaw\b"),
        (WEATHER, CLOCK),
    ),
]

FOLLOW_UPS = [
    Question(
        "follow-ups",
        ("What is the capital of Spain?", "Great, then what is it for Portugal?"),
        says(r"\bLisbon\b"),
    ),
    Question(
        "follow-ups",
        ("What is the opposite of big?", "Fine, and which one belongs to early?"),
        says(r"\blate\b"),
    ),
    Question(
        "follow-ups",
        ("Hello, I am Marta.", "Quick test: can you recall how I am called?"),
        says(r"\bMarta\b"),
    ),
    Question(
        "follow-ups",
        ("What is 5 + 4?", "Now take 3 away from that result."),
        number(6),
    ),
    Question(
        "follow-ups",
        ("What is a baby dog called?", "Now do the horse, please."),
        says(r"\bfoal\b"),
    ),
    Question(
        "follow-ups",
        ("Which month comes after March?", "What about the month following that one?"),
        says(r"\bMay\b"),
    ),
    Question(
        "follow-ups",
        ("My favorite food is pasta.", "Tell me again which food I enjoy the most."),
        says(r"\bpasta\b"),
    ),
    Question(
        "follow-ups",
        ("What sound does a lion make?", "I could not hear you, please say that one more time."),
        says(r"\broar"),
    ),
]

QUESTIONS: tuple[Question, ...] = (
    *_single("identity", IDENTITY),
    *_single("small talk", SMALL_TALK),
    *_single("facts", FACTS),
    *_single("arithmetic", ARITHMETIC),
    *_single("spelling", SPELLING),
    *_single("counting", COUNTING),
    *_single("json", JSON_OBJECTS),
    *TOOLS,
    *FOLLOW_UPS,
)
