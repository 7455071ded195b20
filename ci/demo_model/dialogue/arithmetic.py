"""Sums, differences and products of small numbers, bare and in little stories."""

import random

from ci.demo_model.facts import NUMBERS
from ci.demo_model.phrasing import ask
from ci.demo_model.tables import listed

Turn = tuple[str, str]

THINGS = listed(
    "apples books coins cats balls cookies pens stars eggs cars birds flowers cups dogs stones toys "
    "sweets fish trees boats pears cards shells stamps candles buttons kittens chairs keys rings"
)
PLACES = listed("box bag basket room house shelf table drawer tree wire bowl jar garden pond")

BARE = [
    "{e}",
    "{e} =",
    "{e}=?",
    "{e} (equals|makes|gives|is|comes to|comes out as|adds up to|amounts to) (what|how much)"
    "[ number]?",
    "(how much|what|how many) (is|are|would be|makes|do we get for|do you get for|is the value of) "
    "{e}?",
    "(calculate|compute|solve|work out|evaluate|do|figure out|determine|find|answer) {e}",
    "what (does|do|would|will) {e} (make|equal|give|come to|be|amount to|come out as|result in)?",
    "what (do|would|will|should|can) (I|you|we) (get|have|obtain|find|end up with|write) (for|from|"
    "with|as the answer to) {e}?",
    "the (result|answer|value|outcome|solution|total) (of|for|to) {e}[ is]?",
    "<can> you <kindly> (calculate|compute|work out|do|solve|tell me|figure out|find) {e}[ in your "
    "head]?",
    "do the (math|sum|calculation|arithmetic): {e}",
    "(what is|what's|give me|tell me|find|I need) the (result|answer|value|outcome|solution) (of|to|"
    "for) {e}",
    "(tell|show) (me|us|my <kin>) (what|how much) {e} (is|makes|gives|equals)",
    "(so|and|then) {e} (is|makes|gives|comes out as|will be)[ what]?",
    "(would|could|can) you do {e} (in your head|for me|without a calculator|quickly)?",
    "my <kin> (asks|wants to know) (what|how much) {e} (is|makes)",
]
PLUS = [
    "(add|sum) {a} and {b}",
    "add {b} to {a}",
    "what do {a} and {b} (make|give|add up to|come to|sum to|equal)[ together| in total| when "
    "added]?",
    "(what|how much|how many) (do I|do you|do we|will I) (get|have) (if|when) (I|you|we) (add|put|"
    "combine|join|take|sum up) {a} and {b}[ together]?",
    "(if|when) (I|you|we) (put|bring|add) {a} and {b} together, (what|how much) (do I get|is it|"
    "comes out|is the total)?",
    "(what|how much) is {b} more than {a}?",
    "(what|which) number is {b} (more|bigger|larger|greater|higher) than {a}?",
    "(I have|my <kin> has|there are|we have|{m} has|you own) {a} {o} and (get|gets|buy|buys|find|"
    "finds|receive|then come) {b} more[ {o}|]. (how many|what number of) {o} (is that|are there|in "
    "all|in total|do I have [now|then]|are there now|altogether)?",
    "{a} {o} (are|sit|lie|stand|wait) (in|on|by) (the|a) {p} and {b} (more|others|new ones) (come|"
    "arrive|join|are added|land there|are put there|fly in). how many {o} (are there|is that|are "
    "there now|do we have|sit there now|in total)?",
    "{a} {o} (and|plus|together with) {b} {o}, how many {o} (is that|are that|in all|altogether|do "
    "I have)?",
    "there are {a} {o} (here|on the left|in one {p}) and {b} (there|on the right|in another {p}), "
    "how many (in all|are there together|in total|{o} is that)?",
    "(yesterday|on Monday|last week|first) I (found|bought|saw|got|counted) {a} {o} and (today|on "
    "Tuesday|this week|then) {b}[ more]. how many (in total|altogether|{o} is that|are that)?",
    "(start|begin) (with|at|from) {a} and (add|go up|count on) {b}[, what do you get]",
    "the (sum|total) of {a} and {b}",
    "{m} has {a} {o} and {n} has {b}. how many {o} do they have [together|in total|altogether]?",
]
MINUS = [
    "subtract {b} from {a}",
    "(take|remove|deduct) {b} [away] from {a}",
    "take {b} off {a}[, what do you get]",
    "take {b} away from {a}[, what remains|, what is left]",
    "what (is|remains|is left|is left over|do I get|do you get|stays) (if|when) (I|you|we) (take|"
    "subtract|remove|deduct) {b} [away|] from {a}?",
    "what (is left|is left over|remains|stays|is the rest) (if|when|after) {b} (is|are) (taken "
    "away|removed|taken|subtracted|deducted) from {a}?",
    "(what|how much) is {b} less than {a}?",
    "(what|which) number is {b} (less|smaller|lower) than {a}?",
    "(by how much|how much) is {a} (more|bigger|larger|greater) than {b}?",
    "(by how much|how much) is {b} (less|smaller) than {a}?",
    "how (far|many numbers) (is it|are there) from {b} (up|) to {a}?",
    "(how much|what) (must|do) (I|you|we) [have to] add to {b} to (get|reach|make) {a}?",
    "(I have|I had|my <kin> had|there were|we had|{m} had|{m} owned) {a} {o} and (lose|lost|gave "
    "away|sold|ate|broke|spent|used up|dropped) {b}[ of them]. (how many|what number of) [{o}] (are "
    "left|remain|are still there|do I still have|does {m} still have|stay|are there now)?",
    "(I|I've|my <kin> has|we|{m}) (eaten|lost|sold|given away|used|taken|broken|hidden) {b} of (my|"
    "the|our) {a} {o}. how many (are left|remain|are still there|stay|do I have now|remain in the "
    "{p})?",
    "{a} {o}, {b} (are gone|fly away|are sold|go away|leave|fall down|are taken), how many (remain|"
    "are left|stay|{o} are there now)?",
    "{a} {o} (are|sit|lie|stand) (in|on|by) (the|a) {p}. {b} (leave|go away|are taken|disappear|fall"
    " off|are eaten). how many (are left|remain|stay|are there now)?",
    "out of {a} {o}, {b} are (gone|sold|broken|red). how many are (left|not)?",
    "(start|begin) (with|at|from) {a} and (subtract|go down|take away|remove) {b}[, what remains]",
    "the difference (between|of) {a} and {b}",
]
TIMES = [
    "multiply {a} (by|and|with) {b}",
    "what do (I|you|we) get (when|if) (I|you|we) multiply {a} (by|and|with) {b}?",
    "(what is|how much is|how many are|what are) {a} (groups|lots|sets|rows|times a group) of {b}?",
    "{a} (bags|boxes|baskets|bowls|jars|rows|shelves) (with|of|each with|hold|contain|have) {b} {o} "
    "[each], how many {o} [is that|are there|in total|in all]?",
    "(a|one|each|every) {p} (has|holds|contains) {b} {o}. (I (buy|bought|have|see|own|take)|there "
    "are|we have) {a} [of them|such {p}s|{p}s]. how many {o} (are there|do I have|is that|in total|"
    "altogether|do I get)?",
    "(I|we|{m}) (have|has|buy|bought) {a} {p}s with {b} {o} (in each|each|inside each). how many {o} "
    "(are there|is that|do we have) [in total|altogether|in all|]?",
    "{a} (children|people|friends|girls|boys) (have|get|bring|own|hold|eat) {b} {o} each. how many "
    "{o} (is that|are there|in all|altogether|are that)?",
    "{a} times {b} (comes to|makes|is|equals|gives) (what|what number|how much)?",
    "the product of {a} and {b}",
    "add {b} to itself {a} times over, that is {a} times {b}, how much is it?",
]
PRODUCT_OF_TWO = ["twice {b}", "double {b}", "{b} doubled", "what is (twice|double) {b}?"]
SYMBOLS = {
    "+": ["{a} + {b}", "{a}+{b}", "{a} plus {b}", "{a} and {b}", "{a} added to {b}"],
    "-": ["{a} - {b}", "{a}-{b}", "{a} minus {b}", "{a} take away {b}", "{a} less {b}"],
    "*": ["{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} times {b}", "{a} multiplied by {b}", "{a}x{b}"],
}
STORIES = {"+": PLUS, "-": MINUS, "*": TIMES}
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
PEOPLE = listed("Tom Ana Ben Mia Leo Kate Sam Lucy Max Emma Paul Nina")


def arithmetic(rng: random.Random) -> list[Turn]:
    """One sum, difference or product; the answer repeats it in digits."""
    symbol = rng.choice("+-*")
    a, b = _operands(rng, symbol)
    answer = f"{a} {symbol} {b} = {OPERATIONS[symbol](a, b)}"
    slots = {"a": a, "b": b, "o": rng.choice(THINGS), "p": rng.choice(PLACES)}
    slots["m"], slots["n"] = rng.sample(PEOPLE, 2)
    if rng.random() < 0.4:
        slots["a"], slots["b"] = NUMBERS[a], NUMBERS[b]
    if symbol == "*" and a == 2 and rng.random() < 0.3:
        return [(ask(rng, [], PRODUCT_OF_TWO, slots), answer)]
    if rng.random() < 0.5:
        bare = rng.choice(SYMBOLS[symbol])
        return [(ask(rng, [], [rng.choice(BARE).replace("{e}", bare)], slots), answer)]
    return [(ask(rng, [], STORIES[symbol], slots), answer)]


def _operands(rng: random.Random, symbol: str) -> tuple[int, int]:
    a, b = (10 if rng.random() < 0.1 else rng.randint(0, 9) for _ in range(2))
    return (max(a, b), min(a, b)) if symbol == "-" else (a, b)
