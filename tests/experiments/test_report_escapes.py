"""Names and values from the files of a run cannot write HTML into the report."""

from types import SimpleNamespace

import numpy as np

from experiments.analysis import html
from experiments.analysis.aggregate import Analysis
from experiments.analysis.groups import Group
from experiments.reporting.provenance import provenance

ATTACK = '"><script>alert(1)</script>'


def test_every_name_and_value_of_a_run_is_escaped():
    examples = SimpleNamespace(labels=np.zeros((2, 3)))
    run = SimpleNamespace(
        path=f"runs/{ATTACK}",
        config=SimpleNamespace(seed=ATTACK, model=ATTACK, dataset=ATTACK),
        checkpoint=SimpleNamespace(epoch=1),
        batches=SimpleNamespace(examples=examples),
        data=SimpleNamespace(test=examples),
    )
    analysis = Analysis([Group(ATTACK, [run])], {}, {ATTACK: ATTACK})
    options = SimpleNamespace(batchnorm="running")
    made = provenance("experiments.analyze", [ATTACK])
    text = html.report(analysis, {}, {}, options, made)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 7  # model, dataset, group twice, seed twice, path, ...
