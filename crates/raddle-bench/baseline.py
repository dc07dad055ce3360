"""What PyTorch reaches on the same GPU, for the shapes of `raddle-bench`, which runs this.

Arguments: names of benchmarks, all if none. Each result is one line, separated by tabs:
name and version, benchmark, shape, value (TB/s or TFLOP/s, of the median time).
"""
import statistics
import sys

import torch

WANTED = sys.argv[1:]


def median_ms(work, samples):
    for _ in range(max(3, samples // 4)):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(samples):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def report(name, shape, ms, amount):
    print(f"torch {torch.__version__}", name, shape, round(amount / ms / 1e9, 4), sep="\t", flush=True)


def fastest(function, *arguments):
    """Milliseconds of eager or compiled execution, whichever is less."""
    compiled = torch.compile(function)
    return min(median_ms(lambda: f(*arguments), 60) for f in (function, compiled))


def vectors(n=1 << 28):
    x, y, z = (torch.randn(n, device="cuda") for _ in range(3))
    if wanted("add"):
        report("add", "f32 2^28", median_ms(lambda: torch.add(x, y, out=z), 40), 12 * n)
    if wanted("sum", "checks"):
        report("sum", "f32 2^28", median_ms(x.sum, 40), 4 * n)


def transpose(edge=16384):
    x = torch.randn(edge, edge, device="cuda")
    y = torch.empty_like(x)
    report("transpose", f"f32 {edge}^2", median_ms(lambda: y.copy_(x.t()), 40), 8 * edge**2)


def rows():
    for height, width in ((16384, 4096), (65536, 1024), (4096, 32768)):
        x = torch.randn(height, width, device="cuda", dtype=torch.float16)
        shape, amount = f"f16 {height}x{width}", 4 * height * width
        if wanted("softmax"):
            report("softmax", shape, fastest(lambda x: torch.softmax(x, 1), x), amount)
        if wanted("layer_norm"):
            weight, bias = (torch.randn(width, device="cuda", dtype=torch.float16) for _ in range(2))
            norm = lambda x: torch.nn.functional.layer_norm(x, (width,), weight, bias)
            report("layer_norm", shape, fastest(norm, x), amount)


def products():
    for edge in (4096, 8192, 16384):
        a, b = (torch.rand(edge, edge, device="cuda", dtype=torch.float16) * 2 - 1 for _ in range(2))
        c = torch.empty_like(a)
        report("gemm", f"f16 {edge}^3", median_ms(lambda: torch.mm(a, b.t(), out=c), 20), 2 * edge**3)


def wanted(*names):
    return not WANTED or any(name in WANTED for name in names)


if wanted("add", "sum", "checks"):
    vectors()
if wanted("transpose"):
    transpose()
if wanted("softmax", "layer_norm"):
    rows()
if wanted("gemm"):
    products()
