"""Run llama.cpp's own converter on a checkpoint whose tokenizer it has never seen.

    PEER/bin/python ci/bench/peers/to_gguf.py LLAMA_CPP CHECKPOINT OUT

The converter knows tokenizers by a digest; ours is told to be of Qwen2's kind.
"""

from __future__ import annotations

import importlib
import runpy
import sys


def main() -> None:
    root, checkpoint, out = sys.argv[1:]
    sys.path[:0] = [f"{root}/gguf-py", root]
    for found in vars(importlib.import_module("conversion.base")).values():
        if isinstance(found, type) and "get_vocab_base_pre" in vars(found):
            setattr(found, "get_vocab_base_pre", lambda self, tokenizer: "qwen2")  # noqa: B010
    sys.argv = ["convert_hf_to_gguf.py", checkpoint, "--outfile", out, "--outtype", "bf16"]
    runpy.run_path(f"{root}/convert_hf_to_gguf.py", run_name="__main__")


if __name__ == "__main__":
    main()
