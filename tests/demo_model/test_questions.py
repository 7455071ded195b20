"""The bundled model's questions, their checks, and the generator of its training text. No torch."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from ci.demo_model import checks  # noqa: E402  the scripts are no package that could be installed
from ci.demo_model.conversation import Conversation, call_text, pieces, response_text  # noqa: E402
from ci.demo_model.evaluate import Outcome, ask, from_server, normal, overlap, report  # noqa: E402
from ci.demo_model.grammar import expand, parse  # noqa: E402
from ci.demo_model.mixture import conversation, conversations  # noqa: E402
from ci.demo_model.questions import CATEGORY_SIZES, QUESTIONS, Question  # noqa: E402

TEMPLATE = ROOT / "ci/demo_model/chat_template.jinja"
TOOL = {
    "type": "function",
    "function": {"name": "get_time", "description": "The time", "parameters": {"type": "object"}},
}


def test_questions_are_a_hundred_in_the_agreed_mix():
    assert Counter(question.category for question in QUESTIONS) == CATEGORY_SIZES
    assert sum(CATEGORY_SIZES.values()) == 100
    assert len({question.turns for question in QUESTIONS}) == 100


def test_questions_do_not_occur_in_the_training_text():
    assert overlap(5_000) == []


def test_overlap_finds_a_wording_whatever_its_case_and_marks():
    wording = conversation(3).turns[0][0]
    copied = Question("facts", (wording.upper() + "?!",), checks.number(1))
    assert overlap(10, [copied]) == [copied.turns[-1]]


def test_normal_keeps_what_arithmetic_is_made_of():
    assert normal("What is 3+4?") != normal("What is 3*4?")
    assert normal(" Hello,  WORLD! ") == "hello world"


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.says(r"\bOslo\b"), "It is Oslo.", "It is Rome."),
        (checks.says(r"\bfree\b", never="pay"), "It is free.", "It is free, but you pay."),
        (checks.says("Oslo"), "Oslo", call_text("find", {"city": "Oslo"})),
        (checks.one_of("red", "red blue"), "It is red.", "It is red or blue."),
        (checks.number(12), "7 + 5 = 12", "7 + 5 = 13"),
        (checks.number(12), "twelve", "12 + 1 = 13"),
        (checks.number(8), "A spider has 8 legs.", "A spider has 18 legs."),
        (checks.counts(1, 4), "1, 2, 3, 4", "1, 2, 3, 4, 5"),
        (checks.counts(3, 1), "3, 2, 1, 0", "1, 2, 3"),
        (checks.spells("cat"), "cat is spelled c-a-t.", "cat is spelled c-a-r-t."),
        (checks.spells("cat"), "C, A, T", "c-a-t-s"),
        (checks.reverses("lamp"), "l-a-m-p backwards is p-m-a-l: pmal", "lamp"),
        (checks.reverses("lamp"), "pmal", "pmall"),
        (checks.is_json({"a": 1}), '{"a": 1}', 'Here it is: {"a": 1}'),
        (checks.is_json({"a": True}), '```json\n{"a": true}\n```', '{"a": 1}'),
        (checks.is_json({"a": 1, "b": 2}), '{"b": 2, "a": 1}', '{"a": 1}'),
        (checks.calls("f", {"x": 2}), call_text("f", {"x": 2}), call_text("f", {"x": "2"})),
        (checks.calls("f", {"x": 2}), call_text("f", {"x": 2}), call_text("g", {"x": 2})),
        (checks.calls("f", {}), call_text("f", {}), "<tool_call>\n{broken}\n</tool_call>"),
    ],
)
def test_check_passes_the_right_reply_and_not_the_wrong_one(check, right, wrong):
    assert check(right)
    assert not check(wrong)


@pytest.mark.parametrize("reply", ["", "Hello! How can I help you?", "I do not know.", "0", "{}"])
def test_no_single_reply_passes_many_questions(reply):
    passed = [question for question in QUESTIONS if question.check(reply)]
    assert len(passed) <= 3


def test_a_question_with_a_tool_result_is_judged_by_the_reply_after_it():
    question = next(question for question in QUESTIONS if question.tool_result)
    replies = iter([call_text("get_weather", {"city": "Madrid"}), "It is 27 degrees in Madrid."])
    asked = []

    def respond(messages, tools):
        asked.append([message["role"] for message in messages])
        return next(replies)

    assert ask(question, respond).right
    assert asked[-1] == ["user", "assistant", "tool"]


def test_a_server_is_asked_as_openai_clients_ask_and_its_calls_are_put_back():
    bodies = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            function = {"name": "get_time", "arguments": '{"city": "Oslo"}'}
            message = {"content": None, "tool_calls": [{"id": "1", "function": function}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": message}]}).encode())

        def log_message(self, *values):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        respond = from_server(f"http://127.0.0.1:{server.server_port}/v1", "demo")
        reply = respond([{"role": "user", "content": "Time in Oslo?"}], [TOOL])
    assert checks.calls("get_time", {"city": "Oslo"})(reply)
    assert bodies[0]["tools"] == [TOOL]
    assert bodies[0]["temperature"] == 0


def test_report_counts_by_category_and_in_total():
    first, second = QUESTIONS[0], QUESTIONS[-1]
    text = report([Outcome(first, "", True), Outcome(second, "", False)])
    assert text.splitlines()[0].split() == ["identity", "1", "/", "1"]
    assert text.splitlines()[-1].split() == ["total", "1", "/", "2"]


def test_conversations_are_the_same_in_every_process():
    program = (
        "from ci.demo_model.mixture import conversations\n"
        "from ci.demo_model.conversation import pieces\n"
        "print(sum((hash_ * 31 + ord(mark)) % 65521 for c in conversations(7, 200)"
        " for piece, _ in pieces(c) for hash_, mark in enumerate(piece)))"
    )
    sums = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        sums.add(done.stdout)
    assert len(sums) == 1


def test_conversations_leave_no_pattern_marks_in_what_users_say():
    for made in conversations(0, 2_000):
        for user, _ in made.turns:
            if "<tool_response>" not in user:
                assert not set(user) & set("|[]()"), user


def test_wordings_are_many():
    users = [user for made in conversations(0, 2_000) for user, _ in made.turns]
    assert len(set(map(normal, users))) > 0.9 * len(users)


def test_only_what_the_assistant_says_is_trained():
    made = Conversation([("Hi", "Hello!")], system="Be kind.")
    assert [text for text, trained in pieces(made) if trained] == ["Hello!<|im_end|>"]


def test_expand_picks_alternatives_and_keeps_slots():
    import random

    found = {expand(random.Random(seed), "(say|write) [the word] {x}[ now]") for seed in range(60)}
    assert "say the word {x}" in found
    assert "write {x} now" in found
    assert len(found) == 8


def test_parse_names_a_pattern_with_unbalanced_brackets():
    with pytest.raises(ValueError, match="say"):
        parse("(say|write {x}")


def test_template_writes_what_the_model_was_trained_on():
    made = Conversation(
        [
            ("Time in Oslo?", call_text("get_time", {"city": "Oslo"})),
            (response_text({"time": "9:15"}), "It is 9:15 in Oslo."),
        ],
        system="Be kind.",
        tools=[TOOL],
    )
    call = {"name": "get_time", "arguments": {"city": "Oslo"}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Time in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": call}]},
        {"role": "tool", "content": '{"time": "9:15"}'},
        {"role": "assistant", "content": "It is 9:15 in Oslo."},
    ]
    expected = "".join(text for text, _ in pieces(made))
    assert render(messages, tools=[TOOL]) == expected
    call["arguments"] = json.dumps(call["arguments"])
    assert render(messages, tools=[TOOL]) == expected


def test_template_takes_parts_empty_content_and_a_start_for_the_reply():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None},
    ]
    text = render(messages, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
    )


def test_template_puts_results_that_follow_one_another_into_one_turn():
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    text = render(results)
    assert text == (
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n"
        "<tool_response>\n2\n</tool_response><|im_end|>\n"
    )


def render(messages, **values):
    sandbox = pytest.importorskip("jinja2.sandbox")
    environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8").rstrip("\n"))
    return template.render(messages=messages, **values)
