"""How people ask about the facts: noun phrases for frames, and whole questions."""

CAPITAL_NOUNS = [
    "the capital [city] of {x}",
    "{x}'s capital [city]",
    "the capital [city] of the (country|state|nation|land) [of|called] {x}",
    "the name of (the capital [city] of {x}|{x}'s capital)",
    "the city that is the capital of {x}",
    "the (main|most important|governing) city of {x}",
    "the seat of government of {x}",
]
CAPITAL_QUESTIONS = [
    "(which|what) (city|town|place) (is|serves as|acts as|works as|functions as|was made|became|"
    "counts as|would be) [the|] capital [city] (of|for|in) {x}?",
    "(which|what) capital [city] (does {x} have|belongs to {x}|goes with {x}|is in {x}|has {x})?",
    "(which|what) (city|town) does {x} (have|use|call|name) (as|for|) its (capital|capital city)?",
    "{x} (has|uses|calls) (which|what) (city|town|place) (as|for|) its (capital|capital city)?",
    "(where|in which city|in what city) (is|sits|does) the (government|parliament|capital|president)"
    " of {x} [sit|located|found|live]?",
    "(capital of {x}|{x}: capital|{x} capital|capital {x}|capital city of {x}|{x}, capital city)",
    "(if|when|suppose) I (visit|go to|fly to|travel to|see|am in|live in|drive to|move to) the "
    "capital of {x}, (where am I|which city (is it|is that|do I see|am I in|do I visit|do I "
    "reach)|what city (is it|do I arrive in))?",
    "(I am|I'm|we are|my <kin> is) (going|off|flying|traveling|moving|driving) to {x}, (what is "
    "the capital|which city is its capital|what's the capital called|what is its capital|tell me "
    "the capital|its capital is which city)[ there]?",
    "(how|what) (is|do you call|do they call|do people call) the capital [city] of {x} [called]?",
    "(for|about|as for|in|speaking of) {x}, (what is|what's|which city is|which one is|tell me) the "
    "capital",
    "{x} (has|is a country with) (which|what) capital?",
    "(one country|my country|the country|a country) is {x}, (what is|name|and) (its|the) capital?",
    "(in geography|on the map|in an atlas|in class), (what|which city) is the capital of {x}?",
    "(the capital of {x}|{x}'s capital|the capital city of {x}) (goes by|has|bears|carries) "
    "(which|what) name?",
    "(where|in which city) (does|would) (the government|the king|the president|parliament) of {x} "
    "(sit|work|live|meet)?",
    "what (would|do|should) you (say|call|answer|write|put) (is|as|for) the capital of {x}?",
    "what (city|town) (should|do|would|must) I (write|put|enter|name|say|choose|mark|circle) (as|"
    "for) the capital of {x}?",
]
COUNTRY_QUESTIONS = [
    "(which|what) (country|nation|land|state) (has|uses|calls|chose|names) {y} (as|for|) (its|the) "
    "capital [city]?",
    "{y} is the capital [city] of (which|what) (country|nation|land|state)?",
    "(which|what) (country|nation|land|state)'s capital is {y}?",
    "(which|what) (country|nation|land|state) is {y} (the capital of|in|part of|located in)?",
    "(of|in) (which|what) (country|nation|land|state) is {y} (the capital|the capital city)?",
    "(where|in which country|in what country|in which land) (is|lies|would I find|do I find|can I "
    "find) [the city of] {y}?",
    "{y} (belongs to|lies in|is in|is located in|is found in) (which|what) (country|nation|land)?",
    "(name|tell me|say|find) the (country|nation|land|state) (whose capital is|that has|with the "
    "capital|where you find|whose capital is called) {y}",
    "(if|when) I am in {y}, (which|what) (country|land|nation) am I in?",
    "the government of (which|what) (country|land|nation) (sits|is|works) in {y}?",
    "{y} is (where|the place where|the city where) the government of (which|what) (country|land|"
    "nation) (sits|is|works|meets)?",
    "(whose|which country's) (capital|capital city|government seat) is {y}?",
]
COLOR_NOUNS = [
    "the [usual|normal|typical|natural] color of {x}",
    "the color {x} (has|usually has|normally has)",
    "the color that {x} has",
    "the color (you see|I see|we see) when looking at {x}",
    "the color one thinks of with {x}",
]
COLOR_QUESTIONS = [
    "(which|what) color (is|has|would be|might be|should be) [usually|normally|typically] {x}"
    "[ usually| normally| most of the time| in nature| in general]?",
    "(which|what) color (does|would|will|do you think|might) {x} (have|be|show)?",
    "{x} (is|has|would be|is usually|is normally|comes in|would have|tends to be) (which|what) "
    "color?",
    "(which|what|of which|of what) color (do|would|should|must|can) (I|you|we) (see|pick|use|need|"
    "take|choose|paint|expect|give|say|get|find) (for|in|when looking at|when I see|if I see|when "
    "drawing|to paint|to draw|on) {x}?",
    "(if|when|suppose) (I|you|we|my <kin>) (draw|paint|see|look at|think of|color in|imagine|spot|"
    "picture) {x}, (which|what) color (do I need|is it|do you see|should I use|is right|comes to "
    "mind|do I take|will it be|is that)?",
    "how would you (describe|name) the color of {x}?",
    "{x}: (which|what) color?",
    "color of {x}?",
    "(which|what) is {x}'s [usual] color?",
    "(is {x} (red|blue|green|yellow|white|black)|red, green or blue: {x}), (or what color|or "
    "which color is it|what do you think|tell me the color)?",
    "(I want|I'd like|I have|my <kin> has|I am going) to (paint|draw|color) {x}, (which|what) "
    "(color|crayon|paint|pencil) (do I need|should I use|is right|fits|is best|do I take)?",
    "(which|what) (crayon|paint|pencil|color) (is right|do I take|should I pick|fits|do I need) "
    "for {x}?",
    "(draw|paint) {x}: (which|what) color (is it|do I use|do I take)?",
    "describe (the color of {x}|{x}'s color)[ in one word]",
    "(look at|think of|imagine|picture) {x}, (what|which) color is it?",
]
SOUND_NOUNS = [
    "the (sound|noise|call|cry) (of|made by|that comes from) {a}",
    "the (sound|noise|call) {a} (makes|gives|produces)",
    "the word for the (sound|noise) of {a}",
]
SOUND_QUESTIONS = [
    "(which|what) (sound|noise|call|sounds|noises) (does|do|would|will|can|might) {a} (make|"
    "produce|give|let out|utter|use|make when it is happy)?",
    "what (does|would|will|might) (a|the|your|my|an old|a big|a little) {x} (say|tell us|sing|"
    "call|shout)?",
    "how does (a|the|your|my|an old|a big|a little) {x} (sound|go|talk|speak|call)?",
    "(a|the|my|our) {x} (says|goes|makes|sounds|sounds like|calls) (what|how|which sound)?",
    "(which|what) (sound|noise) (comes|do you hear|do we hear|can I hear|would I hear) (from|from "
    "the mouth of) {a}?",
    "what (do|would|can|will) (you|I|we) hear (from|when (I|you) (meet|see|hear|pass|are near)) {a}?",
    "(imitate|do|make|play|act like|sound like|copy) {a}",
    "(when|if) (the|a|my) {x} (opens its mouth|speaks|is loud|calls|is hungry|wants something|"
    "talks), what (do you hear|does it say|comes out|is the sound|sound is that)?",
    "(on|at|down on) (the|a|my) farm, what does the {x} say?",
    "(my <kin>) (asks|wants to know) what {a} says",
    "in (a|the|my) (children's|picture) book the {x} says what?",
    "{x} sound?",
    "(is there|what is) a word for (how|what) {a} (sounds|says)?",
]
YOUNG_NOUNS = [
    "(a|the) (baby|young|newborn) {x}",
    "the (name|word|term|right word|special name) (of|for) (a|the) (baby|young|little|newborn) {x}",
    "the (young|baby|child|offspring|little one|kid|newborn) of {a}",
    "the (name|word|term) for the (young|baby|child|offspring|little one) of {a}",
]
YOUNG_QUESTIONS = [
    "(what|how) (is|do you call|do we call|do people call|would you call|should I call|does one "
    "call|do farmers call) (a|the) (baby|young|little|newborn|small) {x} [called|named|known as]?",
    "(what|how) (is|do you call|do we call|would you call|should I call|does one call) the (young|"
    "baby|child|offspring|little one|newborn|son or daughter) of (a|the|our|my) {x} "
    "[called|named|known as]?",
    "(a|the) (baby|young|little|newborn) {x} (is|is called|is known as|has the name|goes by) (what|"
    "which name|what name)?",
    "(when|if|after) (a|the|my|our) {x} (has|gets|had|gives birth to) a (baby|young one|little one|"
    "child), what is (it|the baby|that|the little one) [called|named]?",
    "(the|my|our|a) {x} (had|has|got|gave birth to) a baby, (what|how) (is it|do I|do you|is that "
    "animal) (called|call it)?",
    "(which|what) (word|name|term) (means|is used for|stands for|do we use for|is right for|is "
    "there for|describes|do you have for) (a (baby|young) {x}|the (young|baby|child|offspring) of "
    "{a})?",
    "(is there|do you know|what is) (a|the) (word|name|term|special name) for (a (baby|young) {x}|"
    "the (young|little one|baby) of {a})?",
    "(baby|young) {x}: (what is it called|name|which word)?",
    "(what|which animal) (grows|will grow) (up to be|into) {a}?",
    "{a} starts (life|out) as (what|a what)?",
    "(the offspring|the young|the baby|the child) of {a} is (called|known as|named) (what|a what)?",
]
LEG_NOUNS = [
    "the [total|exact] number of legs (of {a}|{a} has|on {a})",
    "the leg count of {a}",
    "how many legs {a} has",
]
LEG_QUESTIONS = [
    "how many (legs|feet) (does|do|would|will|might) (a|the|one|your|my|a single|a healthy|every) "
    "{x} (have|own|use|walk on|stand on|need)?",
    "how many legs (has|are on|are there on|belong to|can be found on|would I find on|are under) "
    "{a} [got|in total|altogether]?",
    "{a} (has|walks on|stands on|runs on|moves on|owns|goes on|uses) how many legs?",
    "(count|name|give|tell me) the (legs|number of legs) (of|on) {a}",
    "(on|with) how many legs does {a} (walk|run|stand|move|get around|go)?",
    "{x} legs: how many?",
    "how many legs (can|do|would|could|will|should) (I|you|we|one) (see|count|find|draw|expect) "
    "(on|for|with|when looking at|if I see|if I look at|when I look at) {a}?",
    "(if|when) I (draw|see|look at|count the legs of|paint|meet|catch) {a}, how many legs (do I "
    "need|are there|do I count|should it have|do I see|must I draw|does it have|is that)?",
    "(what is|tell me|what's) the number of legs (of|on|for) {a}",
    "legs (of|on) {a}: (how many|what number|what is the number)?",
    "does {a} have legs, and how many?",
    "(is it|does {a} have) (two|four|six|eight) legs[ that {a} has]?",
]
OPPOSITE_NOUNS = [
    "the [exact|direct] opposite of [the word] {q}",
    "(an|the) antonym (of|for|to) [the word] {q}",
    "the (reverse|opposite|contrary) meaning of {q}",
    "(a|the) word (that means|meaning|with) the (opposite|reverse|contrary) of {q}",
    "the (contrary|reverse|counterpart|other side) of {q}",
    "the (word|term) (opposite|contrary) (to|of) {q}",
    "(what|the word that) (is opposite to|stands against|is the opposite of|contrasts with) {q}",
]
OPPOSITE_QUESTIONS = [
    "(which|what) (word|term|adjective|one) (is|means|has|would be|would you say is|expresses|"
    "gives) [exactly] the (opposite|contrary|reverse|antonym|opposite meaning) (of|to|for) {q}?",
    "(opposite|antonym|contrary) (of|for|to) {q}?",
    "{q}: (opposite|its opposite|what is the opposite|antonym)?",
    "the (opposite|contrary) of {q} is (what|which word|called what)?",
    "what (is|would be|means|stands|do we call|do you call) (opposite|contrary) to {q}?",
    "(not|if not|when not) {x}, (but|then|then it is|it is|so it must be) (what)?",
    "if (it|something|someone|a thing|he|she|that) (is not|isn't|is no longer|stops being|was never"
    "|can't be) {x}, (it is|then it is|what is it|it must be|then it's|he is|then|she is) [what|...]?",
    "(what|which word) (would|do|should|could|can) (you|I|we) (say|use|call|write|put|get) (instead "
    "of {q} for the opposite|for the opposite of {q}|as the opposite of {q}|to mean the contrary of "
    "{q}|if I mean the opposite of {q})?",
    "(turn|change|flip|convert|make) {q} (into|to) (its|the) (opposite|antonym|contrary)",
    "{q} (and its|has the|has which|has what|has as its) opposite?",
    "(what|which) (word|) is (the contrary|contrary|the other end|the reverse|the opposite number) "
    "(of|to) {q}?",
    "(I need|I want|I'm looking for|find|give me) the word that is (contrary|opposite|the reverse) "
    "(to|of) {q}",
    "(which|what) (word|term) (stands against|contrasts with|is opposed to|is against|contradicts|"
    "goes against|is opposite) {q}?",
    "(my <kin>|I|somebody) (said|wrote|says) {q}, (what|which word) (is|would be) the opposite?",
    "(someone|the clue|my paper|the card) says {q}: (give|name|what is|find) the opposite",
]
PLURAL_NOUNS = [
    "the plural [form] of [the word] {q}",
    "the word for (more than one|two|several|many|a few) {x}",
    "the plural form (for|of) {q}",
    "the right plural (for|of) {q}",
    "what {q} (becomes|is|turns into) in the plural",
]
PLURAL_QUESTIONS = [
    "(plural of|plural for|plural) {q}?",
    "(one|a single|just one) {x}, (two|many|several|three|ten|a few|lots of|a lot of) (what|...)?",
    "(one|a single|just one|here is one) {x}, but (two|many|several|three|ten|a few) (what|...)?",
    "how (do|would|should|can) (you|I|we|one) (say|write|call|spell|name|express) (more than one|"
    "two or more of|several of|a group of|many of a) {x}?",
    "how (do|would|should|can) (you|I|we) (write|form|make|build|say|spell) {q} (in the plural|when "
    "there are (many|several|two|lots)|as a plural|for many of them|if there are several)?",
    "(what|how) is (more than one|a group of more than one) {x} called?",
    "{q} in [the] plural [form]?",
    "(make|pluralize|put|turn|change|write|set|bring) {q} (plural|into the plural|in the plural|in "
    "plural form|into a plural|into its plural form)",
    "what (do|would|should) (you|we|I) (call|say for) (two|three|several|many|a few) of (a {x}|them "
    "if one is a {x})?",
    "(if|when|suppose) (I|you|we) (have|see|own|meet|buy|find) (one|a) {x} and (get|see|find|then|"
    "meet|buy) (another|another one|one more|a second), (I have two|we have two|there are two|you "
    "have two|I speak of two|that makes two) (what|...)?",
    "(when|if) (a|one) {x} (is joined by|meets|stands beside|gets) (another|another one|a second "
    "one), (we|you|I|people) (have|see|speak of|talk about|say) (two|many) (what|...)?",
    "(which|what) (word|form) (is|would be|do I use for|do we use for) (the plural of {q}|more than "
    "one {x}|several of these: {x}|many of one {x})?",
    "(when|if) there (is|are) (more than one|several|many|two|a lot) {x}, (which word|what) (do|"
    "should|would) I (use|say|write)?",
    "(I have|there is|I see|my <kin> has) one {x}, (you have|there are|I see|she has|we need) "
    "(three|two|many|several) (what|...)?",
    "how is the plural of {q} (written|spelled|made|formed)?",
    "(I wrote|the sentence says) {q}, (but I need|I want|please give me) the plural",
]

AFTER_NOUNS = [
    "the {n} [right|directly|straight|just|] (after|following) {x}",
    "the {n} that (comes|follows|is|starts) [right|directly|just] after {x}",
    "the next {n} after {x}",
    "the {n} which follows {x}",
]
AFTER_QUESTIONS = [
    "(which|what) {n} (comes|is|follows|starts|begins|sits|stands) [right|directly|just|next] after"
    " {x}?",
    "(which|what) {n} (follows|succeeds|replaces) [directly on|right on|] {x}?",
    "what [comes|is] [next] after {x}?",
    "after {x} (comes|follows|we have|there is|I get|we get) (what|which {n})?",
    "{x} is followed by (what|which {n})?",
    "(if|when|suppose) (it is|this {n} is|now is|we have) {x}, (what is the next {n}|which {n} comes "
    "next|what comes next|what will the next {n} be)?",
    "(when|once|as soon as|after) {x} (is over|ends|has passed|is done|is finished|has gone), "
    "(which|what) {n} (starts|begins|comes|is it|do we get|is next)?",
    "{x} and then [what]?",
    "(what|which {n}) do (I|we) (get|reach|have|see) after {x}?",
]
AFTER_TODAY = [
    "(today is|it is|it's|if today is|when today is) {x}[ today], (what is tomorrow|what day is "
    "tomorrow|what will tomorrow be|which day is tomorrow|what day will it be tomorrow|so tomorrow "
    "is)?",
    "(yesterday was|it was|if yesterday was|when yesterday was) {x}[ yesterday], (what day is it "
    "today|what is today|which day is today|so what is today|what day is today|what day do we have "
    "now|so today is)?",
    "(tomorrow|the day after) (is|comes) what if today is {x}?",
    "what day is (it today|today) if yesterday was {x}?",
]
BEFORE_NOUNS = [
    "the {n} [right|directly|straight|just|] (before|preceding) {x}",
    "the {n} that (comes|was|is|ends|sits) [right|directly|just] before {x}",
    "the previous {n} before {x}",
    "the {n} which precedes {x}",
]
BEFORE_QUESTIONS = [
    "(which|what) {n} (comes|is|was|ends|lies|stands|sits) [right|directly|just] before {x}?",
    "(which|what) {n} (precedes|leads to|leads up to) [directly|] {x}?",
    "what [comes|is|was] [right|just] before {x}?",
    "before {x} (comes|came|we have|there is|we had) (what|which {n})?",
    "{x} comes [right|directly] after (what|which {n})?",
    "(if|when|suppose) (it is|this {n} is|now is) {x}, (what was the last {n}|which {n} was before|"
    "what was the one before|what was the previous {n})?",
    "(when|once) {x} (starts|begins), (which|what) {n} (is over|has ended|ended|has just passed)?",
    "(name|tell me|say|give me) the {n} (ahead of|prior to|that leads to|in front of) {x}",
]
BEFORE_TODAY = [
    "(today is|it is|it's|if today is|when today is) {x}[ today], (what was yesterday|what day was "
    "yesterday|which day was yesterday|so yesterday was)?",
    "(tomorrow is|it will be|if tomorrow is|when tomorrow is) {x}[ tomorrow], (what day is it today|"
    "what is today|which day is today|so today is|what day do we have now)?",
    "what day was yesterday if today is {x}?",
]
PLACE_NOUNS = [
    "the {o} {n} [of|in] the {w}",
    "the {o} {n} (of|in) (a|the|every) {w}",
    "{n} number {i} [of the {w}]",
    "the {n} (in|at) (place|position) {i} of the {w}",
]
PLACE_QUESTIONS = [
    "(which|what) {n} (is|comes) [the] {o} (in|of) (the|a) {w}?",
    "(which|what) is {n} number {i}?",
    "(which|what) is the {o} {n} (of|in|on) the (calendar|{w})?",
    "(what|which) {n} (has|carries) [the] number {i}?",
    "{n} {i} is (called|which|what)?",
    "what do we call the {o} {n} (of|in) (the|a) {w}?",
]
