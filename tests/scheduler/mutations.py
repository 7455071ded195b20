"""The scheduler with one of its rules left out, to show that the episodes would notice."""

from dovetail.cache import BlockPool, KVCache
from dovetail.scheduler import Scheduler
from dovetail.scheduler.admission import Admission
from dovetail.scheduler.residency import Residency


def replaced(owner, name, function):
    """A scheduler in whose construction a method of its parts is replaced."""

    class Mutant(Scheduler):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            parts = {
                BlockPool: self.cache.pool,
                KVCache: self.cache,
                Residency: self.residency,
                Admission: self.admission,
            }
            part = parts[owner]
            original = getattr(part, name)
            setattr(part, name, lambda *a, **k: function(self, original, *a, **k))

    return Mutant


def no_fence(scheduler, release, blocks, after=0):
    """Blocks are free while steps in flight still read and write them."""
    release(blocks)


def no_pin(scheduler, pin, source, step):
    """The source of a copy may be taken by another before it is copied."""


def no_reservation(scheduler, owed):
    """Blocks that running sequences lack for their known tokens are given to new ones."""
    return 0


def late_acknowledge(scheduler, acknowledge, step):
    """Blocks of the step come back only when the next one is committed."""
    acknowledge(step - 1)


def no_adoption(scheduler, adopt, sequence, own, other):
    """Keep one's own block although its path goes through another's."""


def match_everything(scheduler, match, namespace, tokens, limit):
    """A prompt that is cached whole leaves nothing to compute."""
    return match(namespace, tokens, limit + 1)


def slot_at_once(scheduler, leave, sequence):
    """The slot is free while steps in flight still have rows of it."""
    slot = sequence.slot
    leave(sequence)
    if sequence.slot:
        scheduler.slots.free.insert(0, slot)
        sequence.slot = 0
        for waiting in scheduler.residency._leaving.values():
            waiting[:] = [other for other in waiting if other is not sequence]


class PublishAtPlan(Scheduler):
    """Blocks can be found before they are computed."""

    def plan(self):
        plan = super().plan()
        for sequence in plan.sequences if plan else ():
            slot = sequence.slot
            known = min(int(self.slots.planned[slot]), len(sequence.tokens))
            if known >= self.slots.full_at[slot]:
                self.residency.publish(sequence, known)
        return plan


class EarlyReadmission(Scheduler):
    """A preempted sequence comes back while a step from before is in flight."""

    def plan(self):
        for sequence in self.waiting:
            if sequence.slot:
                for leaving in self.residency._leaving.values():
                    leaving[:] = [other for other in leaving if other is not sequence]
                self.residency._free_slot(sequence)
        return super().plan()


class NoLateWait(Scheduler):
    """Late rows are planned ahead like others: their registers are read before they are written."""

    def plan(self):
        self.slots.unsampled[:] = 0
        return super().plan()


MUTANTS = {
    "no fence": replaced(BlockPool, "release", no_fence),
    "no pin of the copy source": replaced(Residency, "_pin", no_pin),
    "no reservation": replaced(Admission, "owed", no_reservation),
    "late acknowledgement": replaced(KVCache, "acknowledge", late_acknowledge),
    "no adoption": replaced(Residency, "_adopt", no_adoption),
    "match everything": replaced(KVCache, "match", match_everything),
    "slot at once": replaced(Residency, "leave", slot_at_once),
    "publish at plan": PublishAtPlan,
    "early readmission": EarlyReadmission,
    "no late wait": NoLateWait,
}
