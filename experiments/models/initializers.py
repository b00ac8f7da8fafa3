"""How weights start, as in the papers' PyTorch code. Every model takes its initializers here."""

import jax

# He et al., 2015, keeping the variance of the backward pass: kaiming_normal_(mode="fan_out").
CONV = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# PyTorch's own for linear layers, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
DENSE = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
