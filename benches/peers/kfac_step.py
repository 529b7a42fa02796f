"""Time of one KFAC training step at figure 1's size, in NumPy, float64: the counterpart of the example
`kfac_step`. Each step draws a fresh batch of samples. Arguments and lines: measure.py.
"""

from measure import arguments, report, time_steps

INPUTS = {"exact_moments": "gaussian", "sampled_inputs": "signs"}
THREADS, SECONDS, ROWS = arguments([f"kfac_step/{inputs}" for inputs in INPUTS])

import numpy as np  # noqa: E402, the number of threads has to be set before

D_X, D_Y, K, N = 100, 15, 8, 1024
NOISE, RATE, DAMPING = 0.1, 1e-3, 1e-4


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


class Training:
    """Linear representation learning, y = F* G* x + noise, and the network that is trained."""

    def __init__(self, signs):
        rng = self.rng = np.random.default_rng(1)
        self.signs = signs
        eigenvalues = np.geomspace(1.0, 1e-4, D_X)
        eigenvalues *= D_X / eigenvalues.sum()
        basis = orthonormal(rng, D_X, D_X)
        covariance = (basis * eigenvalues) @ basis.T
        # Any root of the covariance gives Gaussian inputs; signs take the symmetric one.
        self.root = (
            (basis * np.sqrt(eigenvalues)) @ basis.T if signs else np.linalg.cholesky(covariance)
        )
        values = np.geomspace(1.0, 0.1, K)
        values *= np.sqrt(D_Y / (values**2).sum())
        head = (orthonormal(rng, D_Y, K) * values) @ orthonormal(rng, K, K).T
        self.map = head @ orthonormal(rng, D_X, K).T
        self.head = rng.standard_normal((D_Y, K)) * 0.5 / np.sqrt(K)
        self.representation = orthonormal(rng, D_X, K).T.copy()

    def step(self):
        rng, eye = self.rng, np.eye
        if self.signs:
            white = 2.0 * rng.integers(0, 2, (N, D_X)) - 1.0
        else:
            white = rng.standard_normal((N, D_X))
        x = white @ self.root.T
        y = x @ self.map.T + NOISE * rng.standard_normal((N, D_Y))

        f, g = self.head, self.representation
        residual = x @ g.T @ f.T - y
        gradient = f.T @ (residual.T @ x) / N
        second_moment = x.T @ x / N
        left = np.linalg.solve(f.T @ f + DAMPING * eye(K), gradient)
        g = g - RATE * np.linalg.solve(second_moment + DAMPING * eye(D_X), left.T).T

        z = x @ g.T
        gradient = (z @ f.T - y).T @ z / N
        f = f - RATE * np.linalg.solve(z.T @ z / N, gradient.T).T
        self.head, self.representation = f, g


def main():
    for row in ROWS:
        law = INPUTS[row.removeprefix("kfac_step/")]
        times = time_steps(Training(law == "signs").step, SECONDS)
        form = "1 thread" if THREADS == 1 else f"{THREADS} threads"
        report(f"NumPy {np.__version__}", row, THREADS, form, times)


if __name__ == "__main__":
    main()
