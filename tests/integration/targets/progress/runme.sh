#!/usr/bin/env bash
# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a person sees of a task that takes long, what a task that is done quickly or runs with async shows (nothing), and what is left (nothing).
set -eu

here=$PWD
cd "$OUTPUT_DIR"
export VMIMAGE_PROGRESS_INTERVAL=1
# With async, the job's file is looked for where HOME says on one side and where the user database says on the other.
export ANSIBLE_ASYNC_DIR=$OUTPUT_DIR/async

refuse() { echo "$*" >&2; tail -n 100 out err >&2; exit 1; }
start() { # ARGUMENTS: the slow module, at work
    rm -f go file out err
    ansible-playbook -i "$INVENTORY_PATH" -e "folder='$OUTPUT_DIR'" "$@" "$here/slow.yml" > out 2> err &
    playbook=$!
}
await() { # PATTERN FILE
    for _ in $(seq 600); do
        grep -q "$1" "$2" 2> /dev/null && return
        sleep 0.1
    done
    refuse "not seen in $2: $1"
}
left() { [ ! -e "$(cat file)" ] || refuse "left behind: $(cat file)"; }
line='^testhost: slow: convert 25 % of 100 MiB, .*iB/s, .* left$'

for pipelining in 0 1; do
    echo "== A line, beside the output; pipelining: $pipelining"
    ANSIBLE_PIPELINING=$pipelining start
    await "$line" err
    touch go
    wait "$playbook" || refuse "failed"
    grep -q "worked in check mode: False" out || refuse "another result"
    if grep -q "slow: convert" out; then refuse "not only where warnings go"; fi
    left
done

echo "== Over a connection of another collection's"
ANSIBLE_COLLECTIONS_PATH=$here/collections:$ANSIBLE_COLLECTIONS_PATH start -e ansible_connection=test.connections.second -e "ansible_test_secret='open sesame'"
await "$line" err
touch go
wait "$playbook" || refuse "failed"
left

echo "== In check mode, and where nothing is to be logged"
start --check -e secret=true
await "$line" err
touch go
wait "$playbook" || refuse "failed"
grep -q "worked in check mode: True" out || refuse "another result"
left

echo "== A failure"
start -e fail=true
await "$line" err
touch go
if wait "$playbook"; then refuse "no failure"; fi
cat out err | grep -q '"kind": "corrupt".*"offset": 512' || refuse "another failure"
left

echo "== A controller that is killed: the module works on, and removes its file"
start
await "$line" err
[ -s "$(cat file)" ] || refuse "no file"
workers=$(cat "/proc/$playbook/task/$playbook/children")
# shellcheck disable=SC2086  # one argument for each
kill -KILL "$playbook" $workers
wait "$playbook" || true
touch go
for _ in $(seq 100); do
    [ -e "$(cat file)" ] || break
    sleep 0.1
done
left

echo "== async of the user: as without the plugin"
start -e seconds=100
await none file
touch go
wait "$playbook" || refuse "failed"
grep -q "worked in check mode: False" out || refuse "another result"
grep -q "job j[0-9]" out || refuse "not with async"
if grep -q "slow: " err; then refuse "a line with async"; fi

echo "== Turned off"
start -e vmimage_progress_interval=0
await none file
touch go
wait "$playbook" || refuse "failed"
if grep -q "slow: " err; then refuse "a line"; fi

echo "== No interval"
start -e vmimage_progress_interval=soon
if wait "$playbook"; then refuse "an interval was accepted that is none"; fi
cat out err | grep -q "must be a number of seconds, or 0 for no progress; it is 'soon'" || refuse "another failure"

echo "== A disk, as large as it has to be to take some seconds"
convert() { # DEST ARGUMENTS
    dest=$1
    shift
    ansible-playbook -i "$INVENTORY_PATH" -e "folder='$OUTPUT_DIR' dest=$dest.qcow2 size=$((size << 20))" "$@" "$here/convert.yml" > out 2> err || refuse "failed"
}
for size in 256 512 1024 2048; do
    python "$here/make_disk.py" disk.raw "$size"
    convert "shown$size"
    grep '^testhost: image_convert: convert [0-9]* % of ' err && break
done || refuse "not seen"
convert quiet -e vmimage_progress_interval=0
[ ! -s err ] || ! grep "image_convert: " err || refuse "a line"
cmp "shown$size.qcow2" quiet.qcow2
rm disk.raw ./*.qcow2
