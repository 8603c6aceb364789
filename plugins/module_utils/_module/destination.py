# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""One flow for every module that writes a file: decide and say why, write beside, verify, keep, replace, set attributes."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import AccessError, from_os_error
from .._engine.storage.sink import Sink
from .._engine.transfer.provenance import recall, remember
from .run import Result


class Destination:
    """The file that a module manages (its options ``dest``, ``force``, ``backup`` and the file attributes).

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

    def recall(self) -> Result | None:
        """The result of the run that made the file, when nothing was changed since and ``force`` does not ask for more."""
        if not self.exists or self.module.params["force"]:
            return None
        memory = recall(self.path, self.request)
        if memory is None:
            return None
        self._recalled = memory.result
        self.depends_on = set(memory.files)
        return {**self._recalled, "changed": False, "msg": "dest was made from this source with these options, and neither was touched since"}

    def replace(self, write: t.Callable[[Sink], None]) -> None:
        """Have ``write`` fill the new file, then let it take the name. Nothing is left behind when it raises."""
        with Sink(self.path) as sink:
            write(sink)
            if self.exists and self.module.params["backup"]:
                self._backup_file = self._backup()
            sink.commit(self._move)

    def finish(self, result: Result) -> Result:
        """Set the file attributes, remember how the file was made, and complete the result.

        :param result: with ``changed``; what else it holds is what a later run will recall
        """
        memory = {key: value for key, value in result.items() if key not in ("changed", "msg", "diff")}
        changed = result["changed"]
        if os.path.exists(self.path):
            arguments = self.module.load_file_common_arguments(self.module.params, path=self.path)
            changed = self.module.set_fs_attributes_if_different(arguments, changed)
        if not self.module.check_mode and (changed or memory != self._recalled):
            remember(self.path, self.request, memory, self.depends_on)
        complete = {**result, "changed": changed, "dest": self.path}
        if self._backup_file is not None:
            complete["backup_file"] = self._backup_file
        return complete

    def _move(self, part: str, dest: str) -> None:
        # Ansible's own way keeps the old file's owner, mode and SELinux context, and knows the default for a new one.
        self.module.atomic_move(part, dest, unsafe_writes=self.module.params["unsafe_writes"])

    def _backup(self) -> str:
        """Keep the old file under another name: by a hard link, which costs nothing, where there are any."""
        name = f"{self.path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"
        try:
            os.link(self.path, name, follow_symlinks=True)
        except OSError:
            try:
                return str(self.module.backup_local(self.path))
            except OSError as error:
                raise from_os_error(error, self.path, "make a backup") from error
        return name
