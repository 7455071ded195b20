"""The tokenizer: byte-level BPE trained on the conversations, digits one by one, ChatML tokens."""

from collections.abc import Iterator

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from ci.demo_model.conversation import pieces
from ci.demo_model.mixture import conversations

VOCABULARY = 2048
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [END_OF_TEXT, START, END]
# Ordinary text to a reader of the reply, so that a server can find the calls in it.
MARKERS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
# Qwen's pattern: words with the mark before them, single digits, marks, line ends.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLE_START, SAMPLE_SIZE = 900_000_000, 12_000


def train_tokenizer() -> Tokenizer:
    """A tokenizer of VOCABULARY tokens; the same one every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(MARKERS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKERS])
    return tokenizer


def _sample() -> Iterator[str]:
    names = SPECIAL + MARKERS
    for conversation in conversations(SAMPLE_START, SAMPLE_SIZE):
        text = "".join(piece for piece, _ in pieces(conversation))
        for name in names:
            text = text.replace(name, "\n")
        yield text
