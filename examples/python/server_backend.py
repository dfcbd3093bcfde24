"""An environment that serves an address; agents come and go."""

import argparse

import ferry

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("env_id", nargs="?", default="CartPole-v1", help="any id that gymnasium.make knows")
parser.add_argument("address", nargs="?", default="pole")
arguments = parser.parse_args()
ferry.ServerBackend(arguments.env_id, arguments.address).run()
