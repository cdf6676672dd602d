"""metarl: agents that learn a new maze within one trial, and the learners behind them.

Every method is *tasks → adaptation → meta-update*: a meta-batch of tasks arrives, fast weights
adapt to each task while slow weights stand still, and a meta-gradient moves what is shared.
"""

__version__ = "0.1.0"
