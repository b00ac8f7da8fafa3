"""A training run in one of several processes, with virtual devices. Not a test itself.

python -m tests.support.train_in_processes DEVICES FLAGS OF experiments.train
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv.pop(1)}"

from experiments import cli, models, train
from experiments.parallel import multihost as hosts
from tests.support.dense_model import Dense

models.MODELS["dense"] = Dense
cli.run(train.main, before=hosts.connect)
