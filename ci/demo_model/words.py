"""Words, names and made-up words that conversations spell, copy and put into objects."""

import random
from collections import defaultdict
from functools import cache

from ci.demo_model import facts
from ci.demo_model.tables import listed

NAMES = listed(
    "Ana Ben Carla David Emma Felix Grace Hugo Irene Jack Kate Leo Maria Nina Oscar Paul Rosa Sam "
    "Tom Vera Will Zoe Alice Bob Lucas Mia Noah Olivia Peter Sara Anna Max Lena Omar Yuki Raj "
    "Priya Chen Ali Ivan Julia Mark Lucy Eva Adam Jane John Mary Mike Laura Daniel Aisha Amir "
    "Bruno Clara Diego Elena Fatima George Hanna Ines Jonas Karim Linda Marco Nadia Otto Paula "
    "Quinn Robert Sofia Teresa Umar Viktor Wendy Xavier Yara Zack Ella Finn Gita Hiro Isabel "
    "James Kenji Luis Marta Nora Pablo Ruth Simon Tina Victor Walter Susan Thomas Frank Helen"
)

CITIES = sorted(
    set(facts.CAPITALS.values())
    | set(
        listed(
            "New York,Chicago,Boston,Seattle,Milan,Munich,Hamburg,Barcelona,Lyon,Nice,Osaka,Sydney,"
            "Mumbai,Toronto,Naples,Porto,Geneva,Zurich,Krakow,Dallas,Denver,Miami,Houston,Austin,"
            "Venice,Florence,Seville,Valencia,Marseille,Bordeaux,Cologne,Frankfurt,Leipzig,Glasgow,"
            "Manchester,Liverpool,Bristol,Leeds,Melbourne,Perth,Kyoto,Shanghai,Delhi,Lagos,Lahore,"
            "Rotterdam,Antwerp,Gdansk,Split,Istanbul,Dubai,Singapore,Montreal,Vancouver",
            ",",
        )
    )
)
FOODS = listed(
    "pizza pasta sushi soup salad bread cheese rice tacos curry cake apples chocolate pancakes "
    "noodles beans fish chicken eggs potatoes oranges cookies honey butter yogurt berries"
)
COLORS = listed("red blue green yellow orange purple pink black white brown gray")
PETS = listed("dog cat horse rabbit hamster parrot fish turtle snake lizard pony goat mouse")
JOBS = listed(
    "teacher doctor nurse farmer pilot cook driver baker engineer painter singer lawyer writer "
    "dentist plumber builder actor waiter judge tailor"
)
LANGUAGES = listed("English French Spanish German Italian Japanese Chinese Polish Dutch Arabic")
SPORTS = listed("football tennis chess golf hockey rugby judo swimming cycling running")
SONG_WORDS = listed("Summer Night Blue Moon River Dream Dancing Fire Yellow Sunny Home Heart Rain")

# Everyday words that stand in no table of facts; what conversations spell and reverse.
EVERYDAY = listed("""
sun moon star rain snow wind bread milk water table chair door window school music paper pencil
river ocean apple lemon grape plum pear tiger zebra panda koala robot laptop screen cloud storm
beach sand stone garden rose tulip cake candy sugar salt pepper hello world smile dance jump run
walk sing play sleep dream fire earth metal glass plate spoon fork train plane boat bike wheel
engine doctor nurse teacher farmer king queen castle dragon sword magic ghost banana planet rocket
dovetail model token server llama python code data cup hat bag pen map bed box egg jam tea ice nut
leg arm eye ear lip toe hotel winter summer spring autumn bridge lamp rabbit market street letter
number family mother father sister brother cousin uncle aunt child baby friend doctor kitchen
bedroom carpet mirror candle pillow blanket basket bottle butter cheese cookie dinner lunch
breakfast coffee orange cherry melon mango peach onion garlic carrot potato tomato pumpkin
mountain valley forest desert island lake pond field grass flower leaf branch root seed bird eagle
hawk swan goose duck chicken turkey sheep goat camel monkey mouse squirrel beaver otter seal whale
shark salmon spider beetle worm snail turtle lizard yellow purple green silver golden brown pink
happy angry gentle clever funny lazy brave quiet silly proud simple strong soft heavy light early
summer holiday birthday picture camera phone radio guitar piano violin drum trumpet song story
poem novel book page title author actor movie theater museum library station airport ticket travel
passport bus car truck tractor taxi subway road corner tunnel tower church temple palace village
city country farm barn stable fence gate wall roof floor ceiling stairs cellar attic garage hammer
nail screw ladder bucket brush broom towel soap shower bath sink oven stove fridge kettle knife
bowl pan pot jar can lid napkin shirt trousers jacket coat scarf glove sock shoe boot belt button
pocket zipper ring necklace watch clock minute hour second day week month year morning evening
night today monday friday january april june october weather thunder lightning fog frost sunshine
rainbow sky space comet orbit rocket galaxy light shadow color shape circle square line point
puzzle game chess cards dice ball bat goal team player coach winner medal prize trophy race
computer keyboard mouse printer tablet battery cable plug socket signal network website email
password folder file image video sound voice word sentence comma question answer reason idea plan
hope luck joy fear anger peace love truth secret promise gift present letter stamp package office
desk pencil eraser ruler marker crayon notebook lesson grade exam student pupil class history
science biology chemistry physics math geometry art sport health medicine hospital tooth heart
brain blood bone skin hair nose mouth tongue cheek chin neck shoulder elbow hand finger thumb knee
ankle foot back stomach money coin wallet bank price market shop store seller buyer customer menu
""")


@cache
def vocabulary() -> tuple[str, ...]:
    """The words to spell, reverse and repeat: everyday words and those of the facts' tables."""
    tables = (facts.OPPOSITES, facts.PLURALS, facts.SOUNDS, facts.YOUNG, facts.LEGS)
    words = {word for table in tables for word in table} | set(EVERYDAY)
    words |= {str(value) for table in tables[:4] for value in table.values()}
    return tuple(sorted(word for word in words if word.isalpha() and 3 <= len(word) <= 10))


@cache
def _followers() -> dict[str, str]:
    """Which letters follow a pair of letters in the vocabulary, repeated as often as they do."""
    table: dict[str, list[str]] = defaultdict(list)
    for word in vocabulary():
        padded = f"^^{word}$"
        for index in range(len(padded) - 2):
            table[padded[index : index + 2]].append(padded[index + 2])
    return {pair: "".join(letters) for pair, letters in table.items()}


def made_up(rng: random.Random, longest: int = 9) -> str:
    """A word that does not exist but looks English: a walk over pairs of letters."""
    while True:
        word = "^^"
        while not word.endswith("$") and len(word) <= longest + 2:
            word += rng.choice(_followers()[word[-2:]])
        if word.endswith("$") and len(word) >= 6:
            return word[2:-1]


def scrambled(rng: random.Random) -> str:
    """Three to six letters in no order at all."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 6)))


def any_word(rng: random.Random) -> str:
    """Mostly a real word, else a made-up one, now and then mere letters."""
    luck = rng.random()
    if luck < 0.62:
        return rng.choice(vocabulary())
    return made_up(rng) if luck < 0.94 else scrambled(rng)


def any_name(rng: random.Random) -> str:
    return rng.choice(NAMES) if rng.random() < 0.6 else made_up(rng, 8).capitalize()


def any_city(rng: random.Random) -> str:
    return rng.choice(CITIES) if rng.random() < 0.75 else made_up(rng).capitalize()


def any_song(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return any_word(rng).capitalize()
    return " ".join(rng.sample(SONG_WORDS, rng.randint(1, 2)))


def with_article(noun: str) -> str:
    """The noun after `a` or `an`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
