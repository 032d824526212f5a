#!/usr/bin/env bash
# Evaluates on a Slurm cluster, in one task for each GPU.
set -euo pipefail

if (($# < 4)); then
    echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS='...']" \
        "bash $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 1
fi
partition=$1 job_name=$2 config=$3 checkpoint=$4
shift 4
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -ra srun_args <<<"${SRUN_ARGS:-}"

exec srun \
    --partition="$partition" \
    --job-name="$job_name" \
    --gres="gpu:$per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    python -u "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher slurm "$@"
