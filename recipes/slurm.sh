#!/bin/bash
# A training on several nodes under SLURM: sbatch recipes/slurm.sh RECIPE.yaml OUT
# Change what your cluster wants (account, partition, modules). A job that was cut off goes on when it is submitted again.
#SBATCH --job-name=cloudchamber
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
recipe=$1
out=$2
resume=()
if [ -f "$out/run.json" ]; then resume=(--resume); fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # a new store for every start: restarted processes must not find killed ones in it
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / SLURM_GPUS_PER_NODE))
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$SLURM_GPUS_PER_NODE" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
    -m cloudchamber pretrain "$recipe" -o "$out" --device cuda --parallel fsdp "${resume[@]}"
