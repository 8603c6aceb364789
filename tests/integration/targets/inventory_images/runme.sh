#!/usr/bin/env bash
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Twenty images on four workers: at once, where one fails and is launched again alone, and in two slices as AWX cuts them.
set -eu

here=$PWD
cd "$OUTPUT_DIR"
mkdir "in coming" out sliced
cp "$here/nodes.yml" "$here"/*.images.yml .
python "$here/make_images.py" "in coming"
mv "in coming/vm07.raw" vm07.raw
printf 'QFI\373damaged' > "in coming/vm07.raw"

export ANSIBLE_RETRY_FILES_ENABLED=1 ANSIBLE_RETRY_FILES_SAVE_PATH=$OUTPUT_DIR
prepare() { # FOLDER ARGUMENTS: prepares into the folder, and notes which were written and by which worker
    folder=$1
    shift
    ansible-playbook -e "out='$OUTPUT_DIR/$folder'" "$@" "$here/fleet.yml"
}
judge() { # FOLDER: each image is written once, and has the content of its own source
    diff -u <(for number in $(seq -w 20); do echo "vm$number"; done) <(cut -d ' ' -f 1 "$1/written" | sort)
    for number in $(seq -w 20); do
        qemu-img compare -f raw -F qcow2 "in coming/vm$number.raw" "$1/vm$number.qcow2" > compared || { cat compared; exit 1; }
    done
}
refuse() { echo "$*" >&2; exit 1; }

echo "== All at once; one of them fails"
fleet=(-i "$INVENTORY_PATH" -i nodes.yml -i fleet.images.yml)
if prepare out "${fleet[@]}" --forks 4 > first; then refuse "a damaged image was accepted"; fi
cat first
[ "$(wc -l < out/written)" = 19 ] || refuse "not nineteen images"
[ "$(cat fleet.retry)" = vm07 ] || refuse "another one failed"

echo "== The failed one alone"
mv vm07.raw "in coming/vm07.raw"
prepare out "${fleet[@]}" --limit @fleet.retry
judge out
diff -u <(printf '      5 node%s\n' 1 2 3 4) <(cut -d ' ' -f 2 out/written | sort | uniq -c)

echo "== One worker's part again: nothing to do"
prepare out "${fleet[@]}" --limit worker_node3
judge out
[ "$(wc -l < out/found)" = 5 ] || refuse "not five images"

echo "== In two slices at the same time, out of an inventory that AWX has read"
ansible-inventory -i alone.images.yml --list --export --output exported.json
python "$here/cut_slices.py" exported.json 2
prepare sliced -i slice1 > said1 &
prepare sliced -i slice2 > said2 || { cat said2; exit 1; }
wait $! || { cat said1; exit 1; }
judge sliced
diff -u <(printf '%s\n' "vm01 192.0.2.1" "vm02 192.0.2.2" "vm03 192.0.2.3" "vm04 192.0.2.4" "vm05 192.0.2.1") <(sort sliced/written | head -n 5)

echo "== What is wrong is said"
ansible-inventory -i fleet.images.yml -i nodes.yml --list > said 2>&1 || true
grep -q "no host and no group nodes yet" said || { cat said; exit 1; }
