# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to the collection. It can have breaking changes at any time.

"""Show where a module is while it runs.

The module is run as ever. Beside it, a thread reads the file that the module keeps (module_utils/_module/progress.py), every few
seconds and over a connection of its own, and shows a line. A task that is done before the first line is due never notices.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import math
import os
import re
import secrets
import shlex
import threading
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.plugins.loader import connection_loader

_INTERVAL = 10.0
_SHORTEST = 1.0
_VARIABLE = "vmimage_progress_interval"
_ENVIRONMENT = "VMIMAGE_PROGRESS_INTERVAL"
_PATH = "VMIMAGE_PROGRESS_FILE"
_LAST_LOOK = 10.0
# A line of the output: a terminal ends it in its own way, and what a shell greets with may stand around it.
_RECORD = re.compile(r"^([a-z]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,10}\.[0-9]) *\r?$", re.MULTILINE)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class ActionWithProgress(NormalAction):
    """Runs the module of the same name, and shows its progress."""

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        interval = self._interval(variables)
        if not interval or self._task.async_val:  # with async the user looks for himself
            return super().run(task_vars=task_vars)
        name = variables.get("inventory_hostname", "")
        if self._task.delegate_to and self._task.delegate_to != name:
            name = f"{name} -> {self._task.delegate_to}"
        with self._watched(interval, f"{name}: {self._task.action.rpartition('.')[2]}"):
            return super().run(task_vars=task_vars)

    def _interval(self, variables: dict[str, t.Any]) -> float:
        """Seconds between two lines; 0 for none."""
        given = os.environ.get(_ENVIRONMENT) or _INTERVAL
        if _VARIABLE in variables:
            given = self._templar.template(variables[_VARIABLE])
        try:
            interval = float(given)
        except (TypeError, ValueError):
            interval = -1.0
        if not 0 <= interval < math.inf:
            raise AnsibleActionFail(f"{_VARIABLE} (or {_ENVIRONMENT}) must be a number of seconds, or 0 for no progress; it is {given!r}")
        return max(interval, _SHORTEST) if interval else 0.0

    @contextlib.contextmanager
    def _watched(self, interval: float, title: str) -> t.Iterator[None]:
        path = self._path()
        watcher = threading.Thread(
            target=contextvars.copy_context().run, args=(self._watch, interval, title, path, self._beside(), done := threading.Event()), daemon=True
        )
        # As ansible-core itself tells async_wrapper its folder.
        self._task.environment.append({_PATH: path})
        watcher.start()
        try:
            yield
        finally:
            self._task.environment.pop()
            done.set()
            # A thread that shows something while this process ends would block all others: wait for the look that it may be taking.
            watcher.join(_LAST_LOOK)

    def _path(self) -> str:
        """Where the module is to keep its file: in Ansible's own folder of this task if there is one that the module can write."""
        shell = self._connection._shell
        if shell.tmpdir is None and not self._is_pipelining_enabled("new"):
            self._make_tmp_path()  # as is done for the module anyway
        folder = shell.tmpdir
        if folder is None or self._is_become_unprivileged():
            folder = self.get_shell_option("system_tmpdirs", ["/var/tmp"])[0]
        return shell.join_path(folder, f"ansible-vmimage-progress-{secrets.token_hex(16)}")

    def _beside(self) -> ActionWithProgress | None:
        """This action with a connection of its own: one connection cannot run two commands at a time. None if there is no second one."""
        mine = self._connection
        try:
            # With all that ansible-core gives: plugins of other collections may insist on any of it.
            arguments = {"new_stdin": None, "task_uuid": self._task._uuid, "ansible_playbook_pid": str(os.getppid())}
            other = connection_loader.get(mine.ansible_name, copy.copy(mine._play_context), **arguments)
            other._options = dict(mine._options)
            other._shell = copy.copy(mine._shell)
            if mine.become is not None:
                other.set_become_plugin(copy.copy(mine.become))
        except Exception as error:  # whatever a connection plugin of somebody else raises, the task is to run
            self._display.vvv(f"No progress, only signs of life: no second connection ({error})")
            return None
        action = copy.copy(self)
        action._connection = other
        return action

    def _watch(self, interval: float, title: str, path: str, beside: ActionWithProgress | None, done: threading.Event) -> None:
        """What the thread does."""
        began = time.monotonic()
        record = None
        while not done.wait(interval):
            before, record = record, None
            if beside is not None:
                try:
                    record = beside._look(path)
                except Exception as error:  # as above
                    self._display.vvv(f"No progress, only signs of life: {error}")
                    beside = None
            if not done.is_set():
                # Where warnings go: what a callback prints for a program to read stays whole.
                self._display.display(f"{title}: {describe(record if record != before else None, time.monotonic() - began)}", stderr=True)
        if beside is not None:
            with contextlib.suppress(Exception):
                beside._connection.close()

    def _look(self, path: str) -> str:
        quoted = shlex.quote(path)
        return self._low_level_execute_command(f"test -f {quoted} && head -c 1000 {quoted}")["stdout"]


def describe(record: str | None, seconds: float) -> str:
    """What is shown of a module's progress.

    :param record: what its file says; anything else than that is left out, as it comes from another machine
    :param seconds: since the task began
    """
    found = _RECORD.search(record or "")
    if found is None:
        return f"running for {_duration(seconds)}"
    phase, done, total, elapsed = found[1], int(found[2]), int(found[3]), float(found[4])
    if not 0 < total >= done:
        return f"running for {_duration(seconds)}"
    parts = [f"{phase} {100 * done // total} % of {_bytes(total)}"]
    if done and elapsed:
        rate = done / elapsed
        parts += [f"{_bytes(rate)}/s", f"{_duration((total - done) / rate)} left"]
    return ", ".join(parts)


def _bytes(number: float) -> str:
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.{1 if unit and number < 100 else 0}f} {_UNITS[unit]}"


def _duration(seconds: float) -> str:
    """Of two units, the largest that are not zero: 2 d 3 h, 1 h 20 min, 40 s"""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
