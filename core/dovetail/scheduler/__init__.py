"""Who advances by how many tokens in the next step: one token budget, no phases. Knows no platform."""

from .pace import Pace
from .plan import Commit, Plan, Row, Score
from .policy import Arrival, FairShare, Policy, Priority
from .residency import namespace
from .roster import SchedulerStats
from .scheduler import Scheduler
from .sequence import Sequence, State

__all__ = [
    "Arrival",
    "Commit",
    "FairShare",
    "Pace",
    "Plan",
    "Policy",
    "Priority",
    "Row",
    "Scheduler",
    "SchedulerStats",
    "Score",
    "Sequence",
    "State",
    "namespace",
]
