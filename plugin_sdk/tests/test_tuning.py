"""Tuning tables: which entry is taken, and what a table that is wrong says."""

import pytest
from dovetail.errors import PlatformBroken
from dovetail_sdk.tuning import load_tuning

TABLE = """
measured = "by hand"

[[entry]]
architecture = "small"
at_most = { D = 64, T = 1 }
parameters = { tile = 16 }

[[entry]]
architecture = "small"
at_most = { D = 128 }
parameters = { tile = 32 }

[[entry]]
architecture = "*"
parameters = { tile = 8, split = true }
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "attention.toml"
    path.write_text(TABLE)
    return load_tuning(path)


@pytest.mark.parametrize(
    ("architecture", "widths", "tile"),
    [
        ("small", {"D": 64, "T": 1}, 16),
        ("small", {"D": 64, "T": 2}, 32),
        ("small", {"D": 64}, 32),
        ("small", {"D": 129, "T": 1}, 8),
        ("small", {}, 8),
        ("large", {"D": 64, "T": 1}, 8),
    ],
)
def test_the_first_entry_that_fits_is_taken(table, architecture, widths, tile):
    assert table.find(architecture, **widths)["tile"] == tile
    assert table.measured == "by hand"


def test_no_entry_names_file_architecture_and_widths(tmp_path):
    path = tmp_path / "linear.toml"
    path.write_text(TABLE.split('[[entry]]\narchitecture = "*"')[0])
    with pytest.raises(PlatformBroken, match=r"linear.toml has no entry for large with {'D': 1}"):
        load_tuning(path).find("large", D=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("measured = 1\nentry = []\nextra = 2", "unknown keys extra"),
        ("entry = []", "measured is missing"),
        ('measured = ""\n[[entry]]\narchitecture = "a"', "parameters is missing"),
        (
            'measured = ""\n[[entry]]\narchitecture = "a"\nparameters = {}\nwide = 1',
            "unknown keys wide",
        ),
        ("measured = ", "cannot be used"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(PlatformBroken, match=message) as refusal:
        load_tuning(path)
    assert str(path) in str(refusal.value)
    with pytest.raises(PlatformBroken, match="absent.toml"):
        load_tuning(tmp_path / "absent.toml")
