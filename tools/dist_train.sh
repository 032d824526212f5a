#!/usr/bin/env bash
# Trains in one process for each GPU or, without a GPU, in as many CPU processes.
set -euo pipefail

if (($# < 2)); then
    echo "usage: [NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500]" \
        "bash $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 1
fi
config=$1 gpus=$2
shift 2

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --nproc_per_node="$gpus" \
    --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
