# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our verdict says of Nova, Cinder and Ironic beside what their own code does with each image that Glance accepts."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.verdict import judge

from .test_uploads import ANSWERS

SERVICES = ("nova", "cinder", "ironic")
DISKS = [row[:3] for row in ANSWERS if row[3] == "accepted" and row[1] not in ("aki", "ari")]
KERNELS = [row[:3] for row in ANSWERS if row[3] == "accepted" and row[1] in ("aki", "ari")]


@pytest.fixture(scope="module")
def services(tmp_path_factory, python_source, qemu_img, oslo_inspector):  # pylint: disable=unused-argument  # they use oslo.utils
    from real_services import Services

    return Services(python_source, tmp_path_factory.mktemp("services"), qemu_img)


def outcomes(path, row):
    verdict = judge(str(path), disk_format=row[1], container_format=row[2])
    return {gate.service: gate.outcome for gate in verdict.gates}


@pytest.mark.parametrize("row", DISKS, ids="-".join)
def test_what_they_do(row, services, uploads):
    path = uploads.path(row[0])
    said = {service: services.ask(service, path, *row[1:]) for service in SERVICES}
    ours = outcomes(path, row)
    assert {service: ours[service] != "refuse" for service in SERVICES} == {service: reason is None for service, reason in said.items()}, said


@pytest.mark.parametrize("row", KERNELS, ids="-".join)
def test_kernels(row, services, uploads):
    """Nova and Ironic look at none (see real_services.py), and Cinder at all."""
    path = uploads.path(row[0])
    assert services.ask("cinder", path, *row[1:])
    ours = outcomes(path, row)
    assert {service: ours[service] for service in SERVICES} == {"nova": "accept", "cinder": "refuse", "ironic": "accept"}
