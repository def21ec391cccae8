#!/usr/bin/env bash
# Trains on all devices of this machine (or of several, see docs/distributed.md), one process a device:
#   bash scripts/run_distribute_train_ascend.sh 8 train.py --config configs/byol/RECIPE.yaml --data_dir DATA
# Ctrl-C and SIGTERM reach the ranks, which save and stop; the script then exits with 75. When a rank fails, it says
# which was first, and where its log is. Variables: LOG_DIR (msrun_log), MASTER_PORT (8118; another for a second job on
# this machine), LOCAL_WORKERS, MSRUN_FLAGS for msrun (--bind_core=True, --master_addr=...).
set -uo pipefail
[ $# -ge 2 ] || { sed -n 2,7p "$0"; exit 2; }
workers=$1
shift
logs=${LOG_DIR:-msrun_log}
mkdir -p "$logs" && rm -f "$logs"/worker_*.log
# In a session of its own: msrun, told by Ctrl-C, would kill the ranks before they can save.
setsid msrun --worker_num="$workers" --local_worker_num="${LOCAL_WORKERS:-$workers}" \
    --master_port="${MASTER_PORT:-8118}" --log_dir="$logs" --join=True --cluster_time_out=300 ${MSRUN_FLAGS:-} "$@" \
    > >(exec tee -i "$logs/msrun.log") 2>&1 &
msrun=$!
stop() { # one rank that is told is enough; before training there is nothing to save
    local rank
    rank=$(grep -ohE 'rank [0-9]+: process [0-9]+' "$logs"/worker_*.log 2>/dev/null | grep -oE '[0-9]+$' |
        while read -r process; do kill -0 "$process" 2>/dev/null && echo "$process" && break; done)
    if [ -n "$rank" ]; then kill -TERM "$rank"; else kill -INT "$msrun"; fi
}
trap stop INT TERM
while kill -0 "$msrun" 2>/dev/null; do
    wait "$msrun" # returns at each signal
done
wait "$msrun"
status=$?
[ "$status" -eq 0 ] && exit 0
if grep -qs -- '--resume goes on from here' "$logs"/worker_*.log; then
    echo "stopped, and saved: the same command with --resume goes on"
    exit 75
fi
process=$(sed -n 's/.*Worker process \([0-9]*\) exit with exception.*/\1/p' "$logs/msrun.log" | head -n 1)
rank=$(grep -ohE "rank [0-9]+: process ${process:-none}\b" "$logs"/worker_*.log | head -n 1 | tr -dc '0-9 ' | cut -d' ' -f2)
grep -ohE '^train.py: .*' "$logs"/worker_*.log | head -n 1
if [ -n "$rank" ]; then
    echo "rank $rank (process $process) failed first; its log: $logs/worker_$rank.log"
else
    echo "a rank failed before training began; the logs: $logs/worker_*.log"
fi
exit "$status"
