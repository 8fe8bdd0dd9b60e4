#!/usr/bin/env bash
#SBATCH --job-name=r1reward-rl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
# RL on the machines of a Slurm job: sbatch docs/cluster/slurm_rl.sh PROFILE.toml MODEL rl.jsonl SHARED_FOLDER
# cluster.nodes of the profile is --nodes above. The same command goes on from the last checkpoint.
set -euo pipefail

# Since Slurm 22.05 srun does not take --cpus-per-task from the job: Ray would see one CPU.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

profile=$1 start=$2 data=$3 out=$4
port=6379
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$address" --port="$port" --disable-usage-stats --block &
until srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" ray health-check --address "$address:$port"; do
    sleep 5
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$address:$port" --disable-usage-stats --block &
fi
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    r1reward launch rl --profile "$profile" --start "$start" --data "$data" --out "$out" --address "$address:$port"
