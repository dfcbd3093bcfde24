"""Stable-Baselines3 learns in the environment that serves "pole": start build/examples/pole beside it."""

from stable_baselines3 import PPO

import ferry

model = PPO("MlpPolicy", ferry.ClientEnv("pole"), verbose=1)
model.learn(total_timesteps=20_000)
