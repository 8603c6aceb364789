# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the get-pip.py that ansible-test fetches from a host of its own: unpacks the pip that Python bundles.

With it the checks need no other source than the package index.
"""

import ensurepip
import pathlib
import sysconfig
import zipfile

places = [pathlib.Path(ensurepip.__file__).parent / "_bundled", pathlib.Path("/usr/share/python-wheels")]
wheels = [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))]
zipfile.ZipFile(wheels[0]).extractall(sysconfig.get_path("purelib"))
