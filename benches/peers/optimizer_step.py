"""Time of one optimizer step on one n × n weight, in PyTorch, float32, on the CPU: the counterpart of
the example `optimizer_step`, with the same methods, options and kind of data.

PyTorch has SGD, Adagrad, RMSprop, Adam and Muon, each in the forms that it offers (a loop,
`foreach`, `fused`); KFAC, Shampoo and SOAP stand here as its users write them, with as few passes and
temporaries as in-place operations allow. A row METHOD/n is one weight, METHOD/8xn are eight.
Arguments and lines: measure.py.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

from measure import arguments, report, time_steps

THREADS, SECONDS, ROWS = arguments([])

import torch  # noqa: E402, the number of threads has to be set before

BETA, RIDGE, EPSILON = 0.95, 1e-6, 1e-8


def normals(n, seed):
    return torch.randn(n, n, generator=torch.Generator().manual_seed(seed))


def second_moment(n, seed):
    rows = torch.randn(4 * n, n, generator=torch.Generator().manual_seed(seed))
    return rows.T @ rows / (4 * n)


class Layer:
    """A weight, gradients that change from step to step, and a layer's factors."""

    def __init__(self, n):
        self.weight = torch.zeros(n, n)
        self.gradients = [normals(n, seed) for seed in range(4)]
        self.input, self.output = second_moment(n, 11), second_moment(n, 12)
        self.steps = 0

    def next_gradient(self):
        self.steps += 1
        return self.gradients[self.steps % len(self.gradients)]


def built_in(make):
    """A step of an optimizer of torch.optim."""

    def start(layer):
        weight = torch.nn.Parameter(layer.weight)
        optimizer = make([weight])

        def step():
            weight.grad = layer.next_gradient()
            optimizer.step()

        return step

    return start


def newton_schulz_muon(layer):
    """Muon in float32: the Newton-Schulz iteration as its author's code has it."""
    momentum = torch.zeros_like(layer.weight)

    def step():
        gradient = layer.next_gradient()
        momentum.lerp_(gradient, 1 - BETA)
        x = gradient.lerp(momentum, BETA)
        x /= x.norm() + 1e-7
        for _ in range(5):
            gram = x @ x.T
            square = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
            x = torch.addmm(x, square, x, beta=3.4445)
        layer.weight.sub_(x, alpha=0.02)

    return step


def kfac(refreshing, inverses):
    """With solves, or with explicit inverses, which cost more to refresh and less to use."""

    def start(layer):
        eye = torch.eye(layer.weight.shape[0])
        factors = []

        def refresh():
            factors[:] = [
                torch.linalg.cholesky(torch.add(factor, eye, alpha=RIDGE))
                for factor in (layer.output, layer.input)
            ]
            if inverses:
                factors[:] = [torch.cholesky_inverse(factor) for factor in factors]

        def solve():
            gradient = layer.next_gradient()
            if inverses:
                return factors[0] @ gradient @ factors[1]
            left = torch.cholesky_solve(gradient, factors[0])
            return torch.cholesky_solve(left.T, factors[1]).T

        def step():
            if refreshing:
                refresh()
            layer.weight.sub_(solve(), alpha=0.1)

        refresh()
        return step

    return start


class Factors:
    """Averages of G Gᵀ and GᵀG."""

    def __init__(self, layer):
        n = layer.weight.shape[0]
        self.left, self.right, self.decay = torch.zeros(n, n), torch.zeros(n, n), 1.0

    def observe(self, gradient):
        self.decay *= BETA
        torch.addmm(self.left, gradient, gradient.T, beta=BETA, alpha=1 - BETA, out=self.left)
        torch.addmm(self.right, gradient.T, gradient, beta=BETA, alpha=1 - BETA, out=self.right)


def inverse_root(factor, correction):
    values, vectors = torch.linalg.eigh(factor)
    values = values / correction
    values += EPSILON * values[-1]
    return (vectors * values.pow(-0.25)) @ vectors.T


def shampoo(refreshing):
    def start(layer):
        factors, roots = Factors(layer), []

        def refresh():
            correction = 1 - factors.decay
            roots[:] = [inverse_root(f, correction) for f in (factors.left, factors.right)]

        def step():
            gradient = layer.next_gradient()
            factors.observe(gradient)
            if refreshing or not roots:
                refresh()
            layer.weight.sub_(roots[0] @ gradient @ roots[1], alpha=0.1)

        return step

    return start


def soap(refreshing, published=False):
    """Adam in the factors' eigenbases; as published, those of the step before, by one QR step from the
    ones before, with vectors and squares in the order of Rayleigh quotients, and weight decay."""

    def start(layer):
        factors, bases = Factors(layer), []
        mean, square = torch.zeros_like(layer.weight), torch.zeros_like(layer.weight)
        decay = 1.0

        def refresh():
            nonlocal square
            sides = (factors.left, factors.right)
            if not (published and bases):
                bases[:] = [torch.linalg.eigh(f)[1] for f in sides]
                return
            for side, factor in enumerate(sides):
                product = factor @ bases[side]
                order = (product * bases[side]).sum(0).argsort(descending=True)
                square = square.index_select(side, order)
                bases[side] = torch.linalg.qr(product[:, order])[0]

        def step():
            nonlocal decay
            gradient = layer.next_gradient()
            factors.observe(gradient)
            if not bases or (refreshing and not published):
                refresh()
            left, right = bases
            decay *= BETA
            mean.lerp_(gradient, 1 - BETA)
            rotated = left.T @ gradient @ right
            square.mul_(BETA).addcmul_(rotated, rotated, value=1 - BETA)
            direction = left.T @ mean @ right
            direction /= (square / (1 - decay)).sqrt_().add_(EPSILON)
            layer.weight.sub_(left @ direction @ right.T, alpha=0.003 / (1 - decay))
            if published:
                layer.weight.mul_(1 - 0.003 * 0.01)
                refresh()

        return step

    return start


def forms(optimizer, fused=True, **options):
    """A built-in optimizer in each of its forms."""
    offered = {"loop": {"foreach": False}, "foreach": {"foreach": True}}
    if fused:
        offered["fused"] = {"fused": True}
    return {
        name: built_in(lambda parameters, form=form: optimizer(parameters, **form, **options))
        for name, form in offered.items()
    }


@functools.cache
def bfloat16_pays():
    """Whether products in torch.optim.Muon's type are of any use: where the processor has no
    instructions for it they take forty times those in float32, and a step takes minutes."""
    torch.set_num_threads(1)
    x = normals(256, 1)
    # The smallest times, and one thread: others at work on the machine must not decide this.
    single, half = (time_steps(lambda a=a: a @ a, 0.1)[1] for a in (x, x.bfloat16()))
    return half < 4 * single


def methods():
    """Each method in its forms. KFAC has both of its own in every row: PyTorch counts with its best."""
    optim = torch.optim
    plain, refreshing = (
        {"inverses": kfac(each_step, True), "solves": kfac(each_step, False)}
        for each_step in (False, True)
    )
    muon = {"float32": newton_schulz_muon}
    if bfloat16_pays():
        muon["bfloat16"] = built_in(lambda parameters: optim.Muon(parameters, lr=0.02))
    return {
        "sgd": forms(optim.SGD, lr=0.01),
        "momentum": forms(optim.SGD, lr=0.01, momentum=0.9),
        "adagrad": forms(optim.Adagrad, lr=0.01),
        "rmsprop": forms(optim.RMSprop, fused=False, lr=0.01),
        "adam": forms(optim.Adam, lr=0.001),
        "adamw": forms(optim.AdamW, lr=0.001),
        "muon": muon,
        "kfac_plain": plain,
        "kfac_refreshing": refreshing,
        "kfac_inverses_plain": plain,
        "kfac_inverses_refreshing": refreshing,
        "shampoo_plain": {"float32": shampoo(False)},
        "shampoo_refreshing": {"float32": shampoo(True)},
        "soap_plain": {"float32": soap(False)},
        "soap_refreshing": {"float32": soap(True)},
        "soap_published_refreshing": {"float32": soap(True, published=True)},
    }


def one_after_another(steps):
    def step():
        for layer in steps:
            layer()

    return step


def side_by_side(steps):
    """Each layer's step on one of as many threads as asked, which PyTorch leaves as they are."""
    pool = ThreadPoolExecutor(THREADS)

    def step():
        for done in [pool.submit(layer) for layer in steps]:
            done.result()

    return step


def time_row(row):
    method, _, size = row.partition("/")
    count, n = [int(number) for number in ("1x" + size).split("x")[-2:]]
    for form, start in methods()[method].items():
        for suffix, together in {"": one_after_another, ", side by side": side_by_side}.items():
            if suffix and count == 1:
                continue
            torch.set_num_threads(1 if suffix else THREADS)
            steps = [start(Layer(n)) for _ in range(count)]
            times = time_steps(together(steps), SECONDS)
            report(f"PyTorch {torch.__version__}", row, THREADS, form + suffix, times)


def main():
    with torch.no_grad():
        for row in ROWS or [f"{method}/{n}" for n in (256, 1024) for method in methods()]:
            time_row(row)


if __name__ == "__main__":
    main()
