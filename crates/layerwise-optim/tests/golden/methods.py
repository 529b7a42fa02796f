"""Trajectories of the methods of 2023 to 2026, from the implementations that others use.

    pip install torch pytorch_optimizer timm schedulefree
    python methods.py FOLDER

Each case is twelve steps of one implementation, in double precision, on gradients that do not depend on the
weight. Where an implementation works in a lower precision, or draws random numbers, what is changed at run time
is named in the file's `source`. `suggested_atol` is thirty times what a relative noise of 1e-15 in the gradients
changes, or rounding the largest weight.
"""

import contextlib
import importlib
import importlib.metadata
import inspect
import json
import math
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch

SHAPES = [(6, 4), (3, 5)]
STEPS = 12


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def gradients(shape, seed):
    """`A N_t B`, ill-conditioned and not symmetric, with `N_t` correlated in time."""
    rng = np.random.default_rng(seed)
    rows, columns = shape
    left = rng.normal(size=(rows, rows)) @ np.diag(np.logspace(0, -1.5, rows))
    right = np.diag(np.logspace(0, -1.0, columns)) @ rng.normal(size=(columns, columns))
    noise = rng.normal(size=shape)
    for _ in range(STEPS):
        noise = 0.7 * noise + 0.7 * rng.normal(size=shape)
        yield left @ noise @ right


def signs(fit, shape, seed=0):
    """The random signs of the preconditioner's fit, by SplitMix64."""
    mask, gamma = (1 << 64) - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    start = mix((seed + fit * gamma) & mask)
    words = [mix((start + (i // 64 + 1) * gamma) & mask) for i in range(math.prod(shape))]
    bits = [1.0 if (word >> (i % 64)) & 1 else -1.0 for i, word in enumerate(words)]
    return torch.tensor(bits, dtype=torch.float64).reshape(shape)


class Run:
    """A parameter, its optimizer, and what is recorded beside the weight."""

    def __init__(self, w0, make, step=None, extra=None):
        self.parameter = torch.nn.Parameter(torch.tensor(w0, dtype=torch.float64))
        self.optimizer = make(self.parameter)
        self.advance = step or (lambda run, index: run.optimizer.step())
        self.extra = extra or (lambda run, index: {})

    def take(self, index, gradient):
        self.parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        self.advance(self, index)
        return {"w": self.parameter.detach().tolist(), **self.extra(self, index)}


def case(
    folder, name, source, hyperparameters, make, step=None, extra=None, context=None, shapes=SHAPES
):
    for shape in shapes:
        rng = np.random.default_rng(17)
        w0 = rng.normal(size=shape)
        clean = list(gradients(shape, 5))
        noise = np.random.default_rng(29)
        noisy = [g * (1.0 + 1e-15 * noise.normal(size=shape)) for g in clean]

        def replay(all_gradients):
            torch.manual_seed(0)
            np.random.seed(0)
            with (context or contextlib.nullcontext)():
                run = Run(w0, make, step, extra)
                return [run.take(i, g) for i, g in enumerate(all_gradients)]

        records, others = replay(clean), replay(noisy)
        change = max(
            np.abs(np.array(a["w"]) - np.array(b["w"])).max() for a, b in zip(records, others)
        )
        largest = max(np.abs(np.array(record["w"])).max() for record in records)
        document = {
            "case": f"{name}_{shape[0]}x{shape[1]}",
            "source": source,
            "dtype": "float64",
            "hyperparameters": hyperparameters,
            "shape": list(shape),
            "w0": w0.tolist(),
            "steps": [{"grad": g.tolist(), **r} for g, r in zip(clean, records)],
            "extra": {"determined": True, "suggested_atol": 30 * max(change, 2.0**-52 * largest)},
        }
        path = Path(folder) / f"{document['case']}.json"
        path.write_text(json.dumps(document) + "\n")
        print(path.name, document["extra"]["suggested_atol"])


@contextlib.contextmanager
def newton_schulz_in_double():
    """Newton-Schulz iterations of pytorch_optimizer in the precision of what they are given."""
    import pytorch_optimizer.optimizer.utils.matrix as matrix

    function = matrix.zero_power_via_newton_schulz_5
    defaults = function.__defaults__
    function.__defaults__ = tuple(torch.float64 if d is torch.bfloat16 else d for d in defaults)
    try:
        yield
    finally:
        function.__defaults__ = defaults


@contextlib.contextmanager
def floats_are_doubles():
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        yield


@contextlib.contextmanager
def kron_in_double():
    """Solves in double precision, our signs for the normal numbers, no 1e-6 beside the root mean square."""
    import pytorch_optimizer.optimizer.psgd as psgd

    fits = iter(range(10**6))

    def solve(x, a):
        return torch.linalg.solve_triangular(a, x, upper=True, left=False)

    source = inspect.getsource(psgd.Kron.step)
    assert "sqrt() + 1e-6)" in source
    scope = dict(vars(psgd))
    exec(inspect.cleandoc("\n" + source.replace("sqrt() + 1e-6)", "sqrt())")), scope)
    scope["solve_triangular_right"] = solve
    with (
        mock.patch.object(psgd, "solve_triangular_right", solve),
        mock.patch.object(psgd.Kron, "step", scope["step"]),
        mock.patch.object(torch, "randn_like", lambda x, **_: signs(next(fits), tuple(x.shape))),
    ):
        yield


class Soap:
    """SOAP with the steps of Distributed Shampoo (each moves the weight, in refreshed bases), written anew in
    matrices: KL-SOAP, whose factors are of gradients that the other factor has whitened (no package has it in
    double precision without changes to its rule), and a polar factor taken in the bases."""

    def __init__(self, parameter, lr, betas, factor_beta, eps, frequency, kl, polar):
        self.p, self.lr, self.betas, self.eps = parameter, lr, betas, eps
        self.factor_beta, self.frequency, self.kl, self.polar = factor_beta, frequency, kl, polar
        self.step_count, self.m, self.v = 0, 0.0, 0.0
        self.sums, self.bases = [0.0, 0.0], None

    def whitener(self, side, corrected):
        """The inverse of a factor, along the basis it is held in."""
        basis = self.bases[side]
        values = np.diag(basis.T @ corrected[side] @ basis)
        return basis @ np.diag(1.0 / values) @ basis.T

    def step(self):
        g = self.p.grad.numpy()
        rows, columns = g.shape
        self.step_count += 1
        t, beta = self.step_count, self.factor_beta
        left, right = g @ g.T, g.T @ g
        if self.kl and t == 1:
            size = np.sqrt(np.mean(g**2))
            left, right = left / (size * columns), right / (size * rows)
        elif self.kl:
            former = [s / (1.0 - beta ** (t - 1)) for s in self.sums]
            left = g @ self.whitener(1, former) @ g.T / columns
            right = g.T @ self.whitener(0, former) @ g / rows
        self.sums = [beta * s + (1.0 - beta) * x for s, x in zip(self.sums, (left, right))]
        if t == 1 or t % self.frequency == 0:
            self.bases = [np.linalg.eigh(s)[1] for s in self.sums]
        u, w = self.bases
        beta1, beta2 = self.betas
        self.m = beta1 * self.m + (1.0 - beta1) * g
        self.v = beta2 * self.v + (1.0 - beta2) * (u.T @ g @ w) ** 2
        average = (u.T @ self.m @ w) / (1.0 - beta1**t)
        direction = average / (np.sqrt(self.v / (1.0 - beta2**t)) + self.eps)
        if self.polar:
            a, _, b = np.linalg.svd(direction, full_matrices=False)
            direction = a @ b
        self.p.data -= self.lr * torch.tensor(u @ direction @ w.T)


def main(folder):
    import pytorch_optimizer as po
    import schedulefree
    import timm.optim

    packages = {name: version(name) for name in ["torch", "pytorch_optimizer", "timm", "schedulefree"]}
    in_double = ", Newton-Schulz iterations in float64 in place of bfloat16"

    def muon_group(p, **settings):
        return [{"params": [p], "use_muon": True, **settings}]

    for name, coefficients in [("polar_express", "polar_express"), ("muon_quintic", "quintic")]:
        hyper = {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "ns_steps": 5}
        lists = importlib.import_module("pytorch_optimizer.optimizer.utils.matrix").NS_COEFFICIENTS
        case(
            folder, name, f"{packages['pytorch_optimizer']}, class Muon{in_double}",
            {**hyper, "eps": 1e-7, "polynomials": lists[coefficients][:5]},
            lambda p, c=coefficients, h=hyper: po.Muon(muon_group(p, **h, ns_coeffs=c), foreach=False),
            context=newton_schulz_in_double,
        )
    hyper = {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "beta2": 0.9, "eps": 1e-13}
    case(
        folder, "normuon", f"{packages['pytorch_optimizer']}, class NorMuon{in_double}",
        {**hyper, "ns_steps": 5, "use_adjusted_lr": False},
        lambda p: po.NorMuon(muon_group(p, **hyper), foreach=False),
        context=newton_schulz_in_double,
    )

    hyper_kron = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1}
    settings = {"pre_conditioner_update_probability": 0.5, "balance_prob": 0.0}
    case(
        folder, "psgd_kron",
        f"{packages['pytorch_optimizer']}, class Kron: triangular solves in float64, signs by SplitMix64 for the "
        "normal numbers of a fit, nothing beside the root mean square that directions are bounded by",
        {**hyper_kron, **settings, "precondition_lr": 0.1},
        lambda p: po.Kron([p], **hyper_kron, **settings, precondition_dtype=torch.float64),
        context=kron_in_double,
    )

    hyper_mars = {"lr": 0.02, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "gamma": 0.025}
    case(
        folder, "mars", f"{packages['timm']}, class Mars", hyper_mars,
        lambda p: timm.optim.Mars([p], **hyper_mars),
    )
    hyper_cautious = {"lr": 0.02, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
    case(
        folder, "cautious_adamw", f"{packages['timm']}, class AdamWLegacy, caution=True", hyper_cautious,
        lambda p: timm.optim.AdamWLegacy([p], **hyper_cautious, caution=True, foreach=False),
    )
    hyper_lion = {"lr": 0.02, "betas": [0.9, 0.95], "weight_decay": 0.1}
    case(
        folder, "cautious_lion", f"{packages['timm']}, class Lion, caution=True", hyper_lion,
        lambda p: timm.optim.Lion([p], **hyper_lion, caution=True, foreach=False),
    )

    hyper_splus = {
        "lr": 0.3, "betas": [0.9, 0.95], "weight_decay": 0.0, "ema_rate": 0.8, "inverse_steps": 4, "eps": 0.0,
    }
    case(
        folder, "splus", f"{packages['pytorch_optimizer']}, class SPlus, decompositions in float64", hyper_splus,
        lambda p: po.SPlus([p], **hyper_splus, foreach=False),
        extra=lambda run, index: {
            "average": (
                run.optimizer.state[run.parameter]["ema"] / (1.0 - hyper_splus["ema_rate"] ** (index + 1))
            ).tolist()
        },
        context=floats_are_doubles,
        # Of a factor that is rank-deficient, the basis of its null space is the routine's choice.
        shapes=[(4, 4), (5, 5)],
    )

    hyper_sophia = {"lr": 0.5, "betas": [0.9, 0.8], "p": 0.05, "eps": 1e-12, "weight_decay": 0.1}

    def reported(run, index):
        """A curvature, of both signs, at every third step."""
        if index % 3 != 0:
            return None
        rng = np.random.default_rng(100 + index)
        return torch.tensor(rng.normal(size=run.parameter.shape) + 1.0, dtype=torch.float64)

    def sophia_step(run, index):
        run.optimizer.update_period = 3
        curvature = reported(run, index)
        if curvature is None:
            run.optimizer.update_period = 10**9
            run.optimizer.step()
        else:
            run.optimizer.update_period = 1
            run.optimizer.step(hessian=[curvature])

    case(
        folder, "sophia", f"{packages['pytorch_optimizer']}, class SophiaH, with curvatures that are given",
        hyper_sophia,
        lambda p: po.SophiaH([p], **hyper_sophia, foreach=False),
        step=sophia_step,
        extra=lambda run, index: (
            {} if reported(run, index) is None else {"hessian": reported(run, index).tolist()}
        ),
    )

    hyper_adafactor = {"lr": 0.3, "beta2_decay": -0.8, "eps": [1e-15, 1e-3], "d": 1.0, "weight_decay": 0.0}
    case(
        folder, "adafactor", f"{packages['torch']}, class torch.optim.Adafactor", hyper_adafactor,
        lambda p: torch.optim.Adafactor([p], **hyper_adafactor, foreach=False),
    )

    hyper_free = {"lr": 0.05, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.0, "weight_lr_power": 2.0}

    def free(p):
        optimizer = schedulefree.AdamWScheduleFree([p], **hyper_free, foreach=False)
        optimizer.train()
        return optimizer

    def evaluated(run, index):
        run.optimizer.eval()
        average = run.parameter.detach().tolist()
        run.optimizer.train()
        return {"average": average}

    case(
        folder, "schedulefree_adamw", f"{packages['schedulefree']}, class AdamWScheduleFree", hyper_free, free,
        extra=evaluated,
    )

    for name, kl, polar, frequency in [
        ("soap_kl_f1", True, False, 1), ("soap_kl_f3", True, False, 3), ("soap_polar", False, True, 1),
    ]:
        hyper = {"lr": 0.05, "betas": [0.9, 0.8], "factor_beta": 0.9, "eps": 1e-2, "frequency": frequency}
        case(
            folder, name, "class Soap of methods.py, in NumPy", {**hyper, "kl": kl, "polar": polar},
            lambda p, kl=kl, polar=polar, hyper=hyper: Soap(p, **hyper, kl=kl, polar=polar),
            shapes=[(4, 4), (5, 5)],
        )

    qk_clip(folder, po, packages["pytorch_optimizer"])


def qk_clip(folder, po, source):
    """The step after a step of rate zero: query and key projections of three heads, two above the threshold."""
    rng = np.random.default_rng(41)
    before = {name: rng.normal(size=(6, 4)) for name in ["query", "key"]}
    parameters = {
        name: torch.nn.Parameter(torch.tensor(w, dtype=torch.float64)) for name, w in before.items()
    }
    threshold, balance, logits = 20.0, 0.3, [12.0, 55.5, 20.1]
    optimizer = po.MuonClip(
        [
            {"params": [p], "use_muon": True, "attention_name": "attention", "qk_clip": name}
            for name, p in parameters.items()
        ],
        lr=0.0, weight_decay=0.0, qk_clip_threshold=threshold, qk_clip_alpha=balance, foreach=False,
    )
    for p in parameters.values():
        p.grad = torch.zeros_like(p)
    # Logits pass through float32 there.
    with floats_are_doubles():
        optimizer.step(attention_max_logits={"attention": torch.tensor(logits, dtype=torch.float64)})
    document = {
        "case": "qk_clip",
        "source": f"{source}, class MuonClip at a rate of zero, logits in float64",
        "threshold": threshold,
        "balance": balance,
        "logits": logits,
        **{name: w.tolist() for name, w in before.items()},
        "after": {name: p.detach().tolist() for name, p in parameters.items()},
    }
    (Path(folder) / "qk_clip.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python methods.py FOLDER")
    main(sys.argv[1])
