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


def linear():
    cubes = [(edge,) * 3 for edge in (512, 1024, 2048, 4096, 8192)]
    for m, n, k in cubes + [(m, 4096, 4096) for m in (1, 16, 64)]:
        a, b = (torch.rand(r, k, device="cuda", dtype=torch.float16) * 2 - 1 for r in (m, n))
        c = torch.empty(m, n, device="cuda", dtype=torch.float16)
        shape = f"f16 {m}^3" if m == k else f"f16 {m}x{n}x{k}"
        report("linear", shape, median_ms(lambda: torch.mm(a, b.t(), out=c), 20), 2 * m * n * k)


def products_f32():
    for name in ("f32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        for m, n, k in ((4096,) * 3, (64, 4096, 4096)):
            a, b = torch.rand(m, k, device="cuda") * 2 - 1, torch.rand(k, n, device="cuda") * 2 - 1
            c = torch.empty(m, n, device="cuda")
            shape = f"{name} {m}^3" if m == k else f"{name} {m}x{n}x{k}"
            report("products_f32", shape, median_ms(lambda: torch.mm(a, b, out=c), 20), 2 * m * n * k)


def attention():
    """PyTorch's own flash attention, the mean of 200 replays of a CUDA graph in a row after 50;
    what its other backend reaches goes to stderr."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    attend = torch.nn.functional.scaled_dot_product_attention

    def ms(backend, shape, dtype, causal):
        q, k, v = (torch.rand(*shape, device="cuda", dtype=dtype) * 8 - 4 for _ in range(3))
        with sdpa_kernel(backend), torch.inference_mode():
            return mean_ms(captured(lambda: attend(q, k, v, is_causal=causal)))

    for length in (512, 2048, 4096):
        for size in (64, 128):
            for causal in (False, True):
                shape = (4, 16, length, size)
                name = "f16 " + "x".join(map(str, shape)) + (" causal" if causal else "")
                amount = 4 * 64 * length**2 * size * (0.5 if causal else 1)
                report("attention", name, ms(SDPBackend.FLASH_ATTENTION, shape, torch.float16, causal), amount)
                try:
                    other = amount / ms(SDPBackend.CUDNN_ATTENTION, shape, torch.float16, causal) / 1e9
                    print(f"attention {name}: cuDNN through torch {other:.1f} TFLOP/s", file=sys.stderr)
                except RuntimeError as error:
                    print(f"attention {name}: no cuDNN: {error}", file=sys.stderr)
    torch.backends.cuda.matmul.allow_tf32 = True
    for size in (64, 128):
        shape = (4, 16, 2048, size)
        name = "tf32 " + "x".join(map(str, shape))
        spent = ms(SDPBackend.EFFICIENT_ATTENTION, shape, torch.float32, False)
        report("attention", name, spent, 4 * 64 * 2048**2 * size)


def resnet18():
    """The faster of torch.compile and eager execution in a CUDA graph, channels last: the
    mean of 200 passes in a row after 50."""
    import torchvision

    model = torchvision.models.resnet18(weights=None).eval().cuda().half()
    model = model.to(memory_format=torch.channels_last)
    for batch in (1, 8, 64, 256):
        x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.float16)
        x = x.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            torch._dynamo.reset()
            compiled = torch.compile(model, mode="reduce-overhead")
            times = [mean_ms(lambda: compiled(x)), mean_ms(captured(lambda: model(x)))]
        print(f"resnet18 f16 batch {batch}: torch.compile reduce-overhead {times[0]:.4f} ms, "
              f"eager in a graph {times[1]:.4f} ms", file=sys.stderr)
        report("resnet18", f"f16 batch {batch}", min(times), batch * 1e12)


def resnet18_f32():
    """Eager execution in a CUDA graph: the mean of 20 passes in a row, with tf32 and without."""
    import torchvision

    model = torchvision.models.resnet18(weights=None).eval().cuda()
    for name in ("f32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
        for batch in (1, 64):
            x = torch.randn(batch, 3, 224, 224, device="cuda")
            with torch.inference_mode():
                ms = mean_ms(captured(lambda: model(x)), 20)
            report("resnet18_f32", f"{name} batch {batch}", ms, batch * 1e12)


def fused(rows=16384):
    """Chains of operations on elements and rows: the faster of eager and compiled execution."""
    for name, width, passes in (("gelu", 4096, 3), ("softmax", 1024, 2), ("norm", 1024, 3)):
        for kind, dtype, size in (("f32", torch.float32, 4), ("f16", torch.float16, 2)):
            x, residual = (torch.randn(rows, width, device="cuda", dtype=dtype) for _ in range(2))
            weight, bias = (torch.randn(width, device="cuda", dtype=dtype) for _ in range(2))
            work = {
                "gelu": lambda x, r: r + torch.nn.functional.gelu(x + bias) * 0.5,
                "softmax": lambda x, r: torch.softmax(x * 0.125 + bias, 1),
                "norm": lambda x, r: torch.nn.functional.layer_norm(x + r, (width,), weight, bias),
            }[name]
            torch._dynamo.reset()
            report("fused", f"{name} {kind} {rows}x{width}", fastest(work, x, residual), passes * size * rows * width)


def transformer(length=128, width=768, heads=12, inner=3072):
    """A layer of BERT: the faster of torch.compile and eager execution in a CUDA graph."""
    layer = torch.nn.TransformerEncoderLayer(width, heads, inner, 0.0, "gelu", batch_first=True)
    layer = layer.eval().cuda()
    # The fused path of the module's own is taken by eager execution.
    for name in ("f32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        for batch in (1, 32):
            x = torch.randn(batch, length, width, device="cuda")
            with torch.inference_mode():
                torch._dynamo.reset()
                compiled = torch.compile(layer, mode="reduce-overhead")
                ms = min(mean_ms(lambda: compiled(x)), mean_ms(captured(lambda: layer(x))))
            flops = 2 * batch * length * width * (4 * width + 2 * inner) + 4 * batch * length * length * width
            report("transformer", f"{name} {batch}x{length}x{width}", ms, flops)
def depthwise():
    """The faster layout of the convolution with its bias alone, in a CUDA graph: what is
    behind it is left out."""
    layers = ((112, 64, 3, 1), (112, 96, 3, 2), (56, 144, 3, 1), (28, 192, 3, 1), (14, 576, 3, 1),
              (7, 960, 3, 1), (56, 144, 5, 1), (56, 96, 7, 1))
    torch.backends.cudnn.benchmark = True
    for size, channels, side, step in layers:
        for name, dtype in (("f32", torch.float32), ("f16", torch.float16)):
            conv = torch.nn.Conv2d(channels, channels, side, step, side // 2, groups=channels)
            conv, times = conv.cuda().to(dtype), []
            x = torch.randn(64, channels, size, size, device="cuda", dtype=dtype)
            for layout in (torch.contiguous_format, torch.channels_last):
                own, images = conv.to(memory_format=layout), x.to(memory_format=layout)
                with torch.inference_mode():
                    times.append(mean_ms(captured(lambda: own(images))))
                    out = own(images)
            shape = f"{name} {side}x{side} step {step}, {size}x{size}x{channels}"
            report("depthwise", shape, min(times), (x.numel() + out.numel()) * x.element_size())
    torch.backends.cudnn.benchmark = False


def mobilenet():
    """The faster of torch.compile and eager execution in a CUDA graph, channels last: the
    mean of 200 passes in a row after 50."""
    import torchvision

    for name in ("f32", "tf32", "f16"):
        model = torchvision.models.mobilenet_v2(weights=None).eval().cuda()
        dtype = torch.float16 if name == "f16" else torch.float32
        model = model.to(dtype).to(memory_format=torch.channels_last)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "f32"
        for batch in (1, 64):
            x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=dtype)
            x = x.to(memory_format=torch.channels_last)
            with torch.inference_mode():
                times = [mean_ms(captured(lambda: model(x)))]
                torch._dynamo.reset()
                compiled = torch.compile(model, mode="reduce-overhead")
                times.append(mean_ms(lambda: compiled(x)))
            print(f"mobilenet {name} batch {batch}: eager in a graph {times[0]:.4f} ms, "
                  f"torch.compile reduce-overhead {times[1]:.4f} ms", file=sys.stderr)
            report("mobilenet", f"{name} batch {batch}", min(times), batch * 1e12)


def captured(work):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def mean_ms(work, count=200):
    for _ in range(count // 4):
        work()
    start, end = torch.cuda.Event(True), torch.cuda.Event(True)
    start.record()
    for _ in range(count):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / count


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
if wanted("linear"):
    linear()
if wanted("products_f32"):
    products_f32()
if wanted("fused"):
    fused()
if wanted("transformer"):
    transformer()
if wanted("attention"):
    attention()
if wanted("resnet18"):
    resnet18()
if wanted("resnet18_f32"):
    resnet18_f32()
if wanted("depthwise"):
    depthwise()
if wanted("mobilenet"):
    mobilenet()
