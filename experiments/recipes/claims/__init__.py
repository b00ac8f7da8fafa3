"""The papers' claims, each with the test that decides it from the results of recipes."""

from experiments.recipes.claims import aesam, lookbehind

CLAIMS = {"Lookbehind-SAM": lookbehind.CLAIMS, "AE-SAM": aesam.CLAIMS}
