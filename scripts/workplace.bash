# Sourced by the scripts: the place they work in, what they say, processes ended by number, free ports, an unprivileged
# user for servers that refuse root. Starts nothing by itself.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What is installed for this checkout and nothing else; ignored by git.
local_dir=$root_dir/.local
export PATH="$PATH:$HOME/.cargo/bin"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# Runs a step and says how long it took.
timed() {
    local name=$1 before=$SECONDS
    shift
    say "== $name"
    "$@"
    durations+=("$(printf '%6ds  %s' "$((SECONDS - before))" "$name")")
}
durations=()

# PostgreSQL and PgBouncer refuse root: as root they run as this user, otherwise as who we are.
unprivileged_user() {
    if [ "$(id -u)" != 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

as_unprivileged() {
    if [ "$(id -u)" = 0 ]; then
        local user
        user=$(unprivileged_user)
        setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"
    else
        "$@"
    fi
}

# So many TCP ports of 127.0.0.1 that nobody has right now, no two alike: each is held until the last has been found.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in held))
PYTHON
}

# Ends a process that we started, by its number: asks, waits up to 10 seconds, then kills.
end_process() {
    local pid=$1 tries
    kill "$pid" 2>/dev/null || return 0
    for tries in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    say "process $pid does not end; killed"
    kill -9 "$pid" 2>/dev/null || true
}

# Waits until a command succeeds: `wait_until SECONDS COMMAND...`.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}
