#!/usr/bin/env bash
# Evaluates in one process for each GPU or, without a GPU, in as many CPU processes.
set -euo pipefail

if (($# < 3)); then
    echo "usage: [NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500]" \
        "bash $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 1
fi
config=$1 checkpoint=$2 gpus=$3
shift 3

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --nproc_per_node="$gpus" \
    --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
