"""What a reply must look like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["json_object", "json_schema", "regex", "choice", "lark", "gbnf", "structural_tag"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar as text; the whole reply matches it, from its first token to its last.

    kind   json_object     any JSON object; text is empty
           json_schema     text is the schema, JSON
           regex           a regular expression, anchored at both ends; no look-around, no back-references
           choice          text is a JSON list of strings, one of which is the reply
           lark            Lark as llguidance reads it: literals, /regex/, rules, %json {schema}, <[id]> for a token id
           gbnf            llama.cpp's notation, root ::= ...
           structural_tag  text is a JSON object: free text in which {"begin", "schema", "end"} structures are kept
                           wherever one of "triggers" has begun
    space  white space in JSON: None lets one space follow a colon or a comma, so that no model loops on it; otherwise a
           regex of what may stand between any two tokens of it, "" for none
    field  of the request that it came from, for messages
    frame  Lark around it, in which the rule `answer` stands for it: what comes before, such as reasoning; "" for nothing
    """

    kind: Kind
    text: str = ""
    space: str | None = None
    field: str = field(default="", compare=False)
    frame: str = ""
