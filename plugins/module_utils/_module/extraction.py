# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Between a module that takes something apart and the engine: remember what was done, decide, extract, set attributes."""

from __future__ import annotations

import abc
import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.extract import Contents, PlannedFile, extract, plan
from .._engine.progress import Progress
from .._engine.storage.file import FileStorage
from .._engine.transfer.digest import digests
from .._engine.transfer.provenance import file_identity, recall, remember
from .run import Result

_Contents = t.TypeVar("_Contents", bound=Contents)


class Extraction(abc.ABC, t.Generic[_Contents]):
    """The folder that a module fills.

    Its options are ``src``, ``dest``, ``force``, the file attributes, and ``include``, ``exclude`` and ``checksums`` if it has them.

    :param module: has these options and ``add_file_common_args``
    :param request: everything else that decides the content, JSON-safe: options and the identity of the source
    :param progress: told what is read and written
    :param name: what the files are known as together; None: the name of the source
    """

    verified = "verified"
    """the result's key for the names of the files that were compared with a manifest or a checksum"""

    def __init__(self, module: AnsibleModule, request: dict[str, t.Any], progress: Progress, name: str | None = None) -> None:
        self.module = module
        self.params = module.params
        self.include, self.exclude = module.params.get("include") or [], module.params.get("exclude") or []
        # The record lies in dest under this name, and is about all files that were extracted.
        self.record = os.path.join(os.path.realpath(self.params["dest"]), name or os.path.basename(os.path.abspath(self.params["src"])))
        self.request = request
        self.progress = progress
        memory = recall(self.record, self.request)
        self.known: dict[str, t.Any] = memory.result if memory else {}
        self.identities: dict[str, t.Any] = self.known.get("identities", {})

    @abc.abstractmethod
    def open(self) -> t.ContextManager[_Contents]:
        """What is to be taken apart."""

    def require(self, contents: _Contents, planned: t.Sequence[PlannedFile]) -> None:
        """:raises ImageError: it must not be extracted so; nothing is written then"""

    @abc.abstractmethod
    def describe(self, contents: _Contents, planned: t.Sequence[PlannedFile]) -> Result:
        """What else the result has, when the files are extracted; ``files`` is there already."""

    def shown(self, result: Result) -> Result:
        """The part of the result that the user asked for."""
        return result

    def run(self) -> Result:
        """:return: the module's result"""
        result = self._remembered()
        if result is None:
            with self.open() as contents:
                result = self._extract(contents)
        return self._set_attributes(result)

    def _remembered(self) -> Result | None:
        """The result of the run that extracted the same, if nothing was touched since: the source need not be opened."""
        known = self.known.get("result")
        if known is None or self.params["force"] or self.known["asked"] != [self.include, self.exclude]:
            return None
        if any(self.identities.get(file["path"]) != file_identity(file["path"]) for file in known["files"]):
            return None
        return t.cast("Result", known)

    def _extract(self, contents: _Contents) -> Result:
        params = self.params
        planned = plan(contents, params["dest"], include=self.include, exclude=self.exclude, known=self.identities, force=params["force"])
        self.require(contents, planned)
        verified = set(self.known.get("verified", []))
        if not self.module.check_mode:
            verified.update(extract(contents, params["dest"], planned, progress=self.progress))
        else:
            for file in planned:
                if file.reason is not None:
                    contents.open_name(file.name)
            found = contents.verify_used(progress=self.progress)
            verified.update(found.files if found else [])
        return {
            "src": params["src"],
            "dest": params["dest"],
            "files": [{"name": file.name, "path": file.path, "length": file.size, "reason": file.reason} for file in planned],
            self.verified: sorted(verified),
            **self.describe(contents, planned),
        }

    def _set_attributes(self, result: Result) -> Result:
        module, files = self.module, result["files"]
        written = [file for file in files if file["reason"] is not None]
        changed = bool(written)
        for file in files:
            if os.path.exists(file["path"]):
                arguments = module.load_file_common_arguments(self.params, path=file["path"])
                changed = module.set_fs_attributes_if_different(arguments, changed)
        if not module.check_mode:
            self._remember(result)
        algorithms = self.params.get("checksums")
        if algorithms:
            result = {**result, "files": [{**file, **_checksums(file["path"], algorithms, self.progress)} for file in files]}
        before = {file["path"]: file["reason"] or "as it should be" for file in files}
        return {
            **self.shown(result),
            "changed": changed,
            "msg": f"{len(written)} of {len(files)} files written" if written else "all files are there as they should be",
            "diff": {"before": before, "after": dict.fromkeys(before, "as it should be")},
        }

    def _remember(self, result: Result) -> None:
        files = [{**file, "reason": None} for file in result["files"]]
        now = {
            "result": {**result, "files": files},
            "asked": [self.include, self.exclude],
            "verified": result[self.verified],
            "identities": {**self.identities, **{file["path"]: file_identity(file["path"]) for file in files}},
        }
        if now != self.known:
            remember(self.record, self.request, now)


def _checksums(path: str, algorithms: list[str], progress: Progress) -> dict[str, t.Any]:
    """Those of a file, if there is one: in check mode it may be missing."""
    if not os.path.exists(path):
        return {}
    with contextlib.closing(FileStorage(path)) as storage:
        return {"checksums": digests(storage, algorithms, progress=progress)}
