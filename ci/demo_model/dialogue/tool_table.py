"""The tools conversations are given: names, parameters, requests that need them, and answers."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ci.demo_model import facts, words
from ci.demo_model.tables import listed

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tool. Parameters are (role, JSON type, other names it may go by)."""

    names: str
    about: tuple[str, ...]
    parameters: tuple[tuple[str, str, str], ...]
    values: Callable[[random.Random], Values]
    requests: tuple[str, ...]
    result: Callable[[random.Random], Values]
    answer: str


TEXTS = listed(
    "I am late,call me,see you soon,lunch at noon,good luck,thank you,happy birthday,I am home,"
    "where are you,the food is ready,come here,I miss you,buy milk,good night,wait for me,I am ill,"
    "dinner at eight,the train is late,well done,see you on Monday,bring the keys,I found it",
    ",",
)
ROOMS = listed("kitchen,bedroom,bathroom,office,garage,living room,hall,cellar,garden,attic", ",")
APPS = listed("camera calendar browser music notes maps mail calculator photos clock")
CURRENCIES = listed("dollars euros yen pounds pesos francs")
TASKS = listed("buy milk,call mom,feed the cat,water the plants,pay the rent,clean the car", ",")
SKIES = listed("sunny cloudy rainy windy snowy foggy clear")


def _clock(rng: random.Random) -> str:
    return f"{rng.randint(0, 23)}:{rng.choice(['00', '15', '30', '45'])}"


def _two_cities(rng: random.Random) -> Values:
    start, goal = rng.sample(words.CITIES, 2)
    return {"start": start, "goal": goal}


def _text(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(TEXTS)
    return " ".join(words.any_word(rng) for _ in range(rng.randint(1, 3)))


def _thing(rng: random.Random) -> str:
    return rng.choice(words.FOODS) if rng.random() < 0.3 else words.any_word(rng)


TWO = (("a", "integer", "x first number1 left"), ("b", "integer", "y second number2 right"))
OK: Callable[[random.Random], Values] = lambda rng: {"status": rng.choice(["ok", "done"])}  # noqa: E731

KINDS: list[Kind] = [
    Kind(
        "get_weather weather get_current_weather weather_lookup current_weather forecast",
        ("Get the [current] weather (of|in|for) a city", "Look up the weather"),
        (("city", "string", "location place town"),),
        lambda rng: {"city": words.any_city(rng)},
        (
            "(what is|what's|how is|how's|tell me|check|show me|find out) the (weather|weather like|"
            "temperature|forecast|sky) (in|for|at|over|like in) {city}[ today| now| right now| tomorrow]",
            "(is|will) it (raining|rain|sunny|be sunny|cold|warm|snow|snowing|hot|windy|be cold|wet) in "
            "{city}[ today| now| right now| tomorrow| this week| at the moment]?",
            "(do|should|will|must) I (need|take|bring|wear|pack) (an umbrella|a coat|a jacket|a hat|"
            "sunglasses|warm clothes|boots|a raincoat) (in|for) {city}[ today| tomorrow| now]?",
            "(I am|I'm|we are|my <kin> is) (going|flying|traveling|off|driving) to {city}, (how is the "
            "weather|is it warm|what should I wear|do I need a coat|will it rain|is it cold there)?",
            "(weather|temperature|forecast) [in|for] {city}[ please| now| today]",
            "how (hot|cold|warm|wet|windy) (is it|will it be|does it get|would it be) in {city}"
            "[ today| now| right now| at the moment]?",
            "<can> you <kindly> (check|look up|tell me|find out|get) (the weather|the forecast|if it "
            "rains|how warm it is|how the weather is) in {city}[ for me]?",
            "(can|could) (I|we) (have a picnic|swim|sit outside|go for a walk|ski) in {city} today?",
        ),
        lambda rng: {"temperature": rng.randint(-5, 39), "sky": rng.choice(SKIES)},
        "It is {temperature} degrees and {sky} in {city}.",
    ),
    Kind(
        "get_time current_time get_local_time time_in clock world_clock local_time",
        ("Get the [current|local] time (in|of|for) a city", "Tell the local time"),
        (("city", "string", "location place zone"),),
        lambda rng: {"city": words.any_city(rng)},
        (
            "(what time is it|what is the time|what's the time|how late is it|what is the local time|"
            "which time is it|what hour is it|what's the clock) [now|right now|] in {city}"
            "[ now| right now| at the moment|, please]?",
            "(tell me|show me|give me|check|look up|I need) the [current|local] (time|hour|clock) (in|"
            "for|of) {city}[ now]",
            "(what does|what will) the clock (say|show|read) in {city}[ now| at the moment]?",
            "[current|local] time (in|for) {city}",
            "is it (late|early|morning|evening|night|already noon) in {city}[ now]?",
            "(my <kin>|my friend|a colleague|somebody) (is|lives|works) in {city}, what time is it there?",
            "<can> you <kindly> (check|tell me|look up|say) (what time it is|the time|how late it is) in "
            "{city}?",
            "(I want|I need) to (call|phone) (someone|my <kin>) in {city}, what time is it there?",
        ),
        lambda rng: {"time": _clock(rng)},
        "It is {time} in {city}.",
    ),
    Kind(
        "add add_numbers sum calculator_add plus addition sum_two",
        ("Add two numbers", "Compute a sum", "Return the sum of two numbers"),
        TWO,
        lambda rng: {"a": rng.randint(0, 999), "b": rng.randint(0, 99)},
        (
            "(add|sum|sum up) {a} and {b}[ with the tool| for me]",
            "(what is|what's|how much is|calculate|compute|work out|tell me) {a} (plus|+|and) {b}",
            "{a} (+|plus) {b}",
            "(what do|what will) {a} and {b} (make|give|add up to|come to)[ together]?",
            "(use|take|call|ask) (the|your) (tool|calculator|function) (to add|for adding|and add|for) {a} "
            "(and|plus|+) {b}",
            "(the|tell me the|I need the|find the) (sum|total) of {a} and {b}",
            "add {b} to {a}",
        ),
        lambda rng: {},
        "The result is {result}.",
    ),
    Kind(
        "multiply multiply_numbers product times calculator_multiply",
        ("Multiply two numbers", "Compute a product"),
        TWO,
        lambda rng: {"a": rng.randint(2, 99), "b": rng.randint(2, 99)},
        (
            "multiply {a} (by|and|with) {b}[ with the tool| for me]",
            "(what is|how much is|calculate|compute|work out|tell me) {a} (times|x|*|multiplied by) {b}",
            "(the|tell me the|find the) product of {a} and {b}",
            "(use|take) (the|your) (tool|calculator) (to multiply|for multiplying) {a} (and|by) {b}",
        ),
        lambda rng: {},
        "The result is {result}.",
    ),
    Kind(
        "send_message send_text message send_sms text_message post_message send_chat",
        ("Send a [text] message to a person", "Message someone"),
        (("to", "string", "recipient person contact"), ("text", "string", "body message content")),
        lambda rng: {"to": words.any_name(rng), "text": _text(rng)},
        (
            "(send|write|text) {to} (a message|this|a note|a text|the message)[ saying| that says]: {text}",
            "(tell|text|message|write to|answer|reply to|inform) {to}[ and say| this|]: {text}",
            '(send|write|text|pass) (the message|the words|the text|) "{text}" to {to}[ for me]',
            "(let {to} know|drop {to} a line|get a message to {to}[ that says| saying|])[:] {text}",
            "<can> you <kindly> (send|write|text) {to} (this|a message|a note|the words): {text}",
            "(I want|I need|I'd like) to (tell|text|write|message) {to}: {text}",
            "{to} (should|must|has to) (know|hear|read)( this|): {text}",
        ),
        OK,
        "I sent the message to {to}.",
    ),
    Kind(
        "send_email email mail write_email send_mail compose_email",
        ("Send an email [to a person]", "Write an email"),
        (
            ("to", "string", "recipient address person"),
            ("subject", "string", "topic title heading"),
        ),
        lambda rng: {"to": words.any_name(rng), "subject": words.any_word(rng)},
        (
            "(send|write) (an email|a mail|mail|email) to {to} (about|with the subject|on|titled|called|"
            "concerning) {subject}",
            "(email|mail|write) {to} (about|with the subject|concerning|on the subject of) {subject}",
            "<can> you <kindly> (email|mail|write an email to|send a mail to) {to} (about|on|concerning) "
            "{subject}?",
            "{to} (needs|wants|should get) (an email|a mail) (about|on) {subject}",
        ),
        OK,
        "I sent the email to {to}.",
    ),
    Kind(
        "set_timer timer start_timer create_timer countdown_timer begin_timer",
        ("Start a timer", "Set a timer (for|of) some minutes"),
        (("minutes", "integer", "duration length mins"),),
        lambda rng: {"minutes": rng.randint(1, 90)},
        (
            "(set|start|give me|I need|create|put on|begin|make) a [new|] timer (for|of|with|to) {minutes} "
            "minutes[ please]",
            "(wake|ring|remind|alert|call|notify) me (in|after) {minutes} minutes",
            "(start|set|begin|I need) a {minutes}(-| )minute timer",
            "timer[:] {minutes} minutes",
            "(set|put) (the timer|the clock|{minutes} minutes on the timer|my timer) (to|for|at|on) "
            "{minutes} minutes",
            "(my|the) (tea|pasta|cake|egg|pizza|rice|bread|soup) (needs|takes|must cook) {minutes} minutes, "
            "(set a timer|start the timer|please time it|start a timer)",
            "<can> you <kindly> (set|start|create) a timer (for|of) {minutes} minutes?",
            "(tell me|let me know) when {minutes} minutes (are over|have passed|are up|are gone)",
        ),
        OK,
        "The timer is set for {minutes} minutes.",
    ),
    Kind(
        "set_alarm alarm create_alarm wake_up alarm_clock",
        ("Set an alarm", "Set the alarm clock (to|for) a time"),
        (("time", "string", "at hour when"),),
        lambda rng: {"time": _clock(rng)},
        (
            "(set|create|put|make) (an|the|my) alarm (for|at|to|on) {time}",
            "(wake me|wake me up|get me up|ring|let it ring) at {time}[ please| tomorrow]",
            "(I need|I want|I have|I'd like) to (get up|wake up|be awake|rise) at {time}",
            "alarm [at|for] {time}[ please]",
            "<can> you <kindly> (wake me|set an alarm|set the alarm) (at|for) {time}?",
        ),
        OK,
        "The alarm is set for {time}.",
    ),
    Kind(
        "search web_search search_web find lookup internet_search google",
        ("Search the web", "Find pages (about|for) a query", "Search the internet"),
        (("query", "string", "q term text keywords"),),
        lambda rng: {"query": _thing(rng)},
        (
            "(search|look|google) for {query}[ online| on the web| on the internet]",
            "(look up|google|research|search) {query}[ online| on the web| for me| on the internet]",
            "search (the web|the internet|online|the net|google) for {query}",
            "(find|show me|get me|look for) (pages|information|something|websites|results|facts|news|"
            "articles) (about|on|for) {query}[ online]",
            "(do|make|run|start) a (web|internet|quick|) search (for|on|about) {query}",
            "<can> you <kindly> (search for|look up|google|find something about|check the web for) {query}?",
            "what does the (web|internet) (say|know|tell) about {query}?",
        ),
        lambda rng: {"hits": rng.randint(1, 99)},
        "I found {hits} results for {query}.",
    ),
    Kind(
        "turn_on_light light_on switch_light lights_on lamp_on",
        ("Turn on the light in a room", "Switch a light on"),
        (("room", "string", "place area location"),),
        lambda rng: {"room": rng.choice(ROOMS)},
        (
            "(turn|switch|put) on the [light|lights|lamp] [in the] {room} [light|lights|lamp]",
            "(turn|switch|put) the (light|lights|lamp) on in the {room}",
            "(lights|light|lamp) on in the {room}",
            "(make|get) (the {room} (bright|lighter)|some light in the {room})",
            "it is [so|too|very] dark in the {room}[, turn on the light|, I need light|, I can't see]",
            "(I need|I want|we need|let there be) (light|some light|the light) in the {room}",
            "<can> you <kindly> (light up|brighten|turn on the light in|switch on the lamp in) the {room}?",
        ),
        OK,
        "The light in the {room} is on.",
    ),
    Kind(
        "translate translate_text translator translate_word translation",
        ("Translate a word", "Translate text into another language"),
        (("word", "string", "text term phrase"), ("language", "string", "target lang to")),
        lambda rng: {"word": words.any_word(rng), "language": rng.choice(words.LANGUAGES)},
        (
            "translate [the word] {word} (to|into|in) {language}",
            "how (do you|do I|would you|does one) say {word} in {language}?",
            "(what is|what's|give me|tell me) {word} in {language}",
            "{word} in {language}[ please]",
            "(give me|what is|tell me|I need|find) the {language} (word|term|translation) (for|of) {word}",
            "(say|write|put) {word} in {language}",
            "<can> you <kindly> (translate|say|put) {word} (into|in) {language}?",
        ),
        lambda rng: {"translation": words.made_up(rng)},
        "{word} in {language} is {translation}.",
    ),
    Kind(
        "add_to_list shopping_list_add add_item append_item put_on_list list_add",
        ("Add an item to the shopping list", "Put something on the list"),
        (("item", "string", "name product entry"),),
        lambda rng: {"item": _thing(rng)},
        (
            "(add|put|write|note) {item} (to|on|onto|down on) (my|the|our) [shopping|grocery|] list",
            "(I|we) (need|have|want|must) to (buy|get) {item}[, put it on the list|, add it]",
            "(don't let me forget|don't forget|remember|we need more|we are out of|we ran out of) {item}"
            "[, add it to the list]",
            "{item} (goes|should go|belongs) on the [shopping|] list",
            "<can> you <kindly> (add|put) {item} (to|on) (my|the) list?",
        ),
        OK,
        "I added {item} to your list.",
    ),
    Kind(
        "get_price stock_price price_of lookup_price product_price check_price",
        ("Get the price of a product", "Look up a price"),
        (("product", "string", "item symbol name"),),
        lambda rng: {"product": words.any_word(rng)},
        (
            "(what is|what's|tell me|look up|check|find|get) the (price|cost) (of|for) {product}",
            "(how much|what) (does|do|is|would|will) {product} [cost]?",
            "(price|cost) of {product}?",
            "how (expensive|cheap) is {product}?",
            "(what|how much) (do|must|should) I pay for {product}?",
            "<can> you <kindly> (check|look up|find) (what {product} costs|the price of {product})?",
        ),
        lambda rng: {"price": rng.randint(1, 99)},
        "The price of {product} is {price}.",
    ),
    Kind(
        "play_music play_song play music_player start_song play_track",
        ("Play a song", "Play (some|) music"),
        (("title", "string", "song track name"),),
        lambda rng: {"title": words.any_song(rng)},
        (
            "(play|start|put on) [the (song|track|tune)] {title}[ for me| please| now]",
            "(I want|I'd like|I would love|we want) to (hear|listen to) [the song] {title}",
            "<can> you <kindly> (play|put on|start) [the song|the track] {title}?",
            "(let me|let us) (hear|listen to) [the song] {title}",
            "(music|song)[ please]: {title}",
        ),
        OK,
        "Now playing {title}.",
    ),
    Kind(
        "call call_person phone make_call dial phone_call",
        ("Call a person", "Make a phone call"),
        (("name", "string", "person contact who"),),
        lambda rng: {"name": words.any_name(rng)},
        (
            "(call|phone|ring|dial|ring up|give a call to) {name}[ for me| now| please]",
            "(make|start) a [phone|] call (to|with) {name}",
            "(I want|I need|I have|I'd like) to (talk to|speak with|call|phone|speak to) {name}",
            "<can> you <kindly> (call|phone|ring|reach) {name}?",
            "(get|put) {name} on the (phone|line)",
        ),
        OK,
        "I am calling {name}.",
    ),
    Kind(
        "create_reminder remind set_reminder add_reminder reminder",
        ("Create a reminder", "Remind the user of a task on a day"),
        (("task", "string", "text what note"), ("day", "string", "date when on")),
        lambda rng: {"task": rng.choice(TASKS), "day": rng.choice(facts.DAYS)},
        (
            "remind me (to|on {day} to) {task} on {day}",
            "(on|this|next) {day} I (must|have to|need to|should) {task}, (remind me|please remind me)",
            "(set|create|make) a reminder (for|on) {day}: {task}",
            "(don't let me forget|help me remember|I must not forget) to {task} on {day}",
        ),
        OK,
        "I will remind you on {day}: {task}.",
    ),
    Kind(
        "convert_currency convert exchange currency_converter exchange_money",
        ("Convert money from one currency to another", "Convert an amount"),
        (
            ("amount", "integer", "value sum"),
            ("from", "string", "source from_currency"),
            ("to", "string", "target to_currency"),
        ),
        lambda rng: dict(
            zip(
                ("amount", "from", "to"),
                (rng.randint(1, 999), *rng.sample(CURRENCIES, 2)),
                strict=True,
            )
        ),
        (
            "(convert|change|exchange|turn) {amount} {from} (to|into|in) {to}",
            "(how many|how much|what in) {to} (is|are|do I get for|will I get for) {amount} {from}?",
            "(what is|what are|what's) {amount} {from} (in|worth in) {to}?",
            "(I have|I've got) {amount} {from}, how many {to} is that?",
        ),
        lambda rng: {"value": rng.randint(1, 999)},
        "That is {value} {to}.",
    ),
    Kind(
        "get_route route directions navigate find_route plan_route",
        ("Find the way between two places", "Get directions"),
        (("start", "string", "from origin source"), ("goal", "string", "to destination target")),
        _two_cities,
        (
            "(how do I|how can I|how do we) (get|go|drive|travel|come) from {start} to {goal}?",
            "(find|show me|tell me|give me|I need|plan) (the way|a route|directions|the road|the route|"
            "the best way) from {start} to {goal}",
            "(I am|I'm|we are) in {start} and (want|need|have|would like) to (go|get|drive) to {goal}",
            "(navigate|drive|directions|route) from {start} to {goal}",
            "what is the (best|fastest|shortest) way from {start} to {goal}?",
        ),
        lambda rng: {"km": rng.randint(10, 990)},
        "The way from {start} to {goal} is {km} km.",
    ),
    Kind(
        "order_food order place_order buy_item order_item",
        ("Order food", "Place an order"),
        (("item", "string", "dish food product"), ("quantity", "integer", "count amount number")),
        lambda rng: {"item": rng.choice(words.FOODS), "quantity": rng.randint(1, 12)},
        (
            "(order|buy|get me|get us|bring me) {quantity} [portions of|times|x|] {item}[ please]",
            "(I want|I'd like|we want|we'd like|I would like) [to order] {quantity} [portions of|times|] "
            "{item}",
            "<can> you <kindly> (order|get us|buy) {quantity} [portions of|] {item}?",
        ),
        OK,
        "I ordered {quantity} {item}.",
    ),
    Kind(
        "set_volume volume change_volume set_loudness",
        ("Set the volume", "Change the loudness"),
        (("level", "integer", "volume value percent"),),
        lambda rng: {"level": rng.randint(0, 100)},
        (
            "(set|turn|put|change) the (volume|sound|loudness) to {level}[ percent]",
            "volume [to|at|] {level}",
            "(make|play) it (louder|quieter|softer), (volume|level) {level}",
        ),
        OK,
        "The volume is {level}.",
    ),
    Kind(
        "open_app open launch start_app run_app",
        ("Open an app", "Start a program"),
        (("app", "string", "name program application"),),
        lambda rng: {"app": rng.choice(APPS)},
        (
            "(open|start|launch|run|show) [me] (the|my) {app}[ app| program|]",
            "(I want|I need) to (use|open|see) (the|my) {app}[ app]",
            "<can> you <kindly> (open|start|launch) (the|my) {app}[ app]?",
        ),
        OK,
        "I opened the {app}.",
    ),
    Kind(
        "save_note note create_note write_note take_note add_note",
        ("Save a note", "Write down a note"),
        (("text", "string", "content note body"),),
        lambda rng: {"text": _text(rng)},
        (
            "(save|write|make|take|create|write down|add) (a note|this note|the note|down)[:] {text}",
            "(note|note down|write down|remember|keep in mind)[ this]: {text}",
            "(please|<can> you) (write down|note|save) (this|the following): {text}",
        ),
        OK,
        "I saved the note.",
    ),
    Kind(
        "define define_word dictionary lookup_word get_definition",
        ("Look up a word in the dictionary", "Get the definition of a word"),
        (("word", "string", "term text"),),
        lambda rng: {"word": words.any_word(rng)},
        (
            "(what does|what does the word) {word} mean?",
            "(define|look up) [the word] {word}[ in the dictionary]",
            "(what is|give me|find|I need) the (definition|meaning) of {word}",
            "(explain|tell me) the (word {word}|meaning of {word})",
        ),
        lambda rng: {"definition": f"{words.any_word(rng)} {words.any_word(rng)}"},
        "{word} means: {definition}.",
    ),
    Kind(
        "set_temperature heating thermostat set_heating change_temperature",
        ("Set the temperature of a room", "Control the heating"),
        (("room", "string", "place area"), ("degrees", "integer", "temperature value")),
        lambda rng: {"room": rng.choice(ROOMS), "degrees": rng.randint(10, 30)},
        (
            "(set|heat|bring|warm|turn|cool) the {room} to {degrees}[ degrees]",
            "(set|put) the (temperature|heating) (in|of) the {room} to {degrees}[ degrees]",
            "(I want|I'd like|make it) {degrees} degrees in the {room}",
        ),
        OK,
        "The {room} is set to {degrees} degrees.",
    ),
]
