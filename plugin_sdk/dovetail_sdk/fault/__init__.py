"""The `fault` platform: the null platform that is slow or fails where its device's id says so. For tests of what is above it.

An id is words joined by "+", in any order; a word may come more than once:

    ahead2, ahead3        steps in flight
    strict                compute late and check every call, as the null platform's strict devices
    slow=SECONDS          a step takes this long
    cache-lost@K          the K-th step raises CacheLost when it is issued; steps are counted from 1 over the model's life
    device-lost@K         the same with DeviceLost
    raise@K               the same with RuntimeError, which no plugin may raise and some will
    cache-lost-sample@K, device-lost-sample@K, raise-sample@K
                          the step is issued, and sampling it raises
    cache-lost-late@K, device-lost-late@K, raise-late@K
                          it is issued and sampled, and waiting for it or for its tokens raises
    hang@K                the step never ends
    short-result@K        the step's tokens lack the last row
    long-result@K         the step's tokens have a row too many
    not-finite@K          the first row sampled of the step is marked not finite, and its id is nonsense
    oom-load              OutOfMemory where weights are loaded
    oom-allocate@N        OutOfMemory where the cache is made for the N-th time
    oom-compile           OutOfMemory where a program is compiled

`probe` lists every word with a number that does for most tests and with one that lets a server get going first, alone and
behind "ahead2+". `open` takes any other that
the grammar has, as does FaultPlatform("cache-lost@2+cache-lost@9"), which lists it.
"""

from .faults import Faults
from .platform import FaultPlatform

__all__ = ["FaultPlatform", "Faults"]
