"""An environment that goes to its agent, and ends when the agent closes.

Start server_env.py beside it, before or after.
"""

import argparse

import ferry

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("env_id", nargs="?", default="CartPole-v1", help="any id that gymnasium.make knows")
parser.add_argument("address", nargs="?", default="trainer")
arguments = parser.parse_args()
ferry.ClientBackend(arguments.env_id, arguments.address).run()
