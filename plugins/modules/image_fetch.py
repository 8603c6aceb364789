#!/usr/bin/python
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_fetch
short_description: Fetch an image from a server
version_added: 0.1.0
description:
  - Fetches a file from a web server to the managed node, or copies one that is there, and verifies its checksum.
  - A connection that breaks is made again, and goes on where it broke. So does the next run after one that was killed.
  - Where a checksum is given, the file is not even asked for when it is there already. Otherwise the server is asked whether it has
    another one.
  - On request the file is decompressed while it comes in, without room for both.
author:
  - vmimage.prep contributors (@vmimage)
extends_documentation_fragment:
  - ansible.builtin.files
  - vmimage.prep._attributes
  - vmimage.prep._attributes.files
options:
  url:
    description:
      - Where the file is. An C(http), C(https) or C(file) URL, or an absolute path on the managed node.
      - Redirections are followed.
    type: str
    required: true
  mirrors:
    description: Where else the same file is. They are tried in this order when O(url) cannot be fetched, or has another checksum.
    type: list
    elements: str
    default: []
  dest:
    description:
      - Path of the file to write on the managed node. Its folder must exist.
      - If it is a folder, the file is called in it as in O(url), with O(decompress) without C(.gz), C(.xz), C(.bz2) or C(.zst).
      - The file takes the name in one step, when it is whole and verified. When anything goes wrong, what was there before stays.
    type: path
    required: true
  checksum:
    description:
      - The checksum that the file must have as it is published, also with O(decompress).
      - Either C(<algorithm>:<hexadecimal digest>), with C(md5), C(sha1), C(sha224), C(sha256), C(sha384) or C(sha512).
      - Or the URL or the absolute path of a file with checksums, such as C(SHA256SUMS), C(CHECKSUM) or C(image.qcow2.sha512). The algorithm
        follows from what it says. With C(<algorithm>:) before it, only checksums of that algorithm count.
      - Such a file has lines as C(sha256sum), C(sha256sum --tag), C(cksum), BSD's C(sha256) or C(openssl dgst) write them, or only a digest.
        It may be signed with PGP, but B(the signature is not verified). What stands in it of the last part of O(url), or of O(dest), is
        taken; of several algorithms, the strongest.
    type: str
  decompress:
    description:
      - Decompress the file while it comes in, if it is compressed with gzip, xz, bzip2 or zstd. What is not compressed is written as it is.
      - Zeros become holes.
      - A run that was killed cannot be continued then. The next one begins anew.
      - Not needed before M(vmimage.prep.image_convert), which reads compressed images.
    type: bool
    default: false
  max_size:
    description:
      - How large the file may be, with O(decompress) when it is decompressed.
      - A number of bytes, or a number with a unit such as V(20G).
      - When it is not set, no more than 250 times what is compressed is taken out of it.
    type: bytes
  checksums:
    description: Checksums to return of O(dest).
    type: list
    elements: str
    choices: [md5, sha1, sha256, sha512]
    default: []
  retries:
    description:
      - How often in a row a connection may fail before the module does.
      - The pauses between grow from one to 30 seconds. When a MiB has come, the failures before are forgotten.
      - A server that says that it has no such file, or does not give it, is not asked again.
    type: int
    default: 5
  timeout:
    description: How many seconds a server may be silent.
    type: int
    default: 30
  url_username:
    description: User for HTTP basic or digest authentication.
    type: str
  url_password:
    description: The user's password.
    type: str
  force_basic_auth:
    description: Send user and password without being asked for them.
    type: bool
    default: false
  headers:
    description:
      - Further HTTP headers.
      - They, user, password and client certificate are for the server of O(url). If the checksum file or a mirror is on another server,
        that does not get them, nor does the one to which a redirection leads get the headers.
    type: dict
    default: {}
  http_agent:
    description: What the module calls itself.
    type: str
    default: ansible-vmimage-prep
  use_proxy:
    description: Use the proxy that the environment of the managed node names.
    type: bool
    default: true
  validate_certs:
    description: Verify the certificates of servers.
    type: bool
    default: true
  ca_path:
    description: Path of a file with the certificates of authorities to trust, on the managed node.
    type: path
  client_cert:
    description: Path of a PEM file with a certificate to present to the server, and possibly its key, on the managed node.
    type: path
  client_key:
    description: Path of a PEM file with the key of O(client_cert), on the managed node.
    type: path
  force:
    description:
      - Fetch the file even if it is there already.
      - With V(true) the module is always changed.
    type: bool
    default: false
  backup:
    description:
      - Keep the file that is replaced, under a name with the date and time.
      - It is kept as a hard link where the file system has them, which costs neither time nor space.
    type: bool
    default: false
notes:
  - Needs nothing but Python 3.9 or newer on the managed node.
  - What has come of a file lies in C(.<name>.partial) beside O(dest), and what it is a part of in C(.<name>.partial.json), until the file is
    whole. They stay when a connection breaks for good or the run is killed. They are removed when the file system is full, when the checksum
    is wrong, and by the next run that succeeds.
  - A part is continued when the server still has the same version, by its entity tag or its time of modification. Without either of
    them, and after a restart of the machine, only if there is a checksum to prove the whole.
  - A small hidden file beside O(dest), C(.<name>.provenance.json), notes what was fetched. It may be deleted at any time; then the
    content is compared, if there is no checksum after another transfer. The same happens when a server does not say which version it has.
  - In check mode the server is asked, but sends the content only if nothing else tells whether it differs.
  - Whether the file is an image is not looked at. M(vmimage.prep.image_verify) does that.
seealso:
  - ref: ansible_collections.vmimage.prep.docsite.guide_fetch
    description: How to fetch an image.
  - module: vmimage.prep.image_convert
  - module: ansible.builtin.get_url
    description: Fetches without going on where a connection broke.
"""

EXAMPLES = r"""
- name: Fetch an image, verified by the list of checksums that is published with it
  vmimage.prep.image_fetch:
    url: https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2
    checksum: https://cloud.debian.org/images/cloud/trixie/latest/SHA512SUMS
    dest: /srv/incoming

- name: Fetch a compressed disk, and decompress it on the way
  vmimage.prep.image_fetch:
    url: https://images.example.org/appliance.raw.xz
    mirrors:
      - https://mirror.example.com/appliance.raw.xz
    checksum: sha256:https://images.example.org/appliance.raw.xz.sha256
    dest: /srv/incoming/appliance.raw
    decompress: true
    max_size: 50G

- name: Fetch from a server with a certificate of the company
  vmimage.prep.image_fetch:
    url: https://images.example.org/golden.qcow2
    url_username: reader
    url_password: "{{ image_password }}"
    ca_path: /srv/keys/company.pem
    dest: /srv/incoming/golden.qcow2
"""

RETURN = r"""
src:
  description: The URL or path, of O(url) and O(mirrors), that the file is from.
  returned: success
  type: str
url:
  description: Where the server's redirections led.
  returned: success
  type: str
etag:
  description: The entity tag that the server gave.
  returned: success
  type: str
last_modified:
  description: When the file was modified, as the server said it.
  returned: success
  type: str
  sample: Tue, 18 Nov 2025 21:07:23 GMT
length:
  description: Bytes of the file as it is published. Not set in check mode if the server does not say.
  returned: success
  type: int
verified:
  description: The checksum that the file was found to have as it is published, V(null) without O(checksum).
  returned: success
  type: str
  sample: sha256:9f2dc2a8a9ac7bb2…
checksums:
  description: Checksums of O(dest), by algorithm. Those of O(checksums), and which else are known.
  returned: success
  type: dict
status:
  description:
    - The HTTP status of the last answer, as V(200), V(206) (the rest of a file) or V(304) (the server has nothing new).
    - V(null) when no server had to be asked for the file.
  returned: success
  type: int
transferred:
  description: Bytes that were read in this run.
  returned: success
  type: int
resumed_at:
  description: Where this run went on with what an earlier one had fetched, in bytes. V(null) when there was nothing to go on with.
  returned: success
  type: int
elapsed:
  description: Seconds that it took.
  returned: success
  type: float
files:
  description: The file that was written.
  returned: success
  type: list
  elements: str
backup_file:
  description: Where the file that was there before is kept.
  returned: changed and O(backup) is set
  type: str
msg:
  description: Why the file was fetched, or why not.
  returned: success
  type: str
  sample: dest does not exist
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module.fetch import fetch_image
from ..module_utils._module.web import URL
from ..module_utils._module.run import CHECKSUMS, DESTINATION, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **URL,
            **DESTINATION,
            "url": {"type": "str", "required": True},
            "mirrors": {"type": "list", "elements": "str", "default": []},
            "checksum": {"type": "str"},
            "decompress": {"type": "bool", "default": False},
            "max_size": {"type": "bytes"},
            "checksums": CHECKSUMS,
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    run(module, fetch_image)


if __name__ == "__main__":
    main()
