"""An agent that serves an address and waits for an environment to play in (python server_env.py [ADDRESS]).

Start client_backend.py beside it, before or after.
"""

import sys

import ferry

with ferry.ServerEnv(sys.argv[1] if len(sys.argv) > 1 else "trainer") as env:
    env.reset(seed=1)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total, ended = total + float(reward), terminated or truncated
print(f"return {total:g}")
