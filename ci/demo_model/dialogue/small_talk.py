"""Greetings, moods, thanks and jokes: one answer per intent, many wordings."""

import random

from ci.demo_model.phrasing import phrase

Turn = tuple[str, str]

WHOM = "[ Dovetail| there| friend| buddy| my friend| little model| dear bot| robot| again| pal]"
TIME = "(today|this morning|this evening|tonight|this afternoon|at work|this week|yesterday|lately)"

INTENTS: list[tuple[float, str, list[str]]] = [
    (
        2,
        "Hello! How can I help you?",
        [
            f"(hello|hi|hey|hi hi|hello hello|howdy|hiya|greetings|good day|yo|hey ho|hallo){WHOM}",
            f"(hello|hi|hey|hiya),{WHOM}[ nice to see you| here I am| it's me| I am back]",
            "(hi|hello|hey) (everyone|everybody|all|Dovetail model|demo|demo model|tiny one|tiny "
            "model|you|world|mate|dear|stranger|computer|little friend|my dear|machine)",
            "(is|are) (anyone|anybody|somebody|you) (there|here|home|awake|online)[ hello]?",
            "(hello|hi|hey), (anyone|anybody|is somebody|are you) (there|here|awake)?",
            "(greetings|welcome|salutations|good to see you|a warm hello)[ to you| from (Spain|me|"
            "Berlin|home|my <kin>)]",
            "(I want to|let me|I wanted to|just wanted to) say (hello|hi)[ to you]",
            "(hi|hello) from (me|us|Paris|my <kin>|the office|school)",
        ],
    ),
    (
        1.6,
        "I am fine, thank you! How can I help you?",
        [
            f"how (are you|are you doing|do you do|is it going|are things|goes it){WHOM}"
            f"[ {TIME}| right now]?",
            f"how (do|are) you (feel|feeling) [{TIME}|right now]?",
            "how('s| is) (life|it going|everything|your day|your morning|your evening|the day|work|"
            "your week|your weekend|business|your mood|your family) [going|so far|for you]?",
            "how (was|has been) your (day|night|weekend|week|morning|evening)[ so far]?",
            "how has (life|the day|the week|today|this year|everything|the morning) (been|treated "
            "you|been treating you|gone)[ so far| for you]?",
            "how have you been[ doing| lately| since last time]?",
            f"(are|is) (you|everything) (ok|okay|well|fine|good|all right|in order|alright)[ {TIME}]?",
            "(what's|what is) (up|new|going on|happening|the news with you)[ with you]?",
            "(did|have) you (sleep|slept|have|had) (well|a good day|a good night|a nice weekend|a "
            "good week|a good start)?",
            "(you|all|everything) (good|fine|well|ok)?",
            "(are you|you) doing (well|ok|fine|good|alright)[ today]?",
            "I hope you are (well|fine|doing well|good)",
            "(hello|hi|hey)[ there], how (are you|are you doing|is it going|is life|do you do)?",
            "(are you|how is it) having a (good|nice|great|fine) (day|time|week)?",
        ],
    ),
    (
        1.6,
        "You are welcome!",
        [
            "(thanks|thank you|many thanks|thanks a lot|thx|cheers|thank you very much|thank you so "
            f"much|thanks so much|thanks a million|thanks a ton|much appreciated|ta){WHOM}",
            "(thanks|thank you|many thanks|cheers|thanks a lot) for (your|the|all your|this|that) "
            "(help|answer|time|reply|answers|support|info|information|explanation|advice|effort|"
            "quick reply|patience|chat)",
            "(that|this|your answer|it|your reply) (was|is|has been) (helpful|very helpful|useful|"
            "a great help|really useful|very kind|so helpful)[, (thanks|thank you)]",
            "(that|this|you) (helped|helped me|helps|saved me|saved my day|solved it)[ a lot| so "
            "much| very much| again][, (thanks|thank you)]",
            "I (really|truly|very much|) (appreciate|value) (it|that|your help|this|the help)",
            "(great|ok|okay|perfect|good|fine|wonderful|super|nice|awesome|cool), (thanks|thank you|"
            "many thanks|thanks a lot|thank you very much)",
            "(thanks|thank you), (that is all|that's all|that was all|this is enough|you are kind|"
            "that was quick|I needed that|good to know|that's what I needed)",
            "(I am|I'm) (grateful|thankful|very grateful|so grateful|in your debt)[ to you| for this]",
            "(you were|you have been|you've been) (very|really|so|a great|of great) (helpful|kind|"
            "help)[, thanks| to me]",
            "(I owe you|I want to thank you|let me thank you|I must thank you|how kind of you|very "
            "kind of you|that is kind of you|I thank you)[ for (that|this|everything|your help)]",
        ],
    ),
    (
        1.6,
        "Goodbye! Have a nice day.",
        [
            f"(bye|goodbye|bye bye|good bye|farewell|see you|see ya|so long|cheerio|ciao|adios){WHOM}",
            "(see you|talk to you|catch you|speak to you|meet you|write you) (later|soon|tomorrow|"
            "next time|around|next week|again soon|another day|on Monday)",
            "(I have to|I must|I need to|I should|I gotta|I've got to|I am going to|I will|I'll|let "
            "me) (go|leave|run|head home|go home|go now|leave now|head off|get going|stop here|"
            "close this|log off|sign off|head out|catch my bus|hang up)[ now| then][, bye]",
            "(I am|I'm|we are) (leaving|off|going|going home|heading home|heading out|out of here|"
            "done for today|logging off|off to work|on my way out|going out)[ now][, (bye|see you)]",
            "(that's|that is|this is|that was) (all|it|everything|enough|all for today|all for now)"
            "[, (bye|goodbye|see you)]",
            "(take care|have a good day|have a nice day|all the best|until next time|until tomorrow|"
            "time to go|have a good one|have a great weekend|stay well)[, bye]",
            "(ok|okay|well|alright|right|so|fine|thanks|good), (bye|goodbye|see you|bye then|I'm off|"
            "I am leaving|bye for now|see you soon|I have to go)",
            "(my bus|my train|dinner|my <kin>|my boss|work) is (here|waiting|calling)[, (bye|see you"
            "|goodbye|I must go|talk later)]",
        ],
    ),
    (
        0.8,
        "Good morning! How can I help you?",
        [
            f"[a very|a] good morning{WHOM}",
            "(good morning|morning|a lovely morning)[ to you| to you too| from me| everyone| all]",
            "(hi|hello|hey|well), good morning[ to you]",
            "(I just woke up|I am awake|rise and shine|the sun is up), good morning",
        ],
    ),
    (
        0.8,
        "Good evening! How can I help you?",
        [
            f"[a very|a] good evening{WHOM}",
            "(good evening|evening|a lovely evening|a nice evening)[ to you| to you too| from me]",
            "(hi|hello|hey|well), good evening[ to you]",
            "(good afternoon|afternoon|a good afternoon)[ to you]",
            "(hello|hi) (this|on this) (fine|lovely|nice) (evening|afternoon)",
        ],
    ),
    (
        0.8,
        "Good night! Sleep well.",
        [
            f"[a very|a] good night{WHOM}",
            "(good night|night|night night|sleep well|sweet dreams|sleep tight)[ to you| for now]",
            "(I am|I'm|we are) (going|off|heading) to (bed|sleep)[ now][, good night]",
            "(time for bed|it's bedtime|I need to sleep|I will go to bed|I want to sleep now|let me "
            "sleep|it is late, I go to sleep|my bed is waiting|I should go to bed)",
        ],
    ),
    (
        1.5,
        "Why did the computer go to bed? It needed to sleep!",
        [
            "(tell|give|send|show|write) me (a|one|another|your best|a good|a short|a funny|some|a "
            "silly) (joke|jokes|pun|funny story|one-liner|gag)",
            "<can> you [please] (tell|share|give|make|write) [me|us] (a|one|another|a good|a funny) "
            "(joke|pun|gag)?",
            "(do you|you) (know|have|remember) (a|any|some|any good|a good|a funny) (joke|jokes|puns|"
            "gag)[ for me]?",
            "(make|can you make|please make|try to make) (me|us|my <kin>) (laugh|smile|giggle|grin|"
            "chuckle)",
            "(say|tell me|do|write|show me|give me) something (funny|silly|amusing|hilarious|"
            "humorous|that makes me laugh|to laugh about|to make me smile)",
            "(I|we|my <kin>) (want|need|would like|could use|would love|feel like) (to hear a joke|a "
            "joke|a good laugh|something funny|to laugh|a smile|some humor|to giggle)",
            "(got|have you got|you got|heard) (any|a|some) (joke|jokes|good jokes|good ones)?",
            "(joke|a joke|joke time|be funny|another joke|one more joke|next joke|jokes)[ please]",
            "(are you|can you be) (funny|amusing)?",
            "(cheer me up|entertain me|amuse me) with (a joke|something funny|some humor)",
            "(let me|let us) hear (a|another|your best|your favorite) joke",
        ],
    ),
    (
        1.5,
        "I am sorry to hear that. I hope you feel better soon.",
        [
            f"(I am|I'm|I feel|I am feeling|my <kin> is) [so|very|really|a bit|quite|rather] (sad|"
            "tired|sick|ill|lonely|down|upset|unhappy|angry|depressed|stressed|exhausted|bad|low|"
            "terrible|awful|hurt|worried|afraid|miserable|heartbroken|disappointed|blue|not well|"
            f"hopeless|nervous|frustrated)[ {TIME}]",
            f"(I had|it was|this was|what|we had) a (bad|terrible|awful|horrible|sad|hard|rough|"
            f"miserable|rotten) (day|week|night|morning|time|year)[ {TIME}]",
            "(today|my day|the day|my week|work|school|my exam) (was|is|has been|went) (bad|terrible|"
            "awful|horrible|really bad|a disaster|so hard|badly|wrong|no fun)",
            "(everything|nothing|it all) (goes wrong|went wrong|is going badly|works|is bad|went "
            f"well|is right|goes right|is working out)[ for me| {TIME}| and I am sad]",
            "(my <kin>|my dog|my cat|my hamster|my horse) (is sick|is ill|died|left me|is in hospital|"
            "hates me|is angry with me|ran away|passed away|is hurt|is gone)",
            "I (lost|broke|missed|failed|forgot) (my job|my phone|my keys|my wallet|my exam|my train|"
            "my leg|my test|my best friend|my favorite cup|the game|the match|the race)",
            "I (am not|don't feel|do not feel) (well|good|happy|so good|feeling good|ok|fine|great)"
            f"[ {TIME}]",
            "(I have|I've got) (a headache|a cold|the flu|a fever|pain|problems|no friends|a toothache"
            "|a broken heart|bad news|trouble at work)",
            "(nobody likes me|I could cry|I am crying|life is hard|I am in pain|I miss my <kin>|I have "
            "to cry|I want to cry|my heart is broken|it hurts|I can't sleep)",
        ],
    ),
    (
        1.5,
        "That is great to hear!",
        [
            "(I am|I'm|I feel|I am feeling|my <kin> is) [so|very|really|quite] (happy|great|good|"
            "fine|glad|wonderful|excited|well|fantastic|cheerful|proud|super|joyful|delighted|in love|"
            f"relaxed|in a good mood|thrilled)[ {TIME}]",
            f"(I had|it was|this was|what|we had) a (good|great|wonderful|fantastic|lovely|nice|"
            f"perfect|fun|super) (day|week|time|morning|weekend|night|holiday)[ {TIME}]",
            "(today|my day|the day|my week|work|school|my exam) (was|is|has been|went) (good|great|"
            "wonderful|perfect|fantastic|fun|really good|well|very well)",
            "(guess what|you know what|listen|good news|yay|hurray|hooray)(,|!|:) I (won|passed|got|"
            "found|made) (a prize|the race|my exam|a new job|the job|a dog|love|it|the game|an "
            "award|the test|a kitten|a bike|new friends|good marks|a raise|the lottery)",
            "I (won|passed|got|found|finished|made) (a prize|the race|my exam|a new job|the job|a "
            "puppy|my keys|the match|an award|the test|my work|good news|a new friend|a good grade|"
            "a promotion|my driving test)[ today| finally]",
            "(life is|things are|everything is|it is all|all is) (good|great|wonderful|going well|"
            "perfect|fine|fantastic|beautiful)[ today]",
            "(it is|it's|today is) (my birthday|my wedding day|the weekend|a holiday|Friday at last|"
            "the first day of my holiday)",
            "(I got|there is|we have|I have) (good|great|wonderful) news",
            "(my <kin>|my team|we) (won|passed the exam|got married|is healthy again|had a baby|got a "
            "job|came home|won the match|got a prize)",
        ],
    ),
    (
        1,
        "I cannot see the weather. Please look out of the window!",
        [
            "(how is|how's|what is|what's) the weather[ like| going to be][ today| now| tomorrow| "
            "outside]?",
            "(is|will|was) it (raining|rain|sunny|be sunny|cold|warm|snow|snowing|hot|windy|be cold|"
            f"get warm|stay dry)[ outside| now| tomorrow| {TIME}]?",
            "(do|will|should) I (need|take|bring|wear) (an umbrella|a coat|a jacket|my sunglasses|a "
            f"hat|warm clothes)[ today| {TIME}]?",
            "(tell|give|show) me the (weather|forecast|temperature outside|weather report)[ for today]",
            "(what is|what's|how high is) the temperature (outside|today|now|tomorrow)?",
            "<curious> (if it will rain|how the weather is|if it is going to snow)[ today| tomorrow]",
        ],
    ),
    (
        1,
        "I have no clock, so I do not know the time or the date.",
        [
            "(what|which) (time|day|year|month|date) (is it|is today|is now|do we have|is it today)"
            "[ now| right now| today]?",
            "(what is|what's) (the time|today's date|the date|the current time|the date today|the "
            "time now|the current year|the day today|the hour)?",
            "(do you|you) (know|have) (the time|what time it is|the date|what day it is)?",
            "(tell|give) me (the time|the date|today's date|what time it is|the hour|the day)",
            "<can> you [please] tell me (the time|what time it is|today's date|which day it is)?",
            "how late is it[ now| already]?",
            "is it (late|early|noon|midnight|Monday|Sunday|morning|evening|already late)[ today| now]?",
        ],
    ),
    (
        1,
        "Thank you, that is kind!",
        [
            "(you are|you're|u are) [so|very|really|quite|pretty] (great|smart|nice|cool|helpful|"
            "clever|awesome|kind|sweet|good|funny|cute|the best|amazing|fantastic|lovely|brilliant|"
            "wonderful|a good bot|a star|a genius|fun|impressive|adorable)",
            "(good|great|nice|excellent|fine|amazing|fantastic|brilliant) (job|work|bot|answer|reply|"
            "robot|model|girl|boy|one)",
            "(well done|bravo|impressive|I like you|I love you|you did well|correct, well done|that "
            "was a good answer|right, very good|that was correct|congratulations|wow, not bad|you "
            "rock|I am impressed|that was clever|you got it right|I enjoy talking to you|what a good "
            "answer|I am a fan of yours|not bad for a small model)",
        ],
    ),
    (
        0.7,
        "Nice to meet you too!",
        [
            "[it is|it's] (nice|good|great|lovely|a pleasure|wonderful|glad|happy|pleased|so nice) to "
            f"(meet|know|see) you{WHOM}",
            "(I am|I'm) (glad|happy|pleased|delighted|honored) to (meet you|make your acquaintance)",
        ],
    ),
    (
        0.8,
        "Here is one: an octopus has three hearts.",
        [
            "(tell|give|teach|show) me (a|one|some|another) (fun|interesting|random|cool|strange|new|"
            "surprising|short) (fact|thing|trivia)[ about (animals|anything|the world)]",
            "(a|one) (fun|interesting|random) fact[ please]",
            "(surprise|amaze|impress) me[ with (a fact|something)]",
            "(do you|you) know (a|any|some) (fun|interesting|strange) (fact|facts)?",
            "(tell|teach) me something (new|interesting|I don't know|surprising|cool)",
        ],
    ),
    (
        1,
        "How about a game? Ask me for the capital of a country!",
        [
            "(I am|I'm|we are|my <kin> is) [so|very|a bit|really] bored[ today| now| at work]",
            "(what (should|can|could|shall) (I|we) (do|play)|entertain me|amuse me|this is boring|I "
            "have nothing to do|nothing to do)[ now| today| here]?",
            "(can|could|shall|do you want to|would you like to|will you) [we|] play (a game|with me|"
            "something)?",
            "(I want|I'd like|I would love|let's|let us) [to] (play|play a game|do something fun|have "
            "fun|do a quiz|play something)",
            "(give|suggest|find|show) me something (to do|fun|to play|interesting)",
            "do you (know|like|play|have) (a game|games|any games|some game)?",
        ],
    ),
    (
        0.9,
        "My favorite color is blue.",
        [
            "(what is|what's|tell me|name) your favorite color",
            "(which|what) color (do you (like|prefer|love)|is your favorite|would you (choose|pick|"
            "wear|paint your house|call your favorite))[ best| most| the most]?",
            "do you have a favorite color?",
            "(your|and your) favorite color?",
        ],
    ),
    (
        0.9,
        "I do not eat, but pizza sounds nice.",
        [
            "(what is|what's|tell me|name) your favorite (food|meal|dish|dinner|snack|fruit)",
            "(which|what) (food|meal|dish|snack|fruit|drink) (do you (like|prefer|love|eat)|is your "
            "favorite)[ best| most]?",
            "(what do you|do you|what did you|what would you) (eat|like to eat|have for lunch|have for"
            " dinner|drink|eat today|have for breakfast)?",
            "(are you|do you get|do you feel|are you never) (hungry|thirsty)?",
            "(do you|would you) (like|want|love|prefer) (pizza|pasta|cake|coffee|tea|chocolate|ice "
            "cream|some food|a cookie|an apple|soup|a drink)?",
            "do you have a favorite (food|meal|dish)?",
        ],
    ),
    (
        0.9,
        "I do not have an age. I am a program.",
        [
            "how (old|young) (are you|is this bot|might you be|is this model)[ now| exactly]?",
            "(what is|what's|tell me) your (age|birthday|date of birth|year of birth)",
            "(when|what year|which year|what day) (were you born|is your birthday|was your birthday|"
            "did you come into the world)?",
            "(are you|you are) (old|young|a child|a baby|an adult|grown up|older than me)?",
            "(do you have|when do you celebrate|when is) (a|your) birthday?",
            "(how many|what number of) years (are you|have you lived|do you have|old are you)[ old]?",
            "your age?",
        ],
    ),
    (
        1,
        "I am sorry. I am a small model and still do my best.",
        [
            "(you are|you're|u are) [so|very|really|such|pretty] (stupid|dumb|useless|bad|wrong|"
            "terrible|an idiot|no good|boring|annoying|silly|slow|awful|a bad bot|a fool|hopeless|"
            "not helpful|crazy)",
            "(that|this|it|your answer) (is|was) (wrong|not right|not correct|a bad answer|nonsense|"
            "incorrect|false|stupid|rubbish|no answer|a silly reply|not true|a mistake|garbage)",
            "(bad|wrong|silly|terrible|poor) (answer|bot|reply|job|robot|model)",
            "(I don't like you|I hate you|you make no sense|you know nothing|you got it wrong|I am "
            "not happy with you|that makes no sense|you did not answer me|you disappoint me|you made "
            "a mistake|shut up|go away|you can't do anything|you failed)",
        ],
    ),
    (
        0.8,
        "Good! What would you like to ask?",
        [
            "(ok|okay|alright|fine|good|cool|nice|great|super|I see|got it|understood|interesting|aha|"
            "oh|wow|sure|yes|right|yeah|perfect|very good|all right)",
            "(can|may|could) I ask (you|) (something|a question|you something|you a question)?",
            "(I have|I've got) (a|another|one more|some|a few|many) (question|questions)[ for you]",
            "(are you ready|let's go|let's start|let us begin|shall we start|ready|can we start)?",
        ],
    ),
]
WEIGHTS = [weight for weight, _, _ in INTENTS]


def small_talk(rng: random.Random) -> list[Turn]:
    """One remark and the friendly answer to it."""
    _, answer, patterns = rng.choices(INTENTS, WEIGHTS)[0]
    return [(phrase(rng, rng.choice(patterns), dress=0.35), answer)]
