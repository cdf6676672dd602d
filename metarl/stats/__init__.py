"""Estimates with honest intervals, over seeds and over tasks.

Which to take: `bootstrap_ci` for one agent over many tasks; `mean_and_interval` (Student's t) over
a handful of seeds, where a bootstrap is too narrow. For scores [seeds, tasks] tell `bootstrap_ci`
what was drawn apart (`resampling`): `clustered` where one agent plays all tasks of its row,
`crossed` where the tasks, too, are a sample of many, `stratified` where every entry is a training
run of its own. `crossed_difference_ci` says how far two sets of agents on the same tasks are apart,
`probability_of_improvement` how often one beats the other, `performance_profile` how often every
score is exceeded.
"""

from metarl.stats.bootstrap import (
    Resampling,
    Statistic,
    bootstrap_ci,
    clustered,
    crossed,
    crossed_difference_ci,
    independent,
    stratified,
)
from metarl.stats.estimates import (
    Interval,
    IntervalArray,
    interquartile_mean,
    iqm,
    mean,
    mean_and_interval,
    normalised_score,
    student_t_quantile,
)
from metarl.stats.profiles import performance_profile, probability_of_improvement

__all__ = [
    "Interval",
    "IntervalArray",
    "Resampling",
    "Statistic",
    "bootstrap_ci",
    "clustered",
    "crossed",
    "crossed_difference_ci",
    "independent",
    "interquartile_mean",
    "iqm",
    "mean",
    "mean_and_interval",
    "normalised_score",
    "performance_profile",
    "probability_of_improvement",
    "stratified",
    "student_t_quantile",
]
