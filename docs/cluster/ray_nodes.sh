#!/usr/bin/env bash
# Ray by hand on several machines. The first one:  ray_nodes.sh head
# Every other one:                                 ray_nodes.sh ADDRESS_OF_THE_FIRST
# Then, on the first one:
#   RAY_ADDRESS=auto r1reward launch rl --profile my_profile.toml --start MODEL --data rl.jsonl --out SHARED_FOLDER
# with cluster.nodes in the profile set to the number of machines.
set -euo pipefail

port=6379
case "${1:-}" in
    head) ray start --head --port "$port" --disable-usage-stats ;;
    "") echo "usage: $0 head | ADDRESS" >&2; exit 2 ;;
    *) ray start --address "$1:$port" --disable-usage-stats --block ;;
esac
