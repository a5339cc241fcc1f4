"""What Linux says about a process tree: CPU seconds, memory, open files. Reads /proc only."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)  # idle and iowait in a cpuN line of /proc/stat


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process in MiB; `pss` shares pages fairly among their users."""

    pid: int
    rss: float
    pss: float


def tree(root: int) -> list[int]:
    """The process and all its living descendants, root first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked: breadth first
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """User plus system CPU of the whole tree since it began, reaped children included."""
    return sum(_cpu_seconds(pid) for pid in tree(root))


def _cpu_seconds(pid: int) -> float:
    """Of one process: whole clock ticks, or nanoseconds where no thread has ended.

    utime and stime know ended threads but count in ticks (usually 10 ms, rounded down); the
    scheduler's own figures are exact but end with their thread. The larger one misses least.
    """
    fields = _stat(pid)
    if not fields:
        return 0.0
    user, system, child_user, child_system = (int(field) / _TICKS for field in fields[11:15])
    exact = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # it has just ended
            exact += int(thread.read_text().split()[0])
    return max(user + system, exact / 1e9) + child_user + child_system


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of a process tree, and of everyone else on its core, over `wall` seconds."""

    mine: float
    others: float
    wall: float

    @property
    def busy_percent(self) -> float:
        """How much of a core the tree used."""
        return self.mine / self.wall * 100

    @property
    def others_percent(self) -> float:
        """How much of that core everyone else used."""
        return self.others / self.wall * 100


@contextmanager
def metered(root: int, core: int) -> Iterator[Callable[[], Cost]]:
    """The cost of the block, read by calling what it yields, after the block."""
    began, mine, busy = time.monotonic(), cpu_seconds(root), core_busy_seconds(core)
    found: list[Cost] = []
    yield lambda: found[0]
    spent = cpu_seconds(root) - mine
    others = max(0.0, core_busy_seconds(core) - busy - spent)
    found.append(Cost(spent, others, time.monotonic() - began))


def core_busy_seconds(core: int) -> float:
    """How long one core has been busy since boot, with whatever."""
    for line in Path("/proc/stat").read_text().splitlines():
        label, *fields = line.split()
        if label == f"cpu{core}":
            busy = [int(f) for i, f in enumerate(fields[:8]) if i not in _IDLE_FIELDS]
            return sum(busy) / _TICKS
    return 0.0


def workers(root: int) -> list[Memory]:
    """Memory of the processes that do the work: the leaves of the tree."""
    pids = tree(root)
    parents = {int(fields[1]) for pid in pids if (fields := _stat(pid))}
    return [memory(pid) for pid in pids if pid not in parents]


def memory(pid: int) -> Memory:
    """Resident memory of one process."""
    rss = _kib(Path(f"/proc/{pid}/status"), "VmRSS:")
    pss = _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
    return Memory(pid, rss / 1024, pss / 1024)


def open_files(root: int) -> int:
    """Open descriptors of the whole tree."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(root))


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the command's name (index 1 is the parent); empty if it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _kib(path: Path, label: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith(label)), 0.0)
