# How this recipe starts its jobs: on this machine, or on a cluster with a launcher of Kaldi's
# contract, for example "slurm.pl --mem 4G".
# shellcheck shell=bash
export train_cmd="run.py"
export decode_cmd="run.py"
