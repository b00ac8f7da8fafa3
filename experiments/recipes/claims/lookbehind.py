"""Claims L1 to L23 of Lookbehind-SAM."""

from experiments.recipes.claims import lookbehind_tests as tests
from experiments.recipes.claims.claim import (
    Claim,
    all_of,
    close,
    in_range,
    larger,
)

CLAIMS = [
    Claim(
        "L1",
        "A larger rho in SAM raises the training loss and lowers the sharpness.",
        "section 1, Figure 1",
        tests.l1,
        [tests.FIGURE_1],
    ),
    Claim(
        "L2",
        "Multistep-SAM does not improve the trade-off of loss and sharpness; nor does "
        "Lookahead-SAM.",
        "section 1, Figure 1",
        tests.l2,
        [tests.FIGURE_1],
        "Tested: not lower in both; the paper says it of Lookahead-SAM at larger rho only.",
    ),
    Claim(
        "L3",
        "Lookbehind lowers loss and sharpness both, at small and large rho.",
        "section 1, Figure 1",
        all_of(
            tests.at_radii("Lookbehind-{0}", "{0}", "loss"),
            tests.at_radii("Lookbehind-{0}", "{0}", "m_sharpness"),
        ),
        [tests.FIGURE_1],
    ),
    Claim(
        "L4",
        "Lookbehind is best on every model and dataset, for SAM and for ASAM, and always above "
        "Lookahead-SGD.",
        "4.2, Table 1",
        all_of(*tests.best_of_table_1()),
        [tests.TABLE_1],
    ),
    Claim(
        "L5",
        "On ImageNet only Lookbehind beats SAM and ASAM.",
        "4.2, Table 1",
        all_of(
            *(
                larger(tests.TABLE_1, f"Lookbehind-{family}", family, column="ImageNet")
                for family in tests.FAMILIES
            )
        ),
        [tests.TABLE_1],
        "Needs ImageNet.",
    ),
    Claim(
        "L6",
        "Lookbehind's minima have the lowest m-sharpness at all radii and training rho.",
        "4.3, Figure 3",
        all_of(*tests.sharpness()),
        [tests.FIGURE_3],
        "Tested at the third radius of SAM's ball.",
    ),
    Claim(
        "L7",
        "Lookbehind keeps the most accuracy under weight noise.",
        "4.4, Figure 4",
        all_of(*tests.noise()),
        ["lookbehind.figure4"],
        "Tested at sigma = 0.3.",
    ),
    Claim(
        "L8",
        "Lifelong learning: best average accuracy and least forgetting, without and with replay, "
        "and with C-MAML.",
        "4.5, Table 2",
        all_of(*tests.table_2()),
        [tests.TABLE_2],
    ),
    Claim(
        "L9",
        "Only Lookbehind beats SAM and ASAM at every k, and it tends to improve with k.",
        "5.1, Figure 5",
        tests.every_k,
        [tests.FIGURE_5],
        "Tested: Lookbehind's part.",
    ),
    Claim(
        "L10",
        "Lookahead is slightly better than Multistep.",
        "5.1, Figure 5",
        tests.l10,
        [tests.FIGURE_5],
    ),
    Claim(
        "L11",
        "Lookbehind beats SAM and ASAM at every rho.",
        "5.2, Figure 6",
        tests.l11,
        ["lookbehind.figure6"],
    ),
    Claim(
        "L12",
        "Lookbehind improves for all k but k = 2 with SAM on CIFAR-10.",
        "5.3, Figures 7, 13",
        tests.l12,
        ["lookbehind.figure7"],
        "Tested at the best alpha of each k, which favours Lookbehind; the diagonal trend of alpha "
        "and k is left to the figure.",
    ),
    Claim(
        "L13",
        "The benefit arises early: a late switch to Lookbehind gains little.",
        "5.4, Figure 8",
        tests.l13,
        ["lookbehind.figure8"],
        "Tested: Lookbehind from the start against Lookbehind in the last quarter.",
    ),
    Claim(
        "L14",
        "Adaptive alpha is competitive with static alpha.",
        "6.1, Table 3",
        all_of(
            close("lookbehind.table3", "+ adaptive alpha", "Lookbehind-SAM", 1.0),
            close("lookbehind.table3", "+ adaptive alpha (ASAM)", "Lookbehind-ASAM", 1.0),
        ),
        ["lookbehind.table3"],
        "Competitive: within one point.",
    ),
    Claim(
        "L15",
        "With switched minibatches Lookbehind improves on SAM and on ASAM.",
        "6.2, Table 4",
        all_of(
            larger("lookbehind.table4", "Lookbehind-SAM", "SAM", "score"),
            larger("lookbehind.table4", "Lookbehind-ASAM", "ASAM", "score"),
        ),
        ["lookbehind.table4"],
    ),
    Claim(
        "L16",
        "SAM and ASAM have saturated before the end of training.",
        "A.1.1, Table 5",
        all_of(*(in_range("lookbehind.table5", f, "best_epoch", 0, 39) for f in tests.FAMILIES)),
        ["lookbehind.table5"],
        "Tested at scale laptop: the best epoch of 40 comes before the last one. With wrong labels "
        "this is memorization rather than saturation.",
    ),
    Claim(
        "L17",
        "Steps of rho are better than steps of rho / k, always.",
        "A.1.2, Figure 9",
        tests.l17,
        ["lookbehind.figure9"],
    ),
    Claim(
        "L18",
        "Adaptive alpha is lower for larger k, and falls during training, in particular where the "
        "learning rate drops.",
        "A.1.3, Figure 10",
        tests.l18,
        ["lookbehind.figure10"],
    ),
    Claim(
        "L19",
        "Lookbehind is more robust to alpha and k than Lookahead.",
        "A.6, Figures 13, 14",
        tests.l19,
        ["lookbehind.figure13", "lookbehind.figure14"],
        "Tested: the deviation of accuracy over the grid.",
    ),
    Claim(
        "L20",
        "Lookbehind improves on SAM and ASAM with cosine schedule and label smoothing, untuned.",
        "A.7, Table 8",
        all_of(*(larger("lookbehind.table8", f"Lookbehind-{f}", f) for f in tests.FAMILIES)),
        ["lookbehind.table8"],
    ),
    Claim(
        "L21",
        "Lookbehind improves m-SAM and m-ASAM in every setting but alpha = 0.2, k = 2.",
        "A.8, Table 9",
        tests.l21,
        ["lookbehind.table9"],
    ),
    Claim(
        "L22",
        "Lookbehind reaches Multistep's accuracy at about half of the gradient computations.",
        "A.9, Table 10",
        tests.l22,
        ["lookbehind.table10"],
        "Tested: at most 60%.",
    ),
    Claim(
        "L23",
        "Lookbehind takes as many gradient computations as Multistep.",
        "sections 3, 6",
        tests.l23,
        [tests.TABLE_1],
        "Both take k + 1 here, counting the clean one, where the paper counts 2k: gradients at one "
        "minibatch are reused.",
    ),
]
