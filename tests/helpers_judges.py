"""A judge of the bundled digits, trained once for all tests that need one, on 1,200 of them."""

from functools import cache

import torch
from torch import Tensor

from mezzotint.data.images import load_pictures
from mezzotint.evaluate.judges.classifier import Classifier, train_classifier

LEARNED = 1200


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All 1,797 pictures and their labels, in a random order: the first 1,200 are for learning."""
    pictures = load_pictures("digits")
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    images, labels = pictures.batch(order)
    assert labels is not None
    return images, labels


@cache
def judge() -> Classifier:
    images, labels = digits()
    return train_classifier(images[:LEARNED], labels[:LEARNED], 10, pictures_seen=12_000)
