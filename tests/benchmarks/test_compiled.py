"""Upper bounds on what compiled steps read, write, copy and communicate, without an accelerator."""

import pytest

from benchmarks.sections import compiled, policies
from benchmarks.targets import TARGETS, is_available

# As in docs/performance.md: kernels; reads and writes besides those of the gradients and of SGD, in
# units of the weights; bytes of all-reduces with and without sync_perturbation.
BOUNDS = {
    "H200": {
        "SGD": (22, 0, 1, 1),
        "SAM": (53, 4, 2, 1),
        "Multistep-SAM, k = 5": (186, 22, 6, 1),
        "Lookbehind-SAM, k = 5": (208, 38, 6, 1),
        "Lookbehind-SAM, k = 5, adaptive": (231, 51, 6, 2),
        "AE-SAM, SAM used": (66, 5, 2, 2),
    },
}


@pytest.mark.parametrize("target", BOUNDS)
def test_steps_stay_within_their_bounds(target):
    if not is_available(target):
        pytest.skip(f"the compiler for {target} is not installed ({TARGETS[target].plugin})")
    rows = {row["step"]: row for row in compiled.measure_target(target)}
    assert rows.keys() == BOUNDS[target].keys()
    for step, (kernels, passes, synced, unsynced) in BOUNDS[target].items():
        row = rows[step]
        assert row["kernels"] <= 1.05 * kernels, step
        assert row["reads"] + row["writes"] <= 1.01 * passes, step
        assert row["copies"] <= 1, step
        assert row["all-reduced"] <= 1.01 * synced, step
        assert row["unsynced"] <= 1.01 * unsynced, step
        # A gradient under FSDP gathers and scatters as much as SGD's.
        assert row["FSDP"] <= 1.1 * row["gradients"], step


def test_a_constraint_on_the_gradient_keeps_a_policys_branch_sharded():
    target = "H200"
    if not is_available(target):
        pytest.skip(f"the compiler for {target} is not installed ({TARGETS[target].plugin})")
    rows = {row["step"]: row for row in policies.measure_target(target)}
    for name in ("AE-SAM", "SS-SAM"):
        assert rows[name]["memory, constrained"] <= rows["SAM"]["memory"] + 1.5
        assert rows[name]["communicated, constrained"] <= 2.02
