"""What the scripts beside share: arguments, times of steps, and the lines that tell them.

    python SCRIPT.py [threads] [seconds per row] [rows...]

One JSON object a line, times in seconds, as the Rust examples of the same names print them.
"""

import json
import os
import sys
import time


def arguments(default_rows):
    """Threads, seconds and rows. To be called before NumPy or PyTorch is imported: their libraries
    read the number of threads once."""
    given = sys.argv[1:]
    threads = int(given[0]) if given else 1
    seconds = float(given[1]) if len(given) > 1 else 1.0
    for library in ("OPENBLAS_NUM", "MKL_NUM", "OMP_NUM", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_THREADS"] = str(threads)
    return threads, seconds, given[2:] or default_rows


def time_steps(step, seconds):
    """Median and smallest time of a step, and how many there were. Steps are taken for as long as
    `seconds` last, at least three beside warm-up, which is the first tenth and at least one."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 4:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times = sorted(times[max(1, len(times) // 10) :])
    return times[len(times) // 2], times[0], len(times)


def report(program, row, threads, form, times):
    """Prints what was measured of one row in one form."""
    seconds, smallest, steps = times
    record = {"with": program, "row": row, "threads": threads, "form": form, "seconds": seconds}
    print(json.dumps(record | {"smallest": smallest, "steps": steps}), flush=True)
