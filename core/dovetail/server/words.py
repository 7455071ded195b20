"""Errors that name a request's field as the dialect it came in does: what is shared knows the names of OpenAI and vLLM alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dovetail.errors import DovetailError, RequestError


def in_words(error: DovetailError, words: Mapping[str, str]) -> DovetailError:
    """The error, its field and those that its message names in the words of a dialect; shared name -> the dialect's.

    A name that is an English word too is one only where the message begins with it.
    """
    if not isinstance(error, RequestError) or error.param is None:
        return error

    def word(found: re.Match[str]) -> str:
        name = found[0]
        return words.get(name, name) if "_" in name or found.start() == 0 else name

    message = re.sub(r"(?<![\w.])\w+(?![\w.]\w)", word, str(error))
    return type(error)(message, param=words.get(error.param, error.param))
