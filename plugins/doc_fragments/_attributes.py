# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of all modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  progress:
    description: Shows on the controller how far the work is, as long as it runs.
    support: full
    details:
      - A line every ten seconds. The variable C(vmimage_progress_interval), or E(VMIMAGE_PROGRESS_INTERVAL) in the environment of the
        controller, sets another number of seconds, or V(0) for no lines.
      - Not with the C(async) keyword.
"""

    FILES = r"""
options: {}
attributes:
  safe_file_operations:
    description: Uses Ansible's strict file operation functions to ensure proper permissions and avoid data corruption.
    support: full
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
    details:
      - This action does not modify state.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  progress:
    description: Shows on the controller how far the work is, as long as it runs.
    support: full
    details:
      - A line every ten seconds. The variable C(vmimage_progress_interval), or E(VMIMAGE_PROGRESS_INTERVAL) in the environment of the
        controller, sets another number of seconds, or V(0) for no lines.
      - Not with the C(async) keyword.
"""
