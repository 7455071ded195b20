"""Commands that live with the SDK are offered where their modules are, and the command line works without them."""

from __future__ import annotations

import importlib

import pytest
from dovetail.cli import dispatch


@pytest.mark.parametrize("name", dispatch.COMMANDS)
def test_every_command_that_is_offered_can_be_run(name: str):
    command = importlib.import_module(f"dovetail.cli.{name}")
    assert callable(command.add_arguments) and callable(command.run)


def test_a_command_whose_module_is_missing_is_not_offered():
    assert dispatch.available({"serve": "it", "toast": "bread"}) == {"serve": "it"}
