# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection as others write them: from a collection, with an argument that newer cores have no use for, an option, a terminal, and
for one command at a time."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = r"""
name: second
short_description: This machine, one command at a time
description:
  - For a test.
author:
  - vmimage.prep contributors (@vmimage)
options:
  secret:
    description: Is needed.
    type: str
    vars:
      - name: ansible_test_secret
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(Local):
    """The connection local, one command at a time."""

    transport = "test.connections.second"
    busy = False

    def __init__(self, play_context, new_stdin, *args, **kwargs):
        super().__init__(play_context, *args, **kwargs)

    def exec_command(self, *args, **kwargs):
        if self.busy or self.get_option("secret") != "open sesame":
            raise AnsibleConnectionFailure("busy, or no secret")
        self.busy = True
        try:
            code, output, errors = super().exec_command(*args, **kwargs)
            return code, output.replace(b"\n", b"\r\n"), errors
        finally:
            self.busy = False
