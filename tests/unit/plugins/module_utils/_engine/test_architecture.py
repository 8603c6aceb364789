# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that keep the engine an engine: it knows nothing of Ansible, and its floors only look down."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[5] / "plugins/module_utils/_engine"
FILES = sorted(path.relative_to(ENGINE).as_posix() for path in ENGINE.rglob("*.py"))

# Files that lie in no folder are the ground on which all stands, but for those named below; and so are these folders.
GROUND = {"zstd"}
# Bottom to top. Those of one floor do not know each other.
FLOORS = [
    {"storage"},
    {"extents.py"},
    {"formats"},
    {"volumes"},
    {"filesystems"},
    {"guest"},
    {"packages", "transfer"},
    {"unwrap.py"},
    {"source.py"},
    {"ami", "device.py", "extract.py", "produce.py", "profiles.py", "tarball.py", "openstack"},
    {"inside.py", "inspect.py", "verify.py"},
    {"report"},  # shows people what all below find out
]
# Compression that is faster, or there at all, when a node happens to have it; and signatures that are not of RSA.
ACCELERATORS = {"backports", "compression", "cryptography", "isal", "zlib_ng", "zstandard"}
LIMIT = 500  # lines of a file that one can still read in one go


def floor(room):
    """Number of the floor on which a folder or file of the engine lies; the ground is -1."""
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    assert room in GROUND or room.endswith(".py"), f"{room} is on no floor: give it one in FLOORS"
    return -1


def tree(name):
    return ast.parse((ENGINE / name).read_text(encoding="utf-8"), name)


def imports(name):
    """(line, top-level module) for each absolute, (line, parts below the engine) for each relative import of a file."""
    absolute, relative = [], []
    here = Path(name).parent.parts
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            absolute += [(node.lineno, alias.name.split(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            absolute.append((node.lineno, (node.module or "").split(".")[0]))
        elif isinstance(node, ast.ImportFrom):
            up = node.level - 1
            assert up <= len(here), f"{name}:{node.lineno} looks out of the engine"
            base = [*here[: len(here) - up], *(node.module or "").split(".")]
            base = [part for part in base if part]
            relative += [(node.lineno, [*base, alias.name]) for alias in node.names]
    return absolute, relative


def test_there_is_an_engine():
    assert FILES


@pytest.mark.parametrize("name", FILES)
def test_imports_are_the_standard_library_or_relative(name):
    absolute, _relative = imports(name)
    allowed = getattr(sys, "stdlib_module_names", None)  # not before Python 3.10
    for line, module in absolute:
        where = f"{name}:{line} imports {module}"
        assert module not in ("ansible", "ansible_collections"), where
        assert module not in ("importlib", "pkgutil", "runpy"), f"{where}: what is not written out does not travel to the node"
        assert module not in ("subprocess", "multiprocessing"), where
        assert allowed is None or module in allowed or module in ACCELERATORS, where


@pytest.mark.parametrize("name", FILES)
def test_floors_look_down(name):
    _absolute, relative = imports(name)
    own = Path(name).parts[0]
    for line, parts in relative:
        other = parts[0] if (ENGINE / parts[0]).is_dir() else f"{parts[0]}.py"
        below = floor(other) < floor(own) or floor(other) == floor(own) == -1
        assert other == own or below, f"{name}:{line}: {own} looks up at {other}"


@pytest.mark.parametrize("name", FILES)
def test_the_engine_neither_speaks_nor_exits(name):
    """What ansible-test sanity refuses as well, said at once and by all Pythons."""
    for node in ast.walk(tree(name)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), f"{where}: an assert is gone under python -O; raise an ImageError"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "exit", "quit", "sys.exit", "os._exit", "os.system", "os.popen", "__import__"), f"{where} calls {called}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_short_enough_to_read(name):
    lines = len((ENGINE / name).read_text(encoding="utf-8").splitlines())
    assert lines < LIMIT, f"{name} has {lines} lines"
