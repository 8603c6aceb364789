# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a file was made from: the record that lets a second run know, without reading any payload, that nothing is to be done.

A record is a small JSON file beside the result, ``.<name>.provenance.json``. It is a memory, not a truth: one that is
missing, damaged or does not fit the files any more only costs a comparison of the contents.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ..errors import ImageError
from ..storage.sink import Sink

REVISION = 3
"""Counted up when the engine's output for the same request changes, so that older records do not count any more"""

_MAX_RECORD = 16 << 20


def record_path(dest: str) -> str:
    """Where the record of ``dest`` lies."""
    folder, name = os.path.split(os.path.abspath(dest))
    return os.path.join(folder, f".{name}.provenance.json")


def file_identity(path: str) -> dict[str, int] | None:
    """What tells a file's content again without reading it, or None when there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return {"device": found.st_dev, "inode": found.st_ino, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}


class Memory(t.NamedTuple):
    """What a record holds."""

    result: dict[str, t.Any]
    """what :func:`remember` was given as result"""
    files: dict[str, dict[str, int]]
    """path → identity of the other files that it depends on"""


def recall(dest: str, request: dict[str, t.Any]) -> Memory | None:
    """The record of ``dest``, if it was made by this very request and nothing was touched since.

    :param request: everything that decides the content: options, and the identities of the sources
    """
    try:
        with open(record_path(dest), encoding="utf-8") as file:
            record = json.loads(file.read(_MAX_RECORD))
        if record["revision"] != REVISION or record["request"] != _plain(request) or record["dest"] != file_identity(dest):
            return None
        result, files = record["result"], record["files"]
        if any(file_identity(path) != identity for path, identity in files.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Memory(result, files) if isinstance(result, dict) else None


def remember(dest: str, request: dict[str, t.Any], result: dict[str, t.Any], files: t.Iterable[str] = ()) -> None:
    """Note how ``dest`` was made. A folder that takes no record is no error: the next run compares instead.

    :param files: the other files that this depends on: those that the source names and that were read, and further ones
        of the result
    """
    others = {path: file_identity(path) for path in files}
    record = {"revision": REVISION, "request": request, "dest": file_identity(dest), "files": others, "result": result}
    with contextlib.suppress(OSError, ImageError), Sink(record_path(dest), mode=0o600) as sink:
        sink.write_at(0, json.dumps(record, sort_keys=True, indent=1).encode("utf-8"))
        sink.commit()


def _plain(value: t.Any) -> t.Any:
    """The value as it comes back out of JSON (tuples are lists there)."""
    return json.loads(json.dumps(value))
