#!/usr/bin/env python3
"""A fault in a running process, from outside: what failing memory or a hung thread looks like.

  rank_fault.py flip-bit PID RUN    one bit of a weight becomes another one
  rank_fault.py nan      PID RUN    a weight becomes a NaN
  rank_fault.py hold     PIDS SECONDS  the main thread stands still, the others go on;
                                       of several processes: "12 13 14"

The weight is found by its value: the process is stopped between two updates, and its memory is
searched for a batch norm's weights as the newest checkpoint of RUN has them. Exit 1: not found
within ten seconds (the run has ended); 77: not allowed to touch other processes.
"""
import ctypes
import json
import os
import re
import signal
import struct
import sys
import time
from pathlib import Path


def newest_weights(run):
    """Name and bytes of a batch norm's weight vector in the newest checkpoint."""
    folders = sorted((Path(run) / "ckpt").glob("step_*"))
    if not folders:
        return None
    data = (folders[-1] / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    found = None
    for name, entry in header.items():
        if re.search(r"norm\d*\.weight$", name) and len(entry["shape"]) == 1:
            begin, end = entry["data_offsets"]
            if found is None or end - begin > len(found[1]):
                found = (name, data[8 + length + begin : 8 + length + end])
    return found


def places_of(pid, pattern):
    places = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in open(f"/proc/{pid}/maps"):
            bounds, mode = line.split()[:2]
            if not mode.startswith("rw") or "[v" in line:
                continue
            begin, end = (int(x, 16) for x in bounds.split("-"))
            try:
                memory.seek(begin)
                block = memory.read(end - begin)
            except OSError:
                continue
            at = block.find(pattern)
            while at >= 0:
                places.append(begin + at)
                at = block.find(pattern, at + 1)
    return places


def corrupt(kind, pid, run):
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        os.kill(pid, signal.SIGSTOP)
        try:
            weights = newest_weights(run)
            places = places_of(pid, weights[1]) if weights else []
            if places:
                value = bytearray(weights[1][:4])
                if kind == "nan":
                    value = struct.pack("<f", float("nan"))
                else:
                    value[0] ^= 1
                with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                    for place in places:
                        memory.seek(place)
                        memory.write(value)
                print(f"{kind} in {weights[0]} of process {pid}")
                return 0
        except FileNotFoundError:
            pass  # rank 0 has removed that checkpoint meanwhile; or the process is gone: os.kill says
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    return 1


def hold(pids, seconds):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
    for pid in pids:
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if libc.ptrace(request, pid, 0, 0) != 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))  # not allowed, or no such process
    time.sleep(seconds)
    return 0


def main():
    kind, pids = sys.argv[1], [int(pid) for pid in sys.argv[2].split()]
    try:
        if kind == "hold":
            return hold(pids, float(sys.argv[3]))
        return corrupt(kind, pids[0], sys.argv[3])
    except PermissionError as error:
        print(f"not allowed to touch process {sys.argv[2]}: {error}", file=sys.stderr)
        return 77
    except (ProcessLookupError, FileNotFoundError):
        return 1


sys.exit(main())
