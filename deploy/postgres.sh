#!/usr/bin/env bash
# PostgreSQL with a data base `mlflow`, in the foreground. Debian: apt install postgresql. Run it as root, who hands
# it to the user `postgres`, or as a user who is not root.
#   PGPASSWORD     the password of the role mlflow; required
#   STATE          folder; default ./state
#   LISTEN         address; default 127.0.0.1
#   NETWORK        who may connect; default 127.0.0.1/32
set -euo pipefail
: "${PGPASSWORD:?must be the password of the role mlflow}"
state=$(realpath -m "${STATE:-state}") listen=${LISTEN:-127.0.0.1} network=${NETWORK:-127.0.0.1/32}
bin=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1 | xargs -r dirname || true)
bin=${bin:-$(dirname "$(command -v initdb)")}
as=()
if [[ $(id -u) == 0 ]]; then as=(runuser -u postgres --); fi
data=$state/postgres/data
mkdir -p "$state/postgres"
if [[ $(id -u) == 0 ]]; then chown postgres "$state/postgres"; fi
if [[ ! -d $data ]]; then
    new=$state/postgres/new # it becomes $data when it is whole
    rm -rf "$new"
    # By a pipe: neither a file nor a list of processes shows the password.
    # shellcheck disable=SC2016
    "${as[@]}" bash -c '"$0" -D "$1" -U mlflow -A scram-sha-256 --no-instructions --pwfile=<(printf "%s\n" "$PGPASSWORD")' \
        "$bin/initdb" "$new"
    echo "host all all $network scram-sha-256" | "${as[@]}" tee -a "$new/pg_hba.conf" >/dev/null
    # Single-user mode asks for no password.
    echo "create database mlflow" | "${as[@]}" "$bin/postgres" --single -D "$new" postgres >/dev/null
    mv "$new" "$data"
fi
exec "${as[@]}" "$bin/postgres" -D "$data" -c listen_addresses="$listen" \
    -c unix_socket_directories="$state/postgres" -c max_connections=200
