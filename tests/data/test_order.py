"""The order of the data: every epoch a fresh permutation, a pure function of (seed, position)."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from mezzotint import randomness
from mezzotint.data.order import Order, Window, WindowedOrder


@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_every_epoch_holds_everything_once(total: int) -> None:
    order = Order(total, seed=3)
    for epoch in range(4):
        assert order(epoch * total, total).sort().values.tolist() == list(range(total))


def test_epochs_and_seeds_shuffle_differently() -> None:
    permutations = [Order(50, seed).permutation(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    permutations.append(list(range(50)))
    assert len({tuple(p) for p in permutations}) == 5


def test_any_position_can_be_asked_for_first() -> None:
    whole = Order(10, seed=5)(0, 47)
    for start in (0, 3, 9, 10, 23, 30, 46):
        for count in (1, 4, 10, 21):
            part = Order(10, seed=5)(start, count)  # a new one, with no memory of what came before
            assert part.dtype == torch.int64
            assert torch.equal(part[: 47 - start], whole[start : start + count])


def test_going_back_gives_the_same() -> None:
    order = Order(10, seed=5)
    first = order(0, 20)
    order(35, 3)
    assert torch.equal(order(0, 20), first)


def test_a_large_seed_is_used_whole() -> None:
    assert not torch.equal(Order(20, 7).permutation(0), Order(20, 7 + 2**40).permutation(0))
    assert len(Order(20, 2**63 - 1)(0, 20)) == 20


def test_places_are_uniform() -> None:
    """Where one thing of 8 stands in 4,000 epochs: chi-squared below the 1 in 10,000 quantile for 7 degrees, 29.9."""
    order = Order(8, seed=0)
    places = torch.stack([order.permutation(epoch) for epoch in range(4000)])
    for thing in (0, 3, 7):
        counts = (places == thing).sum(0).double()
        assert float((counts - 500).square().sum() / 500) < 29.9


def test_every_purpose_draws_numbers_of_its_own() -> None:
    names = ("EPS", "LEVEL", "LABEL_DROP", "AUGMENT", "ORDER", "DROPOUT", "WINDOW")
    assert len({getattr(randomness, name) for name in names}) == len(names)


class TestWindows:
    """Rows in blocks: every epoch has each once, of which a window needs few blocks."""

    ROWS = (5, 1, 0, 8, 3, 3, 7, 2, 5, 4)  # 38

    def order(self, most: int = 10, seed: int = 3, rows: tuple[int, ...] = ROWS) -> WindowedOrder:
        return WindowedOrder(rows, rows, most, seed)

    def windows(self, order: WindowedOrder, epochs: int) -> list[Window]:
        found = [order.window(0)]
        while found[-1].stop < epochs * order.total:
            found.append(order.window(found[-1].stop))
        return found

    @pytest.mark.parametrize("most", [1, 10, 10**6])
    @pytest.mark.parametrize("rows", [ROWS, (1,), (4,), (0, 0, 2, 0)])
    def test_every_epoch_holds_every_row_once(self, rows: tuple[int, ...], most: int) -> None:
        everything = Counter((block, row) for block, n in enumerate(rows) for row in range(n))
        order = self.order(most, rows=rows)
        windows = self.windows(order, epochs=4)
        assert all(one.stop == other.start for one, other in pairwise(windows)) and windows[0].start == 0
        for epoch in range(4):
            parts = [w for w in windows if epoch * order.total <= w.start < (epoch + 1) * order.total]
            assert sum((Counter(zip(w.block, w.row)) for w in parts), Counter()) == everything

    def test_any_position_can_be_asked_for_first(self) -> None:
        order = self.order()
        for position in (0, 1, 20, 37, 38, 39, 200, 38 * 10**9):
            window = self.order().window(position)  # a new one, with no memory of what came before
            assert window == order.window(position) and window.start <= position < window.stop
            assert all(self.order().window(other) == window for other in range(window.start, window.stop))

    def test_a_window_needs_few_blocks_and_all_of_them(self) -> None:
        rows = (3,) * 100
        windows = self.windows(self.order(most=12, rows=rows), epochs=3)
        assert {len(set(window.block)) for window in windows} == {4} and len(windows) == 3 * 25
        assert all(len(window.block) == 12 for window in windows)
        for window in self.windows(self.order(), epochs=5):
            assert len(window.block) <= 10 + max(self.ROWS)

    def test_epochs_and_seeds_shuffle_differently(self) -> None:
        for most in (10, 10**6):
            firsts = [self.order(most, seed).window(epoch * 38) for seed in (0, 1, 2**40) for epoch in (0, 1)]
            assert len({(tuple(w.block), tuple(w.row)) for w in firsts}) == 6

    def test_rows_of_the_blocks_of_a_window_are_mixed(self) -> None:
        window = self.order(most=10**6, rows=(50, 50)).window(0)
        changes = sum(one != other for one, other in pairwise(window.block))
        assert 35 < changes < 65  # 50 and 5 are expected of a fair shuffle
        assert window.row != sorted(window.row)

    def test_windows_of_an_epoch_shuffle_their_rows_differently(self) -> None:
        windows = self.windows(self.order(most=20, rows=(20,) * 30), epochs=2)
        assert len({tuple(window.row) for window in windows}) == 60

    def test_places_are_uniform(self) -> None:
        """Of 8 rows in 4 blocks and 2 windows, where one stands: as `test_places_are_uniform` above."""
        order = self.order(most=4, seed=0, rows=(2, 2, 2, 2))
        counts = Counter(
            window.start % 8 + place
            for window in self.windows(order, epochs=1600)
            for place, here in enumerate(zip(window.block, window.row))
            if here == (2, 1)
        )
        assert sum((counts[place] - 200) ** 2 for place in range(8)) / 200 < 29.9
