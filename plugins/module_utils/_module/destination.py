# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""One flow for every module that writes a file: decide and say why, write beside, verify, keep, replace, set attributes."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import AccessError, UnsupportedImage, from_os_error
from .._engine.formats import companions
from .._engine.storage.kept import unfinished
from .._engine.storage.sink import Sink, require_free
from .._engine.transfer.provenance import recall, remember
from .run import Result


class Destination:
    """The file that a module manages (its options ``dest``, ``force``, ``backup`` and the file attributes).

    An image may have further files beside ``dest`` (companions.py): they are made, kept, replaced, remembered and given
    attributes with it.

    :param module: has the options of run.DESTINATION and ``add_file_common_args``
    :param request: everything that decides the content, JSON-safe: options and identities of the sources
    :raises AccessError: ``dest`` can not be a file: a folder, or in a folder that is missing or cannot be written
    """

    def __init__(self, module: AnsibleModule, request: dict[str, t.Any]) -> None:
        self.module = module
        self.path: str = module.params["dest"]
        self.request = request
        self._backup_file: str | None = None
        self._recalled: Result | None = None
        self.depends_on: set[str] = set()
        """the other files that were read, or written: paths"""
        folder = os.path.dirname(os.path.abspath(self.path))
        if os.path.isdir(self.path):
            raise AccessError("is a folder; name the file to write", path=self.path)
        if not os.path.isdir(folder):
            raise AccessError("the folder does not exist; create it first", path=folder)
        if not os.access(folder, os.W_OK):
            raise AccessError("the folder cannot be written", path=folder)
        self.exists = os.path.lexists(self.path)
        if self.exists and not os.path.isfile(self.path):
            raise AccessError("exists and is not a regular file", path=self.path)
        self._present = companions.present(self.path) if self.exists else []
        """names of the further files that are there"""
        self._abandoned = companions.abandoned(self.path)
        """names of those that a killed run left"""
        self._others = self._present
        """names of those that will be there"""

    def recall(self) -> Result | None:
        """The result of the run that made the file, when nothing was changed since and ``force`` does not ask for more."""
        if not self.exists or self.module.params["force"]:
            return None
        memory = recall(self.path, self.request)
        if memory is None:
            return None
        self._recalled = memory.result
        self.depends_on = set(memory.files)
        self._others = [os.path.basename(path) for path in memory.result.get("files", [])[1:]]
        return {**self._recalled, "changed": False, "msg": "dest was made from this source with these options, and neither was touched since"}

    def plan(self, others: list[str], sources: t.Iterable[str]) -> None:
        """Say what the new result will consist of, before :meth:`replace`.

        :param others: the names of its further files
        :param sources: all files that are read for it
        :raises AccessError: something else has the name of one of them
        :raises UnsupportedImage: a file that would be replaced or removed is read
        """
        read = {(found.st_dev, found.st_ino) for found in map(os.stat, filter(os.path.exists, sources))}
        for name in dict.fromkeys((*others, *self._present, *self._abandoned)):
            path = self._beside(name)
            if os.path.exists(path) and (os.stat(path).st_dev, os.stat(path).st_ino) in read:
                raise UnsupportedImage("the source is a file that dest has, or would have", path=path, hint="Write to another folder")
        for name in others:
            require_free(self._beside(name), (*self._present, *self._abandoned), self.module.params["force"])
        self._others = others

    def replace(self, write: t.Callable[[Sink], None], kind: type[Sink] = Sink) -> None:
        """Have ``write`` fill the new file, then let it take the name. When it raises, nothing is left but what the kind of sink leaves."""
        with kind(self.path, replaces=(*self._present, *self._abandoned), force=self.module.params["force"]) as sink:
            write(sink)
            if self.exists and self.module.params["backup"] and unfinished(self.path) is None:
                self._backup_file = self._backup()
            sink.commit(self._move)
            self._remove_old()

    def finish(self, result: Result) -> Result:
        """Set the file attributes, remember how the file was made, and complete the result.

        :param result: with ``changed``; what else it holds is what a later run will recall
        """
        files = [self.path, *map(self._beside, self._others)]
        result = {**result, "files": files}
        memory = {key: value for key, value in result.items() if key not in ("changed", "msg", "diff")}
        changed = result["changed"]
        if not self.module.check_mode:
            try:
                companions.clear(self.path)
            except OSError as error:
                self.module.warn(str(from_os_error(error, self.path, "remove what a killed run left beside it")))
        for path in filter(os.path.exists, files):
            arguments = self.module.load_file_common_arguments(self.module.params, path=path)
            changed = self.module.set_fs_attributes_if_different(arguments, changed)
        if not self.module.check_mode and (changed or memory != self._recalled):
            remember(self.path, self.request, memory, {*self.depends_on, *files[1:]})
        complete = {**result, "changed": changed, "dest": self.path}
        if "diff" in result and (self._present or self._others):
            before = {"files": [self.path, *map(self._beside, self._present)]} if self.exists else {}
            complete["diff"] = {"before": {**result["diff"]["before"], **before}, "after": {**result["diff"]["after"], "files": files}}
        if self._backup_file is not None:
            complete["backup_file"] = self._backup_file
        return complete

    def _move(self, part: str, dest: str) -> None:
        # Ansible's own way keeps the old file's owner, mode and SELinux context, and knows the default for a new one.
        try:
            self.module.atomic_move(part, dest, unsafe_writes=self.module.params["unsafe_writes"])
        except OSError:
            raise
        except Exception as error:  # newer cores raise a bare one, older ones end the module
            cause = error.__cause__
            if isinstance(cause, OSError):
                raise from_os_error(cause, dest, "put the result in place") from error
            raise AccessError(f"cannot be replaced ({error})", path=dest) from error

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.path), name)

    def _remove_old(self) -> None:
        """Remove the files of the old result that the new one does not have.

        They go when the new one is whole, and before the sink forgets whose they are: when a run is killed just here,
        the next one removes them.
        """
        for name in self._present:
            if name not in self._others:
                path = self._beside(name)
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self.module.warn(str(from_os_error(error, path, "remove a file that dest had before")))

    def _backup(self) -> str:
        """Keep the old file under another name, and its further files, which the kept one then names."""
        # No colon: qemu would take what stands before it for a protocol.
        suffix = f".{os.getpid()}.{time.strftime('%Y-%m-%d@%H.%M.%S~')}"
        name = self.path + suffix
        try:
            if not self._present:
                self._keep(self.path, name)
                return name
            for other in map(self._beside, self._present):
                if os.path.exists(other):
                    self._keep(other, other + suffix)
            with open(self.path, "rb") as file:
                text = file.read()
            for other in self._present:
                text = text.replace(f'"{other}"'.encode(), f'"{other}{suffix}"'.encode())
            with open(name, "xb") as file:
                file.write(text)
            shutil.copystat(self.path, name)
            found = os.stat(self.path)
            with contextlib.suppress(PermissionError):
                os.chown(name, found.st_uid, found.st_gid)
        except OSError as error:
            raise from_os_error(error, self.path, "make a backup") from error
        return name

    def _keep(self, path: str, name: str) -> None:
        """By a hard link, which costs nothing, where there are any."""
        try:
            os.link(path, name, follow_symlinks=True)
        except OSError:
            self.module.preserved_copy(path, name)
