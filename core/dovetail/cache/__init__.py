"""Blocks of the paged cache: who has them, and which tokens they hold. Ids and bookkeeping only."""

from .below import Below
from .block_pool import BlockPool
from .kv_cache import KVCache
from .prefix_tree import Key, Match, Node, PrefixTree

__all__ = ["Below", "BlockPool", "KVCache", "Key", "Match", "Node", "PrefixTree"]
