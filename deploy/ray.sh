#!/usr/bin/env bash
# A node of a Ray cluster, in the foreground, in the environment of this repository (the extra sweep). Whoever
# reaches Ray's ports runs programs here: only in a network that nobody else reaches.
#   ray.sh head                    without trials of its own, unless CPUS says so
#   HEAD=192.0.2.1 ray.sh worker      more words are given to `ray start`
#   LISTEN         this machine's address; required on a head, else Ray finds it
#   CPUS           for trials; default: none on a head, all on a worker
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0
# What a trial started ends with it.
export RAY_process_group_cleanup_enabled=1
# A node that loses its head waits so many seconds for another.
export RAY_gcs_rpc_server_reconnect_timeout_s=${RECONNECT:-60}
words=(ray start --block --disable-usage-stats)
if [[ -n ${LISTEN:-} ]]; then words+=(--node-ip-address="$LISTEN"); fi
kind=${1:-}
shift || true
case $kind in
head)
    : "${LISTEN:?must be the address by which workers reach this machine}"
    exec "${words[@]}" --head --port=6379 --num-cpus="${CPUS:-0}" --include-dashboard=false "$@"
    ;;
worker)
    exec "${words[@]}" --address="${HEAD:?must be the address of the head}:6379" ${CPUS:+--num-cpus="$CPUS"} "$@"
    ;;
*)
    echo "ray.sh head | worker" >&2
    exit 2
    ;;
esac
