"""Serve under load while engines are killed, devices fail, disks misbehave and servers restart; then count what is wrong.

    python ci/chaos --minutes 10 [--seed N] [--platform null,fault,cpu]
    python ci/chaos --kills 50 [--seed N] [--platform null] [--cold]

The first form runs one episode after another, each a server with settings drawn from its seed: requests of all kinds,
among them clients that go away; checks after each wave (judging.py). An episode that went wrong prints its seed:
`--seed N --episodes 1` draws the same settings, requests and misfortunes again, in other interleavings. The second form kills engines in
the middle of streams and says how long clients and the service took, beside the first start; with --cold (as root) that start finds
nothing in the page cache, and no restart may take longer than it; without, half of them may. Status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import time
from pathlib import Path

from episode import Plan, Report, run_episode
from killing import kill_engines

WAVES, WAVE_S = 4, 5.0
MOST_SHOWN = 20
TOLD_S = 1.0
"""By then every client of a killed engine knows."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--episodes", type=int, default=0, help="so many, however long they take")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--platform", default=None)
    parser.add_argument("--waves", type=int, default=WAVES, help="of an episode")
    parser.add_argument("--wave-seconds", type=float, default=WAVE_S)
    parser.add_argument("--cold", action="store_true", help="drop the page cache before the start")
    parser.add_argument("--no-limits", action="store_true", help="kills may take any time")
    return parser.parse_args()


async def episodes(given: argparse.Namespace, seed: int) -> Report:
    """One after another until the time is up; what the machine stood still does not count."""
    kinds = (given.platform or "null,fault,cpu").split(",")
    total, ends, number = Report(), time.monotonic() + 60 * given.minutes, 0
    while number < given.episodes if given.episodes else time.monotonic() < ends:
        plan = Plan.drawn(
            seed + number,
            kinds[(seed + number) % len(kinds)],
            waves=given.waves,
            wave_s=given.wave_seconds,
        )
        report = await run_episode(plan)
        print(plan)
        print(
            f"  {dict(report.kinds)}; {dict(report.misfortunes)}; memory +{report.growth_bytes >> 20} MiB at most"
        )
        for text in report.wrong[:MOST_SHOWN]:
            print(f"  WRONG {text}")
        sys.stdout.flush()
        total.add(report)
        ends += report.paused_s
        number += 1
    print(
        f"{number} episodes, {dict(total.kinds)}, {dict(total.misfortunes)}, {total.tokens} tokens"
    )
    if total.pauses:
        print(f"the machine stood still {total.pauses} times, {total.paused_s:.0f} s in all")
    print(f"{len(total.wrong)} violations")
    return total


async def kills(given: argparse.Namespace, seed: int) -> list[str]:
    """The second form."""
    if given.cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    found = await kill_engines(given.kills, seed, given.platform or "null")
    half = statistics.median(found.back_s)
    print(
        f"{given.kills} kills, {len(found.told_s)} streams ended by them, {found.again} repeated after a pause of the "
        f"machine; first start {found.start_s:.2f} s"
    )
    print(
        f"clients knew after {max(found.told_s):.3f} s at most, the service was back after {half:.2f} s (median), "
        f"{max(found.back_s):.2f} s at most"
    )
    if given.no_limits:
        pass
    elif max(found.told_s) > TOLD_S:
        found.wrong.append(f"a client was told after {max(found.told_s):.2f} s")
    elif (max(found.back_s) if given.cold else half) > found.start_s:
        found.wrong.append("the service took longer to come back than to start")
    for text in found.wrong[:MOST_SHOWN]:
        print(f"WRONG {text}")
    return found.wrong


def main() -> int:
    given = arguments()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    if given.kills:
        return bool(asyncio.run(kills(given, seed)))
    return bool(asyncio.run(episodes(given, seed)).wrong)


if __name__ == "__main__":
    sys.exit(main())
