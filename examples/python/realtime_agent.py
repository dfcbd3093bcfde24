"""An agent in real time: balances the pole that build/examples/realtime_pole serves.

python realtime_agent.py [ADDRESS [SECONDS]]: until the episode ends, after 10 s at the latest, or for so many seconds.
"""

import statistics
import sys

import numpy as np

import ferry

GAINS = np.array([1.0, 2.2, 31.0, 8.0])  # newtons for each m, m/s, rad and rad/s

address = sys.argv[1] if len(sys.argv) > 1 else "pole"
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
observation_ages, action_ages, skipped = [], [], 0
with ferry.RealtimeEnv(address, pace="frame") as env:
    observation, info = env.reset(seed=1)
    total, ended = 0.0, False
    while not ended and total < seconds - 1e-6:
        action = np.array([GAINS @ observation], np.float32).clip(-10, 10)
        observation, reward, terminated, truncated, info = env.step(action)
        total, ended = total + reward, terminated or truncated
        told = info["ferry"]
        skipped += told["skipped"]
        observation_ages.append(told["obs_age_s"] * 1e6)
        if told["action_age_s"] is not None:  # the first frame may have been begun before there was an action
            action_ages.append(told["action_age_s"] * 1e6)
print(f"return {total:g} in {told['frame']} frames, {skipped} of them passed over")
for name, ages in (("observations", observation_ages), ("actions", action_ages)):
    print(f"{name} were {statistics.median(ages):.0f} us old, at most {max(ages):.0f}")
