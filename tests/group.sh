# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For tests/run and tests/repeat: what they start runs in a process group of its own, so that nothing outlives it.
child=

end_child() {
    [[ -n $child ]] || return 0
    kill -TERM -- "-$child" 2>/dev/null && timeout 5 tail --pid="$child" -f /dev/null || true
    kill -KILL -- "-$child" 2>/dev/null || true
    child=
}

# in_group COMMAND...: runs it in its own process group; its status. Nothing of the group is left afterwards.
in_group() {
    local status=0
    setsid --wait "$@" &
    child=$!
    wait "$child" || status=$?
    end_child
    return "$status"
}
