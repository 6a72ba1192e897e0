"""One command before a training run: check, scan, fuzz and smoke in order of cost, by one policy, into one report.

The steps are those of the commands of these names; this room adds their order, what of them became useless, and the
merging. It is the command line's; who writes Python calls the steps.
"""
