# shellcheck shell=bash disable=SC2034
# The command that starts training on several GPUs or nodes (espnet2.bin.launch): run.pl here, slurm.pl or queue.pl on a cluster.
train_cmd=$(printf %q "${S3ROUTER_ROOT}")/egs2/s3router/TEMPLATE/router1/run.pl
