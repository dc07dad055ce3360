"""What PyTorch reaches on the same GPU, for the shapes of `raddle-bench`; one JSON line for each result."""
import json, statistics, torch

def median_ms(work, samples):
    for _ in range(max(3, samples // 4)):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(samples):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record(); work(); end.record(); end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)

def report(name, shape, ms, value, unit):
    print(json.dumps(dict(bench=name, by=f"torch {torch.__version__}", shape=shape, median_us=round(ms * 1e3, 2),
                          value=round(value, 3), unit=unit, device=torch.cuda.get_device_name())), flush=True)

def main():
    n = 1 << 28
    x, y, z = (torch.randn(n, device="cuda") for _ in range(3))
    ms = median_ms(lambda: torch.add(x, y, out=z), 40); report("add", "f32 2^28", ms, 12 * n / ms / 1e9, "TB/s")
    ms = median_ms(lambda: x.sum(), 40); report("sum", "f32 2^28", ms, 4 * n / ms / 1e9, "TB/s")
    del x, y, z
    x = torch.randn(16384, 16384, device="cuda"); y = torch.empty_like(x)
    ms = median_ms(lambda: y.copy_(x.t()), 40); report("transpose", "f32 16384^2", ms, 8 * 16384**2 / ms / 1e9, "TB/s")
    del x, y
    softmax = lambda x: torch.softmax(x, 1)
    compiled = torch.compile(softmax)
    for rows, columns in ((16384, 4096), (65536, 1024), (4096, 32768)):
        x = torch.randn(rows, columns, device="cuda", dtype=torch.float16)
        eager, fused = median_ms(lambda: softmax(x), 60), median_ms(lambda: compiled(x), 60)
        ms = min(eager, fused); report("softmax", f"f16 {rows}x{columns}", ms, 4 * rows * columns / ms / 1e9, "TB/s")
        weight, bias = (torch.randn(columns, device="cuda", dtype=torch.float16) for _ in range(2))
        norm = lambda x: torch.nn.functional.layer_norm(x, (columns,), weight, bias)
        fused_norm = torch.compile(norm)
        ms = min(median_ms(lambda: norm(x), 60), median_ms(lambda: fused_norm(x), 60))
        report("layer_norm", f"f16 {rows}x{columns}", ms, 4 * rows * columns / ms / 1e9, "TB/s")
    for edge in (4096, 8192, 16384):
        a, b = (torch.rand(edge, edge, device="cuda", dtype=torch.float16) * 2 - 1 for _ in range(2))
        c = torch.empty_like(a)
        for name, work in (("gemm", lambda: torch.mm(a, b.t(), out=c)), ("gemm_nn", lambda: torch.mm(a, b, out=c))):
            ms = median_ms(work, 20); report(name, f"f16 {edge}^3", ms, 2 * edge**3 / ms / 1e9, "TFLOP/s")

main()
