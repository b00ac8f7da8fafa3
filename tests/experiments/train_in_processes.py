"""A training run in one of several processes, with virtual devices. Not a test itself.

python train_in_processes.py DEVICES FLAGS OF experiments.train
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv.pop(1)}"

from small import Dense

from experiments import cli, hosts, models, train

models.MODELS["dense"] = Dense
cli.run(train.main, before=hosts.connect)
