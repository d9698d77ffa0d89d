"""The figures: tables of the analysis and the aggregation -> matplotlib figures, drawn with seaborn.

pyplot does not keep the figures, so the caller can save or drop them. If a table lacks the rows that a figure needs,
there is none, and a `drawing.Missing` says why.
"""
