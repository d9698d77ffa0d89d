"""Keep the tables of an experiment's finished runs: `archive.py results/<experiment> results/archive/<experiment>`."""

from softmax_rewards.verdicts.archiving import main

main()
