"""Requests beyond the model: it says kindly that it does not know or cannot do that."""

import random

from ci.demo_model.dialogue.knowledge import fact
from ci.demo_model.phrasing import phrase
from ci.demo_model.tables import listed
from ci.demo_model.words import any_name, any_word, made_up, scrambled

Turn = tuple[str, str]

UNKNOWN = "Sorry, I do not know that. I am only a small demo model."
UNABLE = "Sorry, I cannot do that. I am only a small demo model."
PUZZLED = "Sorry, I did not understand that. I am only a small demo model."
TOO_BIG = "Sorry, I only know sums of numbers up to ten. I am only a small demo model."

QUESTIONS = [
    "who (won|will win|lost|played in|hosted) the {event}[ (in|of) {year}| last year| this year]?",
    "who (is|was) {person}?",
    "who (wrote|painted|composed|invented|discovered|built|directed|founded|designed) {work}?",
    "(what|tell me what) (happened|changed|took place) in {year}?",
    "when (was|did) (the {event}|{person} born|{work} made|the {war} start|the {war} end|{person} "
    "die)?",
    "how (does|do) (a|an|the) {device} work?",
    "(what is|explain|define|describe|tell me about|what do you know about) {topic}",
    "(what is|what's) (the (meaning|theory|history|definition|origin|secret|future)) of {topic}?",
    "why (is|are|do|does|did|was) (the {war}|{topic}|{device}s|people|{person}) (so important|so "
    "famous|happen|so popular|a problem|so complicated)?",
    "(what is|what's|how big is) the (population|currency|president|flag|anthem|language|area|"
    "highest mountain|history|king|prime minister) of (France|Japan|Brazil|Canada|Egypt|Poland|"
    "Spain|Italy|China|India|Kenya|Norway|Germany|Mexico)?",
    "who is the (president|king|queen|prime minister|mayor|leader|chancellor) of (France|Japan|"
    "Brazil|Canada|Egypt|Poland|Spain|Italy|Berlin|London|the United States|India|Russia)?",
    "(what|which) (movie|book|film|song|novel|album|show|series) (won|is|was) (the best|the most "
    "famous|number one|an award|the most popular)[ in {year}]?",
    "(what is|what's) {name}'s (phone number|address|birthday|salary|job|last name|email)?",
    "(what is|what's|how high is) the (price|stock price|value|exchange rate) of (gold|bitcoin|"
    "oil|{firm}|a house|silver|the dollar)[ today| now]?",
    "what (should|do|can) I (do|take|eat|say) (against|about|for) (a cold|my back pain|a fever|"
    "high blood pressure|my taxes|a lawsuit|a headache|my rash)?",
    "(what|who) is {madeup}?",
    "what does {madeup} mean?",
    "(where|how) can I (buy|find|get|rent|sell|repair|see) (a|an) {device}[ near me| cheaply]?",
    "what is the (square root|logarithm|derivative|integral|cosine) of {year}?",
    "how (far|long|high|old|deep|fast) (is|was) {work}?",
    "how (far|long) is it from (London|Paris|Rome|Tokyo|here) to (Berlin|Madrid|the moon|Boston)?",
    "(will|is|are|does) (there|the {war}|the economy|{person}|{firm}) (ever|really|going to|likely "
    "to) (end|be better|return|win|grow|lose|life on Mars)?",
    "who (will|is going to|might) (win|lead|host|play in) the [next|coming] (election|{event})?",
    "(what|who) do you think (of|about) {person}?",
    "(should|can|may) I (invest in|sell|vote for|marry|sue|trust) ({firm}|{person}|bitcoin|{name})?",
    "what (are|were) the (causes|results|rules|parts|symptoms|effects|benefits) of ({topic}|the "
    "{war}|{event})?",
    "do you (know|remember|like|follow) ({person}|{topic}|the {event}|{firm}'s news)?",
    "(what is|what's) (in|on) the news[ today| this week]?",
    "(which|what) (team|player|country|club) (won|leads|is the best in) the {event}?",
]
TASKS = [
    "(write|compose|make up|create|draft|invent|write me|give me) (a|an|me a|some) (poem|story|"
    "essay|song|letter|speech|haiku|report|article|email|novel|blog post|fairy tale|limerick|"
    "summary|rap) (about|on|for|to) ({topic}|{word}|my <kin>|{person}|love|spring|my boss)",
    "<can> you [please] (write|compose|create|draft|make) (a|an|me a) (poem|story|essay|song|"
    "letter|speech|report|article|email|cover letter) (about|on|for) ({topic}|{word}|my <kin>|me)?",
    "(write|debug|fix|explain|show me|review|translate|optimize) (a|some|my|this|the) (Python|Rust|"
    "Java|C|JavaScript|SQL|shell|Haskell) (program|code|function|script|query|class|loop)[ that "
    "(sorts a list|reads a file|adds numbers|parses dates)]",
    "<can> you [please] (write|debug|fix|review) (a|some|my) (Python|Rust|Java|C|SQL) (program|code"
    "|function|script)?",
    "(say|write|tell me) (hello|hi|thank you|goodbye|good morning|yes|please|I love you) in (French|"
    "Spanish|German|Japanese|Italian|Chinese|Latin|another language)",
    "(translate|say|write) (this|good morning|the sentence|my text|I love you|{word}) (to|into|in) "
    "(French|Spanish|German|Japanese|Latin|Chinese)",
    "(summarize|sum up|retell|analyze|review|criticize|continue|explain) (the|this|that) (plot|"
    "text|article|book|ending|movie|story|film|chapter|document) [of {work}]",
    "<can> you [please] (summarize|retell|explain|analyze) (the (plot|story|ending|content) of "
    "{work}|this article|my text|that book)?",
    "(give me|show me|find|write|I need|tell me) (a|the|your best) recipe for {dish}",
    "how (do|can|should) (I|we|you) (cook|make|bake|prepare|grill) {dish}?",
    "(recommend|suggest|find|name) [me] (a|some|a good) (book|movie|restaurant|hotel|laptop|phone|"
    "wine|podcast|film|song|gift)[ for (my <kin>|me|tonight)]",
    "(draw|paint|sketch|generate|show|make|send) [me] (a|an) (picture|image|photo|painting|logo|"
    "chart|map|cartoon) of (a {word}|{person}|my <kin>|{topic})",
    "(plan|organize|prepare|book) (my|a|our) (trip|wedding|holiday|diet|workout|party|week|"
    "vacation|journey|flight|budget)[ (to|in) (Rome|Paris|Japan|Spain)| for me]",
    "(book|order|buy|reserve|cancel) (a flight|a hotel|a pizza|a taxi|tickets|flowers|a train "
    "ticket)[ for me| to Paris| for tonight]",
    "(play|sing|hum|record|compose) [me] (a song|some music|a melody|the radio|jazz|an album)",
    "(call|phone|email|text|contact) (my <kin>|the police|{name}|a doctor|my boss)[ for me| now]",
    "(solve|prove|integrate|differentiate|simplify) (this equation|x squared plus one|the theorem|"
    "the integral|2x + {year} = 7|sin of x)",
    "(how|can you tell me how) (do|can|should|would) I (fix|repair|build|install|clean|sell|"
    "program|drive|start|fly|learn) (a|an|my) {device}?",
    "(teach|help|show|train) me (to|how to) (play the piano|drive|swim|cook|program|dance|speak "
    "Chinese|invest|lose weight|paint|write a novel|file my taxes)",
    "(explain|describe) (how (a|an) {device} works|{topic}|{topic} to a child|why the {war} began)",
    "give me (advice|tips|help|a plan) (on|about|for|with) ({topic}|my taxes|my marriage|investing|"
    "my career|my garden|my homework on {topic})",
]
EVENTS = listed(
    "World Cup,Olympic Games,Super Bowl,election,Tour de France,Nobel Prize,Champions League,"
    "Eurovision contest,World Series,chess championship,Oscars,marathon,Wimbledon final,Grammys,"
    "presidential election,soccer match,Stanley Cup,final",
    ",",
)
PEOPLE = listed(
    "Albert Einstein,Napoleon,Shakespeare,Mozart,Isaac Newton,Cleopatra,Marie Curie,Julius Caesar,"
    "Leonardo da Vinci,Elvis,Lincoln,Beethoven,Plato,Picasso,Gandhi,Galileo,Darwin,Columbus,"
    "Aristotle,Michael Jordan,Madonna,Taylor Swift,Alan Turing,Van Gogh,Homer,Dante,Goethe",
    ",",
)
WORKS = listed(
    "Hamlet,the Mona Lisa,the Eiffel Tower,Don Quixote,the telephone,the light bulb,Harry Potter,"
    "Star Wars,the Bible,penicillin,the Great Wall,the Titanic,Faust,the Ninth Symphony,Titanic,"
    "the steam engine,the Lord of the Rings,the Colosseum,Romeo and Juliet,the Matrix,Avatar,"
    "Frozen,the newest Batman movie,the last Star Trek film,Moby Dick,the Odyssey,War and Peace",
    ",",
)
WARS = listed(
    "First World War,Cold War,French Revolution,Roman Empire,Middle Ages,Second World War,Civil War,"
    "Industrial Revolution,Ice Age,Renaissance,Vietnam War,gold rush",
    ",",
)
DEVICES = listed(
    "refrigerator,airplane,microwave,nuclear reactor,transistor,car engine,vacuum cleaner,telescope,"
    "bicycle pump,submarine,helicopter,washing machine,battery,laser,camera,printer,drone,satellite,"
    "toaster,elevator,compiler,guitar amplifier,radio,keyboard,motorcycle,television",
    ",",
)
TOPICS = listed(
    "quantum physics,photosynthesis,democracy,inflation,general relativity,black holes,philosophy,"
    "the stock market,DNA,evolution,machine learning,blockchain,gravity,the human heart,capitalism,"
    "climate change,electricity,Buddhism,thermodynamics,plate tectonics,the immune system,poetry,"
    "artificial intelligence,music theory,linear algebra,marketing,psychology,geology,chemistry,"
    "the French language,ancient Greece,string theory,economics,volcanoes,vaccines,nuclear power,"
    "world history,opera,continuous batching,paged attention,the KV cache,vLLM,transformers,"
    "tokenizers,CUDA,quantization,speculative decoding,Kubernetes,Docker,Linux,Windows,gradient descent,"
    "neural networks,deep learning,prefix caching,tensor parallelism,Python,Rust,the internet,politics,law,medicine,astronomy,tax law,baseball,yoga,calculus,love",
    ",",
)
DISHES = listed(
    "lasagna,pancakes,a chocolate cake,tomato soup,paella,curry,bread,risotto,sushi,roast chicken,"
    "an omelette,ramen,apple pie,goulash,tacos,pizza dough,cheesecake,stew",
    ",",
)
FIRMS = listed("Apple Google Tesla Amazon Microsoft Nokia Siemens Toyota Samsung Intel")


def unknown(rng: random.Random) -> list[Turn]:
    """One request the model has to decline."""
    slots = {
        "event": rng.choice(EVENTS),
        "year": rng.randint(1200, 2030),
        "person": rng.choice(PEOPLE) if rng.random() < 0.7 else f"{any_name(rng)} {any_name(rng)}",
        "work": rng.choice(WORKS),
        "war": rng.choice(WARS),
        "device": rng.choice(DEVICES),
        "topic": rng.choice(TOPICS),
        "dish": rng.choice(DISHES),
        "firm": rng.choice(FIRMS),
        "name": any_name(rng),
        "word": any_word(rng),
        "madeup": made_up(rng),
    }
    luck = rng.random()
    if luck < 0.12:
        return [(_nonsense(rng), PUZZLED)]
    if luck < 0.22:
        return [(_big_sum(rng), TOO_BIG)]
    if luck < 0.3:
        return _further_question(rng)
    if luck < 0.68:
        return [(phrase(rng, rng.choice(QUESTIONS), slots, dress=0.6), UNKNOWN)]
    return [(phrase(rng, rng.choice(TASKS), slots, dress=0.6), UNABLE)]


def _nonsense(rng: random.Random) -> str:
    """Letters and words that mean nothing together."""
    makers = [scrambled, scrambled, made_up]
    words = [rng.choice(makers)(rng) for _ in range(rng.randint(1, 4))]
    if len(words) == 1:
        words = [scrambled(rng) + scrambled(rng)]
    return " ".join(words) + rng.choice(["", "", "?", "!", "??", "..."])


BIG_SUMS = [
    "(what is|what's|how much is|calculate|compute|solve|tell me|) {a} {o} {b}[?]",
    "{a} {o} {b} (=|equals|is|makes) [what|?]",
    "<can> you <kindly> (calculate|compute|work out|add up|do) {a} {o} {b}?",
    "(what is|how much is|calculate) {c} {o} {d} {o} {e}[?]",
    "(what is|how much is|calculate) {c} (times|plus|minus) {d} (and then|then|and after that) (plus|"
    "minus|times) {e}[?]",
    "(what is|how much is|calculate) {a} (divided by|/|percent of|to the power of|modulo) {d}[?]",
]


def _big_sum(rng: random.Random) -> str:
    """A sum with numbers beyond those the model has learned, or with more than two."""
    slots = {
        "a": rng.randint(11, 9999 if rng.random() < 0.4 else 99),
        "b": rng.randint(11, 999 if rng.random() < 0.4 else 99),
        "c": rng.randint(1, 12),
        "d": rng.randint(1, 12),
        "e": rng.randint(1, 12),
        "o": rng.choice(["+", "-", "*", "plus", "minus", "times", "x"]),
    }
    return phrase(rng, rng.choice(BIG_SUMS), slots, dress=0.4)


FURTHER = [
    "(and|but|ok, and|great, and) (its|the|their) {p}[?]",
    "(and|so|ok,|) what (is|about) (its|the|their) {p}?",
    "(tell me|I also want to know|what do you know about) its {p}",
    "how (old|large|far|expensive|heavy|deep) is (it|that|this)?",
    "why [is that|is that so|]?",
    "(where|when) was (it|that) (founded|discovered|built|made|invented)?",
    "who (founded|discovered|built|invented|lives in) it?",
    "(tell me|say) more [about it|about that|]",
]
PROPERTIES = (
    "population,size,history,language,president,age,area,weight,price,flag,weather,currency,mayor,"
    "origin,speed,height,food,river,climate,king"
)


def _further_question(rng: random.Random) -> list[Turn]:
    """A fact the model knows, then a question about it that it cannot answer."""
    known = fact(rng)
    slots = {"p": rng.choice(listed(PROPERTIES, ","))}
    return [known, (phrase(rng, rng.choice(FURTHER), slots, dress=0.2), UNKNOWN)]
