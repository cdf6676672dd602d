"""The bridge to Stable-Baselines3, by the conventions of its version 2.9.

Our tasks as an SB3 ``VecEnv`` (`TaskVecEnv`), adapted weights for its ``evaluate_policy``
(`AdaptedPolicy`), its models before our evaluator (`SB3Agent`), and PPO that is fine-tuned to every
task (`fine_tune`). Nothing else in the package imports SB3, and ``import metarl`` does not.

    >>> from stable_baselines3 import PPO
    >>> from envs import PointNavigationVectorEnv
    >>> from metarl.sb3 import TaskVecEnv
    >>> points = PointNavigationVectorEnv(16, autoreset_mode="SameStep")
    >>> model = PPO("MlpPolicy", TaskVecEnv(points)).learn(10_000)
"""

from stable_baselines3 import PPO

from metarl.sb3.agent import AdaptedPolicy, SB3Agent
from metarl.sb3.episodes import play_episodes, rollout_buffer
from metarl.sb3.fine_tuning import FineTuning, adaptation, copy_of, fine_tune
from metarl.sb3.global_generators import draw_seed, seeded
from metarl.sb3.learner import PPOLearner
from metarl.sb3.task_vec_env import TaskVecEnv

__all__ = [
    "PPO",
    "AdaptedPolicy",
    "FineTuning",
    "PPOLearner",
    "SB3Agent",
    "TaskVecEnv",
    "adaptation",
    "copy_of",
    "draw_seed",
    "fine_tune",
    "play_episodes",
    "rollout_buffer",
    "seeded",
]
