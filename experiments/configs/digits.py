"""The embedded set-up: a small ResNet on scikit-learn's digits, seconds a run on a laptop."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults; every key can be set as ``--config.key=value``."""
    config = ConfigDict()

    config.dataset = "digits"
    config.validation = 0.0  # share of the training set to evaluate on instead of the test set
    config.label_noise = 0.2  # share of the training labels that are wrong
    config.noise_seed = 0  # which ones; fixed, so that all runs see the same labels
    config.model = "resnet_digits"

    config.method = "sgd"  # a name in experiments/methods.py
    config.rho = placeholder(float)  # ascent radius; unset: 0.05 for SAM kinds, 0.5 for ASAM kinds
    config.eta = 0.01  # ASAM: added to |w|
    config.k = 2  # ascent steps; for lookahead_sam the steps between two synchronizations
    config.alpha = placeholder(object)  # slow step: a number in (0, 1], "adaptive", ...
    config.alpha = "adaptive"

    config.lambda_1 = placeholder(float)  # AE kinds: last threshold; unset: the method's default
    config.lambda_2 = placeholder(float)  # AE kinds: first threshold
    config.decay = 0.9  # AE kinds: memory of the running mean and variance
    config.reuse = 0.5  # LookSAM kinds: alpha, how far to lean towards the last sharp direction
    config.period = 5  # looksam: SAM on every fifth step
    config.probability = 0.5  # ss_sam: of SAM on a step
    config.beta = 0.6  # esam: share of the weights that is perturbed
    config.gamma = 0.5  # esam: share of the examples that the perturbed gradient is taken on

    # The rates are those at which SGD does best on a validation split (0.2 of the training set,
    # 20% label noise, three seeds); accuracy in % there, for a weight decay of 5e-4 and 5e-3:
    #   learning rate   0.01   0.02   0.03   0.05   0.1    0.3
    #   5e-4            87.96  94.21  95.14  93.29  88.89  86.34
    #   5e-3            87.15  94.33  95.25  93.75  90.97
    # Between the two weight decays there is no difference at the best rate: 5e-4 is the papers'.
    config.epochs = 30
    config.batch_size = 128  # the last, partial batch of an epoch is dropped
    config.learning_rate = 0.03  # at the start; cosine to zero
    config.momentum = 0.9
    config.weight_decay = 5e-4  # added to the gradient of every weight, as PyTorch's SGD has it

    config.seed = 0  # of the initial weights and the order of the examples
    return config
