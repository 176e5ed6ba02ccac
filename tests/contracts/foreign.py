"""Somebody else on the same Ray cluster, as a training job is: an actor with a GPU, a placement group with another one.

`python -m tests.contracts.foreign ADDRESS` says that it is there, and goes when its stdin is closed.
"""

import sys
from typing import Any

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote(num_gpus=1, num_cpus=0.5)
class Trainer:
    def is_there(self) -> bool:
        return True


def main() -> None:
    ray.init(address=sys.argv[1], namespace="others", log_to_driver=False)
    group = placement_group([{"GPU": 1, "CPU": 1}])
    ray.get(group.ready())
    inside = PlacementGroupSchedulingStrategy(placement_group=group)
    trainer: Any = Trainer  # Ray's decorator made it an actor class
    trainers = [trainer.remote(), trainer.options(scheduling_strategy=inside).remote()]
    assert all(ray.get([each.is_there.remote() for each in trainers]))
    sys.stdout.write("there\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
