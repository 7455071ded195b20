"""What `dovetail doctor` must not tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dovetail.cli.main import main
from dovetail.cli.masking import HIDDEN, masked

CANARY = "canary"


@pytest.mark.defends(
    "logs",
    "`dovetail doctor` gathers a report without keys, tokens and passwords",
    without=("dovetail.cli.doctor", '"(set)" if is_secret(name) else value', "value"),
)
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_report_holds_no_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: list[str],
    broken: bool,
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        'api-key = ["canary-one", "canary-two"]\nadmin_key = "canary-three"\n'
        f'port = "{"canary-two" if broken else 9000}"\nmax-num-seqs = 3\n'
        'otlp-endpoint = "https://user:canary-four@collector.example/x?token=canary-five"\n'
    )
    secret = {
        "HF_TOKEN": "canary-six",
        "HUGGING_FACE_HUB_TOKEN": "canary-seven",
        "DOVETAIL_ADMIN_KEY": "canary-eight,canary-nine",
        "HF_ENDPOINT": "https://me:canary-ten@hub.example/?sig=canary-eleven&a=b",
        "https_proxy": "http://me:canary-twelve@proxy.example:3128",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer canary-thirteen",
        "DOVETAIL_MODEL": "canary-six/canary-seven",  # a key pasted into the wrong place
        "DOVETAIL_CONFIG": str(config),
    }
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    main(["doctor", *form])
    told = capsys.readouterr()
    assert CANARY not in told.out + told.err
    assert "(set)" in told.out and "hub.example" in told.out and "HF_TOKEN" in told.out
    if form:
        story = json.loads(told.out)
        assert "max_num_seqs" in story["settings"] or story["problems"]
    assert ("settings.toml: port" in told.out) == broken


@pytest.mark.parametrize(
    "text",
    [
        "hf_canaryCanary12",
        "sk-proj-canarycanary",
        "Authorization: Bearer canary",
        "https://canary:x@host/path",
        "https://host/path?access_token=canary&b=canary",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    hidden = masked({"a": [f"before {text} after"]}, ())["a"][0]
    assert CANARY not in hidden.lower() and HIDDEN in hidden
    assert hidden.startswith("before ") and hidden.endswith(" after")


def test_what_is_no_secret_is_told() -> None:
    plain = {"file": "/opt/keys.toml", "cpu": "AMD EPYC 9R14, 2 sockets", "url": "https://host/a?"}
    assert masked(plain, ()) == plain
