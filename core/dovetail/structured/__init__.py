"""Structured output: what a reply must look like, as a grammar over bytes that becomes masks over tokens.

    grammar.py     Grammar: what was asked, as it crosses to the engine
    source.py      a Grammar in the one language that llguidance compiles
    vocabulary.py  a tokenizer's ids as bytes, and matchers over them
    lark.py        pieces of Lark for whoever writes grammars: literals, JSON schemas

llguidance (MIT) compiles grammars and computes masks; it is loaded with the first grammar.
"""

from .grammar import KINDS, Grammar

__all__ = ["KINDS", "Grammar"]
