"""Planted faults: copies of the reference platform that are each wrong in one way, to prove that the suite sees it.

    plant.py     the copy, and how parts of it are exchanged
    attention.py wrong attention
    ops.py       other wrong arithmetic
    encoders.py  wrong ops of encoders
    experts.py   wrong mixtures of experts, wrong sinks
    paging.py    wrong caches
    programs.py  wrong steps: copies, padding, outputs, slots
    sampling.py  wrong draws
    flight.py    wrong order: an asynchronous copy, which is right, and mutants of it
    contract.py  promises that are not kept
    catch.py     what the suite says of a mutant

`UNMUTATED` must pass what the mutants fail. None of this is for use.
"""

from . import attention, contract, encoders, experts, flight, ops, paging, programs, sampling
from .flight import LatePlatform
from .plant import CopyPlatform, Mutant

MUTANTS: tuple[Mutant, ...] = (
    *attention.MUTANTS,
    *ops.MUTANTS,
    *encoders.MUTANTS,
    *experts.MUTANTS,
    *paging.MUTANTS,
    *programs.MUTANTS,
    *sampling.MUTANTS,
    *flight.MUTANTS,
    *contract.MUTANTS,
)
UNMUTATED: tuple[type[CopyPlatform], ...] = (CopyPlatform, LatePlatform)

__all__ = ["MUTANTS", "UNMUTATED", "CopyPlatform", "LatePlatform", "Mutant"]
