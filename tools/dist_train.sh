#!/usr/bin/env bash
# Train on several GPUs of one machine: bash tools/dist_train.sh CONFIG GPUS [options of convnext-dense train]
set -eu
if [ $# -lt 2 ]; then
    echo "usage: bash $0 CONFIG GPUS [options of convnext-dense train]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2
exec python -m torch.distributed.run --standalone --nproc_per_node="$gpus" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
