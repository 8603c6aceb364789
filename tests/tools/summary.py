# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what ./dev test has done, part by part, from the report that nox wrote.

A part that could not run is never shown as passed; outside CI it does not fail the whole.
"""

import json
import pathlib
import sys

from noxfile import HERE, TARGETS

WORDS = {"success": "passed", "skipped": "NOT RUN", "failed": "FAILED", "aborted": "FAILED"}

report = pathlib.Path(sys.argv[1])
if not report.exists():
    sys.exit("no part was run")

rows = []
for session in json.loads(report.read_text())["sessions"]:
    reason = session["reason"] or ""
    rows.append((session["signatures"][-1], WORDS[session["result"]], f"{session['duration'] or 0:.0f}", reason))

width = max(len(row[0]) for row in rows)
print(f"\n{'part':{width}}  {'result':7}  seconds")
for part, result, seconds, reason in rows:
    print(f"{part:{width}}  {result:7}  {seconds:>7}  {reason}".rstrip())
missing = [python for python in TARGETS if python not in HERE]
counts = {word: sum(row[1] == word for row in rows) for word in WORDS.values()}
total = sum(int(row[2]) for row in rows)
print(f"{'all':{width}}  {'':7}  {total:>7}\n")
if missing:
    print(f"NOT ON THIS MACHINE, so nothing above was checked with it: Python {', '.join(missing)}\n")
print(f"parts: {counts['passed']} passed, {counts['FAILED']} failed, {counts['NOT RUN']} skipped")
