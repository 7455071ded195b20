"""Ask the model the hundred fixed questions and print what it gets right, by category.

    python -m ci.demo_model.evaluate core/dovetail/bundled/demo
    python -m ci.demo_model.evaluate --base-url http://127.0.0.1:8000/v1 --model demo
    python -m ci.demo_model.evaluate --overlap 200000

The first loads a checkpoint with transformers; the second asks an OpenAI-compatible server, with
the standard library only; the third counts questions whose wording is in the training text.
"""

import argparse
import json
import re
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.demo_model.mixture import conversations
from ci.demo_model.questions import QUESTIONS, Question

Message = dict[str, Any]
Respond = Callable[[list[Message], list[dict[str, Any]]], str]
MOST_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question, the reply that was judged, and the verdict."""

    question: Question
    reply: str
    right: bool


def from_checkpoint(folder: Path) -> Respond:
    """Greedy replies of a checkpoint, by transformers in f32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()

    def respond(messages: list[Message], tools: list[dict[str, Any]]) -> str:
        prompt = tokenizer.apply_chat_template(
            messages,
            tools=tools or None,
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            output = model.generate(**prompt, max_new_tokens=MOST_TOKENS, do_sample=False)
        new = output[0, prompt["input_ids"].shape[1] :]
        return re.sub(r"<\|\w+\|>", "", tokenizer.decode(new)).strip()

    return respond


def from_server(base_url: str, model: str, timeout_s: float = 120) -> Respond:
    """Greedy replies of an OpenAI-compatible server."""

    def respond(messages: list[Message], tools: list[dict[str, Any]]) -> str:
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
        }
        if tools:
            body["tools"] = tools
        request = urllib.request.Request(
            f"{base_url.rstrip('/')}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            message = json.load(answer)["choices"][0]["message"]
        return _as_text(message)

    return respond


def _as_text(message: Message) -> str:
    """A server's message as the model wrote it: calls that were parsed are put back."""
    parts = [message.get("content") or ""]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        body = {"name": function["name"], "arguments": json.loads(function["arguments"])}
        parts.append(f"<tool_call>\n{json.dumps(body)}\n</tool_call>")
    return "\n".join(part for part in parts if part).strip()


def ask(question: Question, respond: Respond) -> Outcome:
    """Ask turn by turn; give the tool's result where the question has one and it was called."""
    tools = list(question.tools)
    messages: list[Message] = []
    reply = ""
    for turn in question.turns:
        messages.append({"role": "user", "content": turn})
        reply = respond(messages, tools)
        messages.append({"role": "assistant", "content": reply})
    if question.tool_result is not None and "<tool_call>" in reply:
        messages[-1] = _calling_message(reply)
        result = json.dumps(question.tool_result)
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": result})
        reply = respond(messages, tools)
    return Outcome(question, reply, question.check(reply))


def _calling_message(reply: str) -> Message:
    """The assistant's message with its call as a field, or as plain text if it is no call."""
    match = re.search(r"<tool_call>\s*(\{.*\})\s*</tool_call>", reply, re.DOTALL)
    try:
        call = json.loads(match.group(1)) if match else {}
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    except (ValueError, KeyError):
        return {"role": "assistant", "content": reply}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def report(outcomes: Iterable[Outcome]) -> str:
    """Right answers of all, by category and in total."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for outcome in outcomes:
        asked[outcome.question.category] += 1
        right[outcome.question.category] += outcome.right
    lines = [f"{name:<12}{right[name]:>4} / {asked[name]}" for name in asked]
    return "\n".join([*lines, f"{'total':<12}{right.total():>4} / {asked.total()}"])


def normal(text: str) -> str:
    """Lower-case letters and digits, words apart by single spaces; the rest is left out."""
    return " ".join(re.sub(r"[^a-z0-9+*= -]", "", text.lower()).split())


def overlap(count: int, questions: Iterable[Question] = QUESTIONS) -> list[str]:
    """Questions whose last turn is, normalised, a user's turn in the first `count` conversations."""
    wanted = {normal(question.turns[-1]): question.turns[-1] for question in questions}
    seen: set[str] = set()
    for conversation in conversations(0, count):
        seen.update(normal(user) for user, _ in conversation.turns)
    return [text for key, text in wanted.items() if key in seen]


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask the model the hundred fixed questions.")
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of the checkpoint")
    parser.add_argument("--base-url", help="an OpenAI-compatible server instead, with /v1")
    parser.add_argument("--model", default="demo", help="the model's name at the server")
    parser.add_argument(
        "--overlap", type=int, metavar="N", help="only compare with N conversations"
    )
    parser.add_argument("--failures", action="store_true", help="print what was wrong")
    parser.add_argument("--at-least", type=int, default=0, help="exit with 1 below this many")
    options = parser.parse_args()
    if options.overlap:
        found = overlap(options.overlap)
        print(f"{len(found)} of {len(QUESTIONS)} questions occur", *found, sep="\n")
        return int(bool(found))
    if not options.base_url and not options.checkpoint:
        parser.error("give a checkpoint folder or --base-url")
    if options.base_url:
        respond = from_server(options.base_url, options.model)
    else:
        respond = from_checkpoint(options.checkpoint)
    started = time.monotonic()
    outcomes = [ask(question, respond) for question in QUESTIONS]
    for outcome in outcomes:
        if options.failures and not outcome.right:
            print(f"{outcome.question.category}: {outcome.question.turns} -> {outcome.reply!r}")
    print(report(outcomes), f"seconds     {time.monotonic() - started:.0f}", sep="\n")
    return int(sum(outcome.right for outcome in outcomes) < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
