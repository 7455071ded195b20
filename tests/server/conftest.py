"""A tiny checkpoint with a tokenizer and a chat template, served on the null platform."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import openai
import pytest
import uvicorn
from dovetail.config import EngineConfig
from dovetail.engine import start_engine
from dovetail.server.access import Access
from dovetail.server.app import create_app
from dovetail.server.gate import Gate
from dovetail.server.journal import Ended
from dovetail.server.metrics import Metrics
from dovetail.server.protocol import bounded
from dovetail.server.serve import bind
from dovetail.server.served import Served
from dovetail.text.model import TextModel
from dovetail.text.sentences import SentenceModel
from dovetail.weights.checkpoint import open_checkpoint
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.waiting import in_time

from .serving import Server

T = TypeVar("T")
KEY = "secret-key"

CHATML = (
    "{%- if tools %}<|im_start|>system\n"
    "{%- for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    'Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\n{% endif %}'
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCAB = 512
GRACE_S = 10.0


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "The quick brown fox jumps over the lazy dog. Größe, naïve, 你好, 😀. one two three"
    tokenizer.train_from_iterator([text, *words()], trainer)
    return tokenizer


def words() -> list[str]:
    """Enough different words to fill the vocabulary."""
    return [f" {a}{b}{c}" * 3 for a in "bcdfg" for b in "aeiou" for c in ("rt", "nd", "st", "ck")]


def make_checkpoint(directory: Path, *, context: int = 4096, template: str | None = CHATML) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    width, ffn, layers, heads = 64, 128, 1, 2
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": 32,
        "vocab_size": VOCAB,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "eos_token_id": 2,
    }
    (directory / "config.json").write_text(json.dumps(config))
    make_tokenizer().save(str(directory / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "chat_template": template}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    draw = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, dtype=np.float32) * 0.02

    tensors = {
        "model.embed_tokens.weight": weight(VOCAB, width),
        "model.norm.weight": weight(width),
    }
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            tensors[f"{at}self_attn.{name}_proj.weight"] = weight(width, width)
        tensors[f"{at}mlp.gate_proj.weight"] = weight(ffn, width)
        tensors[f"{at}mlp.up_proj.weight"] = weight(ffn, width)
        tensors[f"{at}mlp.down_proj.weight"] = weight(width, ffn)
        tensors[f"{at}input_layernorm.weight"] = weight(width)
        tensors[f"{at}post_attention_layernorm.weight"] = weight(width)
    save_file(tensors, directory / "model.safetensors")
    return directory


class Running:
    """A server on a thread of this process, its engine on another."""

    def __init__(
        self,
        model: Path,
        *,
        api_keys: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
        access: Access | None = None,
        origins: tuple[str, ...] = (),
        ended: Ended | None = None,
        head_timeout_s: float = 30.0,
        stall_timeout_s: float = 60.0,
        request_timeout_s: float = 0.0,
        **settings: Any,
    ) -> None:
        self.served: Served
        self.gate: Gate
        self.port = 0
        self.api_keys, self.hosts = api_keys, hosts
        self.access, self.origins, self.ended = access, origins, ended
        self.request_timeout_s = request_timeout_s
        self.head_timeout_s, self.stall_timeout_s = head_timeout_s, stall_timeout_s
        self._config = EngineConfig(model=str(model), **{"platform": "null", **settings})
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._web: uvicorn.Server
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._ready.wait()

    async def _run(self) -> None:
        try:
            checkpoint = open_checkpoint(self._config.model)
            engine = await start_engine(self._config, checkpoint, in_process=True)
            text = TextModel.load(
                checkpoint,
                vocab_size=engine.info.vocab_size,
                max_model_len=engine.info.max_model_len,
            )
            self.served = Served(
                engine=engine,
                text=text,
                names=("tiny", "alias"),
                metrics=Metrics("tiny", engine.info),
                sentences=SentenceModel.of(checkpoint, text.tokenizer, engine.info),
                max_body_bytes=1 << 20,
            )
            self.gate = create_app(
                self.served,
                access=self.access or Access.of(self.api_keys),
                hosts=self.hosts,
                origins=self.origins,
                request_timeout_s=self.request_timeout_s,
                ended=self.ended,
            )
            listener = bind("127.0.0.1", 0)
            self.port = listener.getsockname()[1]
            protocol = bounded(self.head_timeout_s, self.stall_timeout_s)
            config = uvicorn.Config(self.gate, lifespan="off", log_config=None, http=protocol)
            self._web = uvicorn.Server(config)
        finally:
            self._ready.set()
        await self._web.serve(sockets=[listener])
        await engine.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def client(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": KEY, "max_retries": 0, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def raw(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one exchange."""
        return in_time(
            f"{method} {path} is answered", lambda: self._exchange(method, path, body, headers)
        )

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a POST; bytes are sent as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, answer = self.raw("POST", path, data, named)
        return status, json.loads(answer)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric now."""
        text = self.raw("GET", "/metrics")[2].decode()
        for line in text.splitlines():
            start = f"dovetail:{name}{{"
            if line.startswith(start) and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def unfinished(self) -> float:
        """Requests that run or wait."""
        return self.metric("num_requests_running") + self.metric("num_requests_waiting")

    def stop(self) -> None:
        """Requests that a failed test has left are ended after a while."""
        self._web.should_exit = True
        self._thread.join(GRACE_S)
        self._web.force_exit = True
        self._thread.join()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a context that no test fills, and without a template."""
    directory = tmp_path_factory.mktemp("models") / "endless"
    return make_checkpoint(directory, context=1_000_000, template=None)


@pytest.fixture
def started() -> Iterator[list[Server]]:
    """Servers to be killed if a test fails to stop them."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="session")
def server(checkpoint: Path) -> Iterator[Running]:
    running = Running(checkpoint)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def locked(checkpoint: Path) -> Iterator[Running]:
    """A server that wants a key."""
    running = Running(checkpoint, api_keys=("other-key", KEY))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def long(endless: Path) -> Iterator[Running]:
    """A server whose context is so long that a request outlasts any test; completions only."""
    running = Running(endless)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def narrow(endless: Path) -> Iterator[Running]:
    """A server that runs one request and lets one wait."""
    running = Running(endless, max_num_seqs=1, max_queue=1)
    yield running
    running.stop()


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as made:
        yield made
