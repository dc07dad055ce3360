"""Drives a server with the unmodified tritonclient: gRPC, HTTP, streams, shared memory,
errors and every datatype. Arguments: HTTP address, gRPC address, a name for shared memory.
Prints `checks N` at the end."""

import queue
import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

http = http_client.InferenceServerClient(sys.argv[1])
grpc = grpc_client.InferenceServerClient(sys.argv[2])
checks = 0


def check(claim, what):
    global checks
    assert claim, what
    checks += 1


def infer(module, client, model, array, datatype, **kwargs):
    given = module.InferInput("x", list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return client.infer(model, [given], **kwargs)


arrays = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, -65504.0]], np.float16),
    "FP32": np.array([[0.1, -3.4e38]], np.float32),
    "FP64": np.array([[0.1, -1.7e308]], np.float64),
    "BYTES": np.array([["", "ü text"]], dtype=object),
}
for name, array in arrays.items():
    model = "identity_" + name.lower()
    expected = array
    if name == "BYTES":
        expected = np.array([[text.encode() for text in array[0]]], dtype=object)
        array = expected
    for module, client in ((grpc_client, grpc), (http_client, http)):
        found = infer(module, client, model, array, name).as_numpy("y")
        check(np.array_equal(found, expected), f"{model}: {found} {expected}")
    if name != "FP16":
        given = http_client.InferInput("x", list(array.shape), name)
        given.set_data_from_numpy(array if name != "BYTES" else arrays[name], binary_data=False)
        wanted = http_client.InferRequestedOutput("y", binary_data=False)
        found = http.infer(model, [given], outputs=[wanted]).as_numpy("y")
        check([str(x) for x in found.flatten()] == [str(x) for x in arrays[name].flatten()],
              f"{model} as JSON: {found}")

array = arrays["FP32"]
for algorithm in ("gzip", "deflate"):
    found = infer(http_client, http, "identity_fp32", array, "FP32",
                  request_compression_algorithm=algorithm,
                  response_compression_algorithm=algorithm).as_numpy("y")
    check(np.array_equal(found, array), algorithm)
    found = infer(grpc_client, grpc, "identity_fp32", array, "FP32",
                  compression_algorithm=algorithm).as_numpy("y")
    check(np.array_equal(found, array), algorithm)

for client in (http, grpc):
    check(client.is_server_live() and client.is_server_ready(), "health")
    check(client.is_model_ready("identity_fp32"), "model ready")
    check(not client.is_model_ready("nothing"), "an unknown model is not ready")
    client.get_server_metadata()
    client.get_model_metadata("identity_fp32")
    client.get_model_config("identity_fp32")
    client.get_inference_statistics("identity_fp32")
    client.get_inference_statistics()
    check(len(client.get_model_repository_index()) > 0 if client is http
          else len(client.get_model_repository_index().models) > 0, "index")
    client.unload_model("identity_int8")
    check(not client.is_model_ready("identity_int8"), "unloaded")
    client.load_model("identity_int8", config='{"max_batch_size": 2}')
    check(client.is_model_ready("identity_int8"), "loaded")
    client.load_model("identity_int8")
    client.get_log_settings()
config = grpc.get_model_config("identity_fp32").config
check(config.name == "identity_fp32" and config.max_batch_size == 32, str(config))
check(config.input[0].dims == [-1] and config.input[0].data_type == 11, str(config))
check(config.dynamic_batching.default_queue_policy.max_queue_size == 1024, str(config))

for call in (
    lambda: infer(grpc_client, grpc, "nothing", array, "FP32"),
    lambda: infer(http_client, http, "nothing", array, "FP32"),
    lambda: infer(grpc_client, grpc, "identity_int32", array, "FP32"),
    lambda: infer(http_client, http, "identity_int32", array, "FP32"),
    lambda: infer(grpc_client, grpc, "identity_fp32", array, "FP32", sequence_id=4),
    lambda: http.get_model_metadata("nothing"),
):
    try:
        call()
    except InferenceServerException as error:
        check(str(error.message()), "an error says something")
    else:
        raise AssertionError("this must fail")

answers = queue.Queue()
grpc.start_stream(lambda result, error: answers.put((result, error)))
for number in range(20):
    given = grpc_client.InferInput("x", [1, 1], "INT32")
    given.set_data_from_numpy(np.array([[number]], np.int32))
    grpc.async_stream_infer("identity_int32", [given], request_id=str(number))
for number in range(20):
    result, error = answers.get(timeout=60)
    check(error is None and result.as_numpy("y")[0, 0] == number, f"stream: {error}")
given = grpc_client.InferInput("x", [1, 1], "INT32")
given.set_data_from_numpy(np.array([[1]], np.int32))
grpc.async_stream_infer("nothing", [given])
result, error = answers.get(timeout=60)
check(error is not None, "an error in a stream is an answer")
grpc.stop_stream()

region = shm.create_shared_memory_region("data", sys.argv[3], 16)
try:
    values = np.array([[1.5, -2.5]], np.float32)
    shm.set_shared_memory_region(region, [values])
    for module, client in ((grpc_client, grpc), (http_client, http)):
        client.register_system_shared_memory("data", sys.argv[3], 16)
        check("data" in str(client.get_system_shared_memory_status()), "status")
        given = module.InferInput("x", [1, 2], "FP32")
        given.set_shared_memory("data", 8)
        wanted = module.InferRequestedOutput("y")
        wanted.set_shared_memory("data", 8, offset=8)
        client.infer("identity_fp32", [given], outputs=[wanted])
        found = shm.get_contents_as_numpy(region, np.float32, [1, 2], offset=8)
        check(np.array_equal(found, values), f"shared memory: {found}")
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
finally:
    shm.destroy_shared_memory_region(region)

print("checks", checks)
