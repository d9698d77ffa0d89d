"""The figures: tables of the analysis and the aggregation -> matplotlib figures.

A figure belongs to nobody (there is no pyplot state), so it can be drawn, saved or dropped. A table without
the rows that a figure needs gives a figure that says so.
"""
