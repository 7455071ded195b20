"""llama.cpp's samplers, in the core: what no platform has to know.

Rows of requests that ask for one of these have their logits fetched, edited and sampled here; the chosen id then goes to
the device as the target of its row. Draws are keyed by seed and position as everywhere else.

    dry.py       repetitions, as edits of logits (the device samples)
    chain.py     top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature: what each leaves of the candidates
    mirostat.py  mirostat 1 and 2
    draw.py      the draw
    chooser.py   all of it for one request

Definitions: llama.cpp, src/llama-sampling.cpp (MIT), and the papers named in each module; no code is taken from there.
"""

from .chooser import Chooser
from .dry import Dry

__all__ = ["Chooser", "Dry"]
