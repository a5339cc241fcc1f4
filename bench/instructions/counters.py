"""What counts the instructions that this process executes in user space.

The processor's own counter where the machine lets us read it; else callgrind (of valgrind), which runs
the process some twenty-five times slower and counts exactly; else nothing but CPU time.
"""

import ctypes
import os
import platform
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Kind = Literal["hardware", "callgrind", "time"]

# linux/perf_event.h: type hardware, event instructions; this process, user space, any core.
_TYPE_HARDWARE, _INSTRUCTIONS = 0, 1
_SIZE = 64  # of the attributes' first version
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6
_SYSCALL = {"x86_64": 298, "aarch64": 241}
MARK = "getloadavg"  # a C function that nothing else calls: callgrind dumps before it


def open_hardware(kind: int = _TYPE_HARDWARE, event: int = _INSTRUCTIONS) -> int | None:
    """A descriptor of the processor's counter; None where the machine has none for us."""
    number = _SYSCALL.get(platform.machine())
    if number is None or not Path("/proc/sys/kernel/perf_event_paranoid").exists():
        return None
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV
    attributes = struct.pack("IIQQQQQ", kind, _SIZE, event, 0, 0, 0, flags).ljust(_SIZE, b"\0")
    call = ctypes.CDLL(None, use_errno=True).syscall
    descriptor = int(call(number, ctypes.c_char_p(attributes), 0, -1, -1, 0))
    return descriptor if descriptor >= 0 else None


def read_hardware(descriptor: int) -> int:
    return int.from_bytes(os.read(descriptor, 8), "little")


def meter(kind: Kind) -> Callable[[], float]:
    """A function whose differences are what was spent between two calls.

    Under callgrind it gives 0 and marks the place: the figures stand in callgrind's files.
    """
    if kind == "hardware":
        descriptor = open_hardware()
        if descriptor is not None:
            return lambda: float(read_hardware(descriptor))
        raise OSError("the processor's counter cannot be opened")
    if kind == "callgrind":
        return _mark
    return time.process_time


def _mark() -> float:
    os.getloadavg()
    return 0.0


def callgrind(output: Path) -> list[str]:
    """The words before a command that is to be counted into files that begin with ``output``."""
    return [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        f"--dump-before={MARK}",
        f"--callgrind-out-file={output}",
    ]


def totals(output: Path) -> list[int]:
    """What callgrind counted before the first mark, between the first and the second, and so on."""
    files = output.parent.glob(f"{output.name}.*")
    ordered = sorted(files, key=lambda file: int(file.suffix[1:]))
    return [_total(file) for file in ordered]


def _total(file: Path) -> int:
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise ValueError(f"{file} has no totals")
