"""Search for settings by validation tasks, with Optuna: a command of every script.

A trial is a run, or one per seed, in a folder of its own (`trials`): trained in parts, judged on
validation tasks after each, given up where others do better (`command` says by what). Any number of
processes on any number of machines may work on one search (`storage`); what one of them leaves
unfinished another one goes on with.
"""
