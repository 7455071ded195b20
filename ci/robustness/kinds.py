"""What goes wrong in servers of language models, each kind with a name that markers use."""

from __future__ import annotations

ABUSE = {
    "code between processes": "what one process sends another is unpickled, over sockets that others can reach",
    "code in checkpoints": "a template, a module or a pickle of a downloaded model runs code",
    "templates from clients": "a request brings its own template, or arguments that a template was not made for",
    "costly grammars": "a pattern, a grammar or a schema takes all time or memory, or ends the engine",
    "many grammars": "ever new grammars fill memory or disk",
    "addresses to fetch": "a request makes the server fetch an address that only the server can reach",
    "media": "a small image unfolds into a huge one, or its decoder's error tells too much",
    "tensors from clients": "a request brings serialised tensors whose shape or type is a lie",
    "hostile checkpoint files": "a header promises more than the file holds, and the reader believes it",
    "administration and paths": "whoever reaches the port may administrate, or names a file outside a directory",
    "access without a key": "a route is left open, or the time of a comparison tells the key",
    "parameters out of bounds": "a number is negative, huge, not finite or no number, or a list has no end",
    "bodies and slow clients": "a body has no end, is nested without end, or arrives a byte at a time",
    "prefixes of other tenants": "a cached prefix is taken for another's, or tells by its speed what others have asked",
    "stale memory": "a block of the cache is read before it has been written, and holds what another asked",
    "logs": "a client writes lines into the log, or finds its prompt or key there",
    "pages of other sites": "a web page uses the server of whoever looks at it",
    "cache directories": "a file that somebody else put into a cache directory is believed",
}
FAULTS = {
    "a client leaves": "nobody reads the answer any more",
    "a signal to stop": "SIGTERM comes while requests run",
    "the engine ends or hangs": "the engine process is killed, fails, or a step never ends",
    "overload": "more is asked than can be answered",
    "the cache is full": "requests need more blocks than there are",
    "the disk is full or lies": "files of the cache cannot be written, or come back changed",
    "a bad checkpoint": "the model cannot be served at all",
    "the port is in use": "somebody else listens there",
    "a long run": "something grows with every request",
}
KINDS = {**ABUSE, **FAULTS}
