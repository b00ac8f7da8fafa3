"""A quadratic loss, a training run on it in JAX, and the same in matrix form in NumPy.

On ``L(w) = w H w / 2`` every gradient is ``H w``, so that each method is a few lines of linear
algebra. The references here are those lines, from the formulas of the papers; they share no code
with the library.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SHAPES = {"kernel": (3, 3), "bias": (3,)}
SIZE = 12
# A saddle: one negative curvature, and positive ones over two orders of magnitude.
SADDLE = np.array([-0.4, *np.geomspace(0.05, 3, SIZE - 1)])
BOWL = np.geomspace(0.3, 3, SIZE)


def hessian(curvatures, seed=0):
    """A symmetric matrix with these eigenvalues in a random orthogonal basis, and the basis."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(curvatures),) * 2))[0]
    return basis @ np.diag(curvatures) @ basis.T, basis


def start(seed=1):
    """Weights of norm 1."""
    w = np.random.default_rng(seed).normal(size=SIZE)
    return w / np.linalg.norm(w)


def unflatten(w):
    """A vector as weights in two leaves."""
    return {"kernel": jnp.reshape(w[:9], (3, 3)), "bias": w[9:]}


def flatten(params):
    return jnp.concatenate([jnp.ravel(params["kernel"]), params["bias"]])


def run(tx, h, w, steps, every=1):
    """The weights after every ``every``-th step of training in one compiled scan, and the state."""
    h = jnp.asarray(h)
    loss_fn = lambda params: flatten(params) @ h @ flatten(params) / 2

    def step(carry, _):
        params, state = carry
        grad_fn = lambda p, i: jax.grad(loss_fn)(p)
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        return (optax.apply_updates(params, updates), state), None

    def several(carry, _):
        carry, _ = jax.lax.scan(step, carry, length=every)
        return carry, flatten(carry[0])

    @jax.jit
    def train(params):
        return jax.lax.scan(several, (params, tx.init(params)), length=steps // every)

    (_, state), weights = train(unflatten(jnp.asarray(w)))
    return np.asarray(weights), state


def norm(x):
    return np.linalg.norm(x)


def ascent(h, g, rho, k=1):
    """The gradients at k points of the ascent: g_j = (I + rho H / |g_(j-1)|) g_(j-1)."""
    gradients = []
    for _ in range(k):
        g = g + rho * h @ g / norm(g)
        gradients.append(g)
    return gradients


def sgd(emit, eta, momentum=0.0):
    """The trajectory of SGD on what ``emit(g, w, t)`` makes of the gradient."""

    def trajectory(h, w, steps):
        weights, v = [], 0
        for t in range(steps):
            v = momentum * v + emit(h, h @ w, w, t)
            w = w - eta * v
            weights.append(w)
        return np.array(weights)

    return trajectory


def adaptive(first, total):
    """Equations 7 and 8 of the Lookbehind paper."""
    return (first @ total / (norm(first) * norm(total)) + 1) / 2


def fast_weights(rho, k, alpha, eta, momentum):
    """Algorithm 1 of the Lookbehind paper with momentum on the fast weights."""

    def trajectory(h, w, steps):
        weights, v = [], 0
        for _ in range(steps):
            f = w
            for g in ascent(h, h @ w, rho, k):
                v = momentum * v + g
                f = f - eta * v
            w = w + alpha * (f - w)
            weights.append(w)
        return np.array(weights)

    return trajectory


def projected_out(g, direction):
    return g - (g @ direction) / (direction @ direction) * direction


class Filtered:
    """SAM along a filtered gradient: ``direction(g, mean) -> d`` and the running mean's update."""

    def __init__(self, rho, direction, decay):
        self.rho, self.direction, self.decay, self.mean = rho, direction, decay, None

    def __call__(self, h, g, w, t):
        mean = g if self.mean is None else self.mean
        new = self.decay * mean + (1 - self.decay) * g
        d = g if self.mean is None else self.direction(g, mean, new)
        self.mean = new
        return g + self.rho * h @ d / norm(d)


class AdaptivePolicy:
    """AE-SAM's decision (section 3.2 of its paper); ``sharp`` and ``plain`` make the gradient."""

    def __init__(self, total_steps, lambda_1, lambda_2, sharp, plain, decay=0.9):
        self.mu, self.var = 0.0, np.exp(-10)
        self.total_steps, self.lambdas, self.decay = total_steps, (lambda_1, lambda_2), decay
        self.sharp, self.plain = sharp, plain

    def __call__(self, h, g, w, t):
        s, d = g @ g, self.decay
        self.mu = d * self.mu + (1 - d) * s
        self.var = d * self.var + (1 - d) * (s - self.mu) ** 2
        progress = min(t / self.total_steps, 1)
        c = progress * self.lambdas[0] + (1 - progress) * self.lambdas[1]
        apply = s >= self.mu + c * np.sqrt(self.var)
        return (self.sharp if apply else self.plain)(h, g, w, t)


class Reuse:
    """LookSAM's two kinds of steps, with the kept direction v."""

    def __init__(self, rho, alpha):
        self.rho, self.alpha, self.v = rho, alpha, None

    def sharp(self, h, g, w, t):
        (g_s,) = ascent(h, g, self.rho)
        self.v = projected_out(g_s, g)
        return g_s

    def plain(self, h, g, w, t):
        return g if self.v is None else g + self.alpha * norm(g) / norm(self.v) * self.v


def plain(h, g, w, t):
    return g
