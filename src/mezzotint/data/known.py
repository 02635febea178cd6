"""The picture sets that go by a short name."""

from typing import NamedTuple


class Known(NamedTuple):
    """A set with a short name: its id on the dataset hub ("": it is bundled), and what is usual for it."""

    hub: str
    size: int  # height and width in pixels
    flip: bool = False  # whether mirrored pictures are pictures of the same set
    only: str | None = None  # the one class that is used


# Flips are off where they would make what the set does not have: mirrored digits, and mirrored clothes
# (shoes all point left) and objects of Caltech-101 (its authors turned aeroplanes and motorbikes to face
# one way).
KNOWN = {
    "digits": Known("", 8),
    "mnist": Known("ylecun/mnist", 28),
    "fashion_mnist": Known("zalando-datasets/fashion_mnist", 28),
    "cifar10": Known("uoft-cs/cifar10", 32, flip=True),
    "flowers": Known("nelorth/oxford-flowers", 64, flip=True),
    "caltech101": Known("flwrlabs/caltech101", 64),
    "airplanes": Known("flwrlabs/caltech101", 64, only="airplanes"),
}


def flips_by_default(name: str) -> bool:
    """Whether training mirrors a set's pictures unless told otherwise; never for sets unknown to us."""
    return name in KNOWN and KNOWN[name].flip
