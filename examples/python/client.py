"""An agent: plays one episode, at random, in the environment that serves an address (python client.py [ADDRESS])."""

import sys

import ferry

with ferry.ClientEnv(sys.argv[1] if len(sys.argv) > 1 else "pole") as env:
    env.reset(seed=1)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total, ended = total + float(reward), terminated or truncated
print(f"return {total:g}")
