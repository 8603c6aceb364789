# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Signatures that the engine cannot verify with what the node's Python has, by the node's openssl, if it has one."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from .._engine.packages.model import PackageWarning
from .._engine.packages.package import Package
from .._engine.packages.signature import Verification


def verify_signature(module: AnsibleModule, package: Package) -> None:
    """Try what the engine could not, and correct what the package says of itself."""
    signature = package.signature
    openssl = module.get_bin_path("openssl")
    if signature is None or package.manifest_file is None or package.verification is None or package.verification.verified is not None or openssl is None:
        return
    files = {"key": signature.certificates[0].public_key, "signature": signature.value, "manifest": package.read(package.manifest_file)}
    paths = {name: os.path.join(module.tmpdir, f"ovf-{name}") for name in files}
    for name, data in files.items():
        with open(paths[name], "wb") as file:
            file.write(data)
    command = [openssl, "dgst", f"-{signature.algorithm}", "-keyform", "DER", "-verify", paths["key"], "-signature", paths["signature"], paths["manifest"]]
    code, out, _err = module.run_command(command)
    if code == 0 or "Verification failure" in out:
        agrees = code == 0
        package.verification = Verification(
            agrees, "openssl says that it is one" if agrees else "openssl says that it is not one of this manifest with the certificate's key"
        )
        package.warnings = [warning for warning in package.warnings if warning.code != "signature_not_tried"]
        if not agrees:
            package.warnings.append(PackageWarning("signature_invalid", package.verification.reason, package.certificate_file or ""))
