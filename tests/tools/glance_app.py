# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Glance's own WSGI application, for one user without keystone; what tests/tools/glance serves. Runs in Glance's environment.

Keystone's filter would set these headers. A request may send roles and a project of its own, to be somebody else.
"""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.engine import Engine

IDENTITY = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_USER_ID": "5" * 32,
    "HTTP_X_PROJECT_ID": "7" * 32,
    "HTTP_X_ROLES": "admin,member,reader",
}


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def begin_immediate(connection, cursor, statement, parameters, context, executemany):
    """Take SQLite's write lock at once: of two threads that begin by reading, one is refused later, whatever it may wait."""
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" and connection.dialect.name == "sqlite" else statement), parameters


from glance.wsgi.api import application as glance  # noqa: E402  (opens the database)


def application(environ, start_response):
    """Every request is confirmed."""
    return glance({**IDENTITY, **environ}, start_response)
