# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the modules ovf_extract and image_convert open hostile packages: measure_hostile.py [--json] [GROUP...]

Each does so in a process of its own, whose time and memory are measured, and may not leave anything anywhere: not in its
destination, beside it, or in its folder for temporary files. Exit status 1 if one is not refused as build_hostile.py
expects, takes more than 2 s or 100 MiB, or leaves something.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import typing as t
from pathlib import Path

from build_hostile import SECRET, Case, cases

TIME = 2.0
"""seconds"""
MEMORY = 100 << 10
"""KiB"""
GUARD_SECONDS = 20
GUARD_MEMORY = 1 << 30
"""bytes beyond those that a process has at the beginning: what stops a machine from being brought down"""
Tree = t.Dict[str, t.Any]  # noqa: UP006


def tree(top: Path) -> Tree:
    """All that there is below a folder: kind, size and content."""
    found: Tree = {}
    for folder, folders, names in os.walk(top):
        for name in (*folders, *names):
            path = Path(folder, name)
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
            found[str(path.relative_to(top))] = (oct(status.st_mode), 0 if path.is_dir() else status.st_size, content)
    return found


def run(module: str, package: Path, dest: Path, temporary: Path) -> dict[str, t.Any]:
    """Have a module open a package, in a child.

    :return: ``outcome`` (done, the kind of the error, or what else happened), ``message``, ``seconds``, ``processor`` (seconds of it), ``memory`` (peak, KiB)
    """
    reader, writer = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        found: dict[str, t.Any] = {}
        try:
            os.close(reader)
            signal.alarm(GUARD_SECONDS)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + GUARD_MEMORY, used + GUARD_MEMORY))
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins now
            found = work(module, package, dest, temporary)
        except BaseException:
            found = {"outcome": "crashed", "message": traceback.format_exc()}
        finally:
            peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
            found["memory"] = int(peak.group(1)) if peak else 0
            os.write(writer, json.dumps(found).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _pid, status, usage = os.wait4(pid, 0)
    said = json.loads(data) if data else {"outcome": f"ended with status {status}", "message": "", "memory": 0}
    return {**said, "seconds": time.monotonic() - start, "processor": usage.ru_utime + usage.ru_stime}


def work(module: str, package: Path, dest: Path, temporary: Path) -> dict[str, t.Any]:
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.vmimage.prep.plugins.modules import image_convert, ovf_extract

    tempfile.tempdir = str(temporary)
    arguments = {"src": str(package), "dest": str(dest), "_ansible_remote_tmp": str(temporary)}
    if module == "convert":
        arguments.update(dest=str(dest / "disk.qcow2"), format="qcow2")
    said = io.StringIO()
    with patch_module_args(arguments), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        (image_convert if module == "convert" else ovf_extract).main()
    result = json.loads(said.getvalue())
    message = result.get("msg") or ""
    if not result.get("failed"):
        return {"outcome": "done", "message": message}
    return {"outcome": result.get("error", {}).get("kind", "failed without a kind"), "message": message}


def build(case: Case, place: Path) -> Path:
    """In a child, so that what is built is not in the memory of those to come."""
    pid = os.fork()
    if not pid:
        try:
            case.build(place)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the package cannot be built")
    return place / "package"


def judge(case: Case, top: Path) -> dict[str, dict[str, t.Any]]:
    """Build a package below a folder, and have each module open it."""
    (top / "secret").write_bytes(SECRET)
    for name in ("in", "out", "tmp"):
        (top / name).mkdir()
    package = build(case, top / "in")
    found = {}
    before = tree(top)
    for module in ("extract", "convert"):
        said = found[module] = run(module, package, top / "out", top / "tmp")
        after = tree(top)
        said["left"] = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        said["expected"] = getattr(case, module)
        said["outside"] = [name for name in said["left"] if not name.startswith("out/")]
        said["secret"] = any(SECRET in path.read_bytes() for path in (top / "out").rglob("*") if path.is_file())
        shutil.rmtree(top / "out")
        (top / "out").mkdir()
    return found


def problems(said: dict[str, t.Any]) -> list[str]:
    """What is not as it should be, in words; ``slow`` for more time than there is."""
    found = []
    if said["outcome"] != said["expected"]:
        found.append(f"expected {said['expected']}")
    if said["outside"] or said["secret"] or (said["left"] and said["outcome"] != "done"):
        found.append(f"left {said['left']}")
    if said["outcome"] != "done" and said["seconds"] > TIME:
        found.append("slow")
    if said["memory"] > MEMORY:
        found.append("large")
    return found


def main(arguments: list[str]) -> int:
    # What every module needs is loaded once, here, and is in every child's memory.
    import ansible.module_utils.testing  # noqa: F401
    import ansible_collections.vmimage.prep.plugins.modules.image_convert
    import ansible_collections.vmimage.prep.plugins.modules.ovf_extract  # noqa: F401

    as_json = "--json" in arguments
    hostile = cases([name for name in arguments if name != "--json"])
    bad, slowest, busiest, largest = 0, 0.0, 0.0, 0
    for name, package in hostile.items():
        with tempfile.TemporaryDirectory() as temporary:
            found = judge(package, Path(temporary))
        if as_json:
            print(json.dumps([name, found]), flush=True)
            continue
        for module, said in found.items():
            wrong = problems(said)
            bad += bool(wrong)
            slowest, busiest, largest = max(slowest, said["seconds"]), max(busiest, said["processor"]), max(largest, said["memory"])
            line = f"{name:50} {module:8}{said['outcome']:17}{said['seconds']:6.2f} s {said['processor']:6.2f} cpu {said['memory'] >> 10:4} MiB"
            print(f"{line}  {', '.join(wrong)}{': ' + said['message'][-300:] if wrong else ''}", flush=True)
    if not as_json:
        print(
            f"{len(hostile)} packages; slowest {slowest:.2f} s, most of the processor {busiest:.2f} s, largest {largest >> 10} MiB; {bad} not as they should be"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
