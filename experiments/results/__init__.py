"""Results of runs: a tidy table, statistics over seeds, tables, figures and measures.

``table.py`` has the table that everything else takes: one number a row, with the run, the
parameters, the seed and the epoch that it belongs to.
"""
