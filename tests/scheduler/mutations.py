"""The scheduler with one of its rules left out, to show that the episodes would notice."""

from dovetail.cache import BlockPool, KVCache
from dovetail.scheduler import Scheduler
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
            }
            part = parts[owner]
            original = getattr(part, name)
            setattr(part, name, lambda *a, **k: function(self, original, *a, **k))

    return Mutant


def no_fence(scheduler, release, blocks, after=0):
    """Blocks are free while steps in flight still read and write them."""
    release(blocks)


def fence_one_early(scheduler, release, blocks, after=0):
    """Blocks come back while the newest step that has a row of their owner still runs."""
    release(blocks, after - 1)


def no_pin(scheduler, pin, source, step):
    """The source of a copy may be taken by another before it is copied."""


def no_reservation(scheduler, fits, sequence, match, reserved):
    """Room for the first row is enough, whatever the rest of the prompt and those that run still need."""
    matched = len(match.path) * scheduler.cache.block_size + match.count
    end = min(len(sequence.tokens), matched + scheduler.max_num_batched_tokens)
    need = scheduler.cache.blocks_for(end) - len(match.path)
    pool = scheduler.cache.pool
    unheld = sum(pool.holders(node.block) == 0 for node in match.path)
    if match.source is not None and pool.holders(match.source.block) == 0:
        match.source, match.count = None, 0
    return pool.available - unheld >= need


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


class AcknowledgeAfterRows(Scheduler):
    """A step counts as done only when its rows have been committed.

    Harmless here, because a release names the step it waits for, and not whether any step is left.
    """

    def commit(self, plan, tokens):
        acknowledge = self.cache.acknowledge
        self.cache.acknowledge = lambda step: None
        commits = super().commit(plan, tokens)
        self.cache.acknowledge = acknowledge
        acknowledge(plan.step)
        return commits


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
    "fence one step early": replaced(BlockPool, "release", fence_one_early),
    "no pin of the copy source": replaced(Residency, "_pin", no_pin),
    "late acknowledgement": replaced(KVCache, "acknowledge", late_acknowledge),
    "no adoption": replaced(Residency, "_adopt", no_adoption),
    "match everything": replaced(KVCache, "match", match_everything),
    "slot at once": replaced(Residency, "leave", slot_at_once),
    "publish at plan": PublishAtPlan,
    "early readmission": EarlyReadmission,
    "no late wait": NoLateWait,
}

NO_RESERVATION = replaced(Residency, "fits", no_reservation)
