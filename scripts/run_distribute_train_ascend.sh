#!/usr/bin/env bash
# Trains on all devices of this machine (or of several, see docs/distributed.md), one process a device:
#   bash scripts/run_distribute_train_ascend.sh 8 train.py --config configs/byol/RECIPE.yaml --data_dir DATA
# One log a process in LOG_DIR (msrun_log); the terminal shows rank 0. When a rank fails, msrun ends the others; this
# script says which was first, and where its log is. MSRUN_FLAGS are handed to msrun: --bind_core=True, --master_addr=...
set -uo pipefail
[ $# -ge 2 ] || { sed -n 2,5p "$0"; exit 2; }
workers=$1
shift
logs=${LOG_DIR:-msrun_log}
mkdir -p "$logs"
msrun --worker_num="$workers" --local_worker_num="${LOCAL_WORKERS:-$workers}" --master_port="${MASTER_PORT:-8118}" \
    --log_dir="$logs" --join=True --cluster_time_out=300 ${MSRUN_FLAGS:-} "$@" 2>&1 | tee "$logs/msrun.log"
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
    process=$(sed -n 's/.*Worker process \([0-9]*\) exit with exception.*/\1/p' "$logs/msrun.log" | head -n 1)
    rank=$(grep -ohE "rank [0-9]+: process ${process:-none}\b" "$logs/msrun.log" | head -n 1 | tr -dc '0-9 ' | cut -d' ' -f2)
    if [ -n "$rank" ]; then
        echo "rank $rank (process $process) failed first; its log: $logs/worker_$rank.log"
    else
        echo "a rank failed before training began; the logs: $logs/worker_*.log"
    fi
fi
exit "$status"
