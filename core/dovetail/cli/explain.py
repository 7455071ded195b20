"""dovetail explain"""

from __future__ import annotations

import argparse
import dataclasses
import json

from dovetail.engine import explain
from dovetail.server.serve import ServerConfig
from dovetail.text.calls.table import Chosen, choose
from dovetail.text.template import ChatTemplate
from dovetail.weights.checkpoint import open_checkpoint

from .models import named_model
from .options import PARSERS
from .parser import Parser, add_engine, add_model, add_options
from .settings import Settings


def add_arguments(parser: Parser) -> None:
    """MODEL and the engine's settings."""
    add_model(parser, positional=True)
    parser.add_argument("--graph", action="store_true", help="print the graph as text instead")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_options(parser.add_argument_group("replies"), PARSERS)
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print the choices, then one line per node."""
    config = settings.engine
    with named_model(config.model):
        checkpoint = open_checkpoint(config.model, revision=config.revision)
    explanation = explain(config, checkpoint)
    replies = str(_chosen(checkpoint.chat_template, settings.server))
    if given.json:
        print(json.dumps({**dataclasses.asdict(explanation), "replies": replies}, indent=2))
        return 0
    if given.graph:
        print(explanation.graph)
        return 0
    for field in dataclasses.fields(explanation):
        if field.name not in ("graph", "nodes"):
            print(f"{field.name:15} {getattr(explanation, field.name)}")
    print(f"{'replies':15} {replies}")
    print()
    rows = [("node", "op", "kernel", "reason")]
    rows += [(n.node, n.op, n.kernel, n.reason) for n in explanation.nodes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for node, op, kernel, reason in rows:
        print(f"{node:{widths[0]}}  {op:{widths[1]}}  {kernel:{widths[2]}}  {reason}".rstrip())
    return 0


def _chosen(template: str | None, server: ServerConfig) -> Chosen:
    """How replies of the model are read."""
    return choose(
        template,
        takes_tools=template is not None and ChatTemplate(template).takes_tools,
        calls=server.tool_call_parser,
        reasoning=server.reasoning_parser,
    )
