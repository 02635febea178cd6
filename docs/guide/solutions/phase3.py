"""Solutions to the exercises of phase 3, training: python docs/guide/solutions/phase3.py prints them all."""

from collections.abc import Iterator

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn

import mezzotint
from mezzotint import Denoiser, DenoisingLoss, Empirical
from mezzotint.cond import Batch
from mezzotint.data import load_pictures, points, to_model
from mezzotint.diffusion import loss, parameterization, process, schedule
from mezzotint.nets import MLP
from mezzotint.train import Ema, State, adamw, held_out_loss, learning_rate, train
from mezzotint.train.posthoc import coefficients


def exercise_3_1() -> dict[str, float]:
    """Which weight does "simple" put on the error of the belief, and what is EDM's preconditioning for data of spread 1?

    The belief is c_skip x + c_out F, so its error is c_out times that of F, and a loss of weight 1 on F is one of weight
    1 / c_out^2 on x0. In a variance-preserving process that is 1 for x0, SNR for eps, SNR + 1 for v and SNR + 1 /
    sigma_data^2 for edm; in the flow process it is (sqrt(SNR) + 1)^2 for velocity, as sigma = 1 / (sqrt(SNR) + 1). With sigma_data = 1, edm *is* v, but for the sign of F.

    Returns the largest relative deviation from each of these statements, over logsnr from -8 to 8.
    """
    logsnr = torch.linspace(-8, 8, 65, dtype=torch.float64)
    alpha, sigma = process.vp(logsnr)
    snr = logsnr.exp()
    expected = {
        "x0": (parameterization.x0, torch.ones_like(snr)),
        "eps": (parameterization.eps, snr),
        "v": (parameterization.v, snr + 1),
        "edm": (parameterization.edm, snr + 4),  # sigma_data = 0.5
    }
    found = {
        name: float((kind(alpha, sigma).c_out ** -2 / weight - 1).abs().max())
        for name, (kind, weight) in expected.items()
    }
    found["velocity"] = float(
        (parameterization.velocity(*process.flow(logsnr)).c_out ** -2 / (snr.sqrt() + 1) ** 2 - 1).abs().max()
    )
    ours, theirs = parameterization.v(alpha, sigma), parameterization.edm(alpha, sigma, sigma_data=1.0)
    pairs = ((ours.c_skip, theirs.c_skip), (ours.c_out, -theirs.c_out), (ours.c_in, theirs.c_in))
    found["edm is -v"] = max(float((a - b).abs().max()) for a, b in pairs)
    return found


def exercise_3_2() -> dict[str, float]:
    """What does the best denoiser say of a coin, x0 = -1 or 1, and does regression find it?

    By Bayes, P(1 | x) / P(-1 | x) = exp(2 alpha x / sigma^2), so E[x0 | x] = tanh(alpha x / sigma^2). It is neither -1
    nor 1: at x = 0 it is 0, a value that no coin has. The mean of x0 over pairs whose x fell near 0.5 agrees.

    Returns the formula at x = 0.5 and logsnr 0 (tanh(1 / sqrt 2)), the ideal denoiser of the set {-1, 1} there, and the
    mean over pairs.
    """
    level = torch.zeros((), dtype=torch.float64)
    alpha, sigma = process.vp(level)
    torch.manual_seed(0)
    x0 = torch.randint(2, (1_000_000,)).double() * 2 - 1
    x = alpha * x0 + sigma * torch.randn_like(x0)
    near = (x - 0.5).abs() < 0.02
    ideal = Empirical(process.vp, torch.tensor([[-1.0], [1.0]]))
    return {
        "formula": float((alpha * 0.5 / sigma**2).tanh()),
        "ideal": float(ideal(torch.tensor([[0.5]], dtype=torch.float64), level)),
        "pairs": float(x0[near].mean()),
    }


def exercise_3_3(sides: int = 2) -> float:
    """How many nats is the area under the floor of a coin, or of a die?

    The bound on -log P is 1/2 the integral of SNR E|x0 - E[x0 | x]|^2 over logsnr, and with the exact belief it is the
    entropy of the data: log 2 for a coin, log 6 for a die (Guo, Shamai & Verdú 2005). The schedule has no part in it.

    Sides lie at distance 1 from each other on a line. Returns the area by the trapezoidal rule, in nats.
    """
    data = torch.arange(sides, dtype=torch.float64)[:, None]
    ideal = Empirical(process.vp, data)
    eps, weight = (torch.from_numpy(each) for each in hermegauss(64))  # for means over a normal number
    weight = weight / weight.sum()
    logsnr = torch.linspace(-14, 8, 221, dtype=torch.float64)
    x0 = data.repeat_interleave(len(eps), 0)
    shares = weight.repeat(sides) / sides
    inside = []
    for level in logsnr:
        x = process.add_noise(process.vp, x0, eps.repeat(sides)[:, None], level)
        inside.append(level.exp() / 2 * (shares * (ideal(x, level) - x0)[:, 0].square()).sum())
    return float(torch.trapezoid(torch.stack(inside), logsnr))


def exercise_3_4(batches: int = 40, size: int = 64) -> dict[str, float]:
    """How much quieter is the loss of a batch whose levels are spread evenly?

    Levels drawn freely add the variance of the mean loss between levels; spread ones leave only the variance within a
    level. DDPM's loss is close to 1 where a picture is nearly clean and close to 0 in noise, so much of its variance lies
    between levels: spread over a batch of 64 it scatters less than half as much, for which one would otherwise need about
    five times as many pictures.

    Returns the standard deviation of a batch's mean loss, drawn freely and spread.
    """
    model = mezzotint.load("digits", device="cpu", precision="fp32")
    objective = DenoisingLoss(model.denoiser, schedule.linear(), loss.snr)  # SNR on x0 is 1 on eps
    images = load_pictures("digits").images
    assert isinstance(images, Tensor)
    pictures = to_model(images[:size])  # always the same: only levels and noise change
    torch.manual_seed(0)
    found = {}
    for name, spread in (("free", lambda u: u), ("spread", loss.stratified)):
        means = []
        for _ in range(batches):
            u = spread(torch.rand(size, dtype=torch.float64))
            with torch.no_grad():
                means.append(objective(pictures, torch.randn_like(pictures), u).mean())
        found[name] = float(torch.stack(means).std())
    return found


def exercise_3_5(steps: int = 1000) -> dict[str, float]:
    """Does beta = (1 - 1 / t)^(gamma + 1) weigh step tau by tau^gamma, and can a length be had that was never followed?

    Unrolled, step tau has (1 - beta(tau)) beta(tau + 1) ... beta(t), and the product telescopes to
    (tau^(gamma + 1) - (tau - 1)^(gamma + 1)) / t^(gamma + 1): the mass that the density ~ tau^gamma has between tau - 1
    and tau. Its spread is the length, 0.1. Snapshots of 0.05 and 0.2 combine to nearly the average of 0.1.

    Returns the spread of the weights as a share of training, and, for a weight that wanders at random, the error of
    the average that was made afterwards as a share of that of the average of length 0.05.
    """
    number = nn.Linear(1, 1, bias=False).double()
    averages = {length: Ema(number, length) for length in (0.05, 0.1, 0.2)}
    marks = Ema(nn.Linear(steps, 1, bias=False).double(), 0.1)
    unit = nn.Linear(steps, 1, bias=False).double()
    walk = torch.randn(steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    taken: list[tuple[int, float, float]] = []

    def followed(average: Ema) -> float:
        return next(average.net.parameters()).item()

    for step in range(1, steps + 1):
        with torch.no_grad():
            number.weight.fill_(walk[step - 1])
            unit.weight.zero_()[0, step - 1] = 1
        for average in averages.values():
            average.update(number, step)
        marks.update(unit, step)  # in the end, its entries are the weights of the steps
        if step % (steps // 10) == 0:
            taken += [(step, each, followed(averages[each])) for each in (0.05, 0.2)]
    weights = next(marks.net.parameters())[0]
    tau = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    mean = (weights * tau).sum()
    shares = coefficients([t for t, _, _ in taken], [each for _, each, _ in taken], steps, 0.1)
    made = sum(share * value for share, (_, _, value) in zip(shares.tolist(), taken))
    truth, other = followed(averages[0.1]), followed(averages[0.05])
    return {
        "spread": float((weights * (tau - mean).square()).sum().sqrt()),
        "error": abs(made - truth) / abs(other - truth),
    }


def exercise_3_6(count: int = 12, steps: int = 1000) -> dict[str, float]:
    """What does a network learn from twelve points?

    Its training loss goes below the floor of the distribution, on to that of the ideal denoiser of those twelve, which
    can end at nothing but one of them. The held-out loss goes up while it does so: that is how copies look in numbers.

    Returns training and held-out loss of the network, the floor of the twelve, and the held-out loss of a network that
    saw fresh points at every step.
    """
    levels = schedule.lognormal(0.0, 1.2)
    few = points("mixture", count, seed=5)[0]
    held = [Batch(points("mixture", 1024, seed=(7, i))[0]) for i in range(4)]
    shown = [Batch(few.repeat(1024 // count, 1)) for _ in range(4)]
    found = {}
    for name in ("few", "many"):
        torch.manual_seed(0)
        net = MLP(width=64, depth=2)
        objective = DenoisingLoss(Denoiser(net, process.flow, parameterization.velocity), levels)
        state = State(net, adamw(net), Ema(net, 0.1))
        batches = shuffled(few, steps) if name == "few" else fresh(steps)
        for _ in train(objective, state, batches, until=steps, lr=learning_rate(4e-3)):
            pass
        if name == "few":
            found["training"] = held_out_loss(objective, shown).loss
            found["held out"] = held_out_loss(objective, held).loss
            found["floor of the twelve"] = held_out_loss(_of_belief(few, levels), shown).loss
        else:
            found["held out, of many"] = held_out_loss(objective, held).loss
    return found


def shuffled(few: Tensor, steps: int) -> Iterator[Batch]:
    """Batches of 256 rows drawn from a few points. Drawn, and not cycled through: row i of a batch has a level near
    i / 256, so that in a fixed order every point would be seen at a few levels only, always the same."""
    drawn = torch.Generator().manual_seed(0)
    for _ in range(steps):
        yield Batch(few[torch.randint(len(few), (256,), generator=drawn)])


def fresh(steps: int) -> Iterator[Batch]:
    """Batches of points never seen before."""
    for step in range(steps):
        yield Batch(points("mixture", 256, seed=(0, step))[0])


def _of_belief(data: Tensor, levels: schedule.Schedule) -> DenoisingLoss:
    """The same loss for the ideal denoiser of a set: F is what its belief asks of a network."""
    ideal = Empirical(process.flow, data)

    class Ideal(Denoiser):
        def predict(self, x: Tensor, logsnr: Tensor, cond: mezzotint.Cond = mezzotint.Cond()) -> Tensor:  # noqa: B008
            c = self.parameterization(*self.process(logsnr))
            return (ideal(x, logsnr) - process.per_row(c.c_skip, x) * x) / process.per_row(c.c_out, x)

    return DenoisingLoss(Ideal(nn.Identity(), process.flow, parameterization.velocity), levels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("3.1", exercise_3_1())
    print("3.2", exercise_3_2())
    print("3.3", exercise_3_3(), exercise_3_3(6))
    print("3.4", exercise_3_4())
    print("3.5", exercise_3_5())
    print("3.6", exercise_3_6())
