"""dovetail serve"""

from __future__ import annotations

import argparse

from dovetail.server.serve import run as serve

from .models import named_model
from .parser import Parser, add_engine, add_model, add_server
from .settings import Settings


def add_arguments(parser: Parser) -> None:
    """MODEL, the server's and the engine's settings."""
    add_model(parser, positional=True)
    add_server(parser)
    add_engine(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Serve until a signal."""
    with named_model(settings.engine.model):
        return serve(settings.engine, settings.server, lambda line: print(line, flush=True))
