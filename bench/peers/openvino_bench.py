#!/usr/bin/env python3
"""OpenVINO's side of `tessera bench` on the CPU: the same options, the same JSON object.

mode infer  forward of torchvision's network with random weights, exported to ONNX
mode cold   import, compiled network from the ONNX file, first prediction
Computes in f32, which is not its default where the processor has bfloat16 instructions."""
import time

import peer


def compiled(ov, path, args):
    core = ov.Core()
    net = core.read_model(path)
    net.reshape([args.batch, 3, args.height, args.width])
    return core.compile_model(net, "CPU", {
        "CPU_DENORMALS_OPTIMIZATION": True,  # random weights let signals fade
        "INFERENCE_NUM_THREADS": args.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})


def run(args, directory):
    stem = peer.exported(args, directory)
    begin = time.monotonic()
    ov, np = peer.require("openvino", "numpy")
    shape = (args.batch, 3, args.height, args.width)
    request = compiled(ov, stem + ".onnx", args).create_infer_request()
    created = time.monotonic()
    if args.mode == "cold":
        request.set_input_tensor(ov.Tensor(np.zeros(shape, np.float32)))
        request.infer()
        request.get_output_tensor().data.argmax(1).tolist()
        return peer.cold_result(args, version(), begin, created, time.monotonic())
    images = np.random.default_rng(args.seed).standard_normal(shape, np.float32)
    request.set_input_tensor(ov.Tensor(images))
    times = peer.measure(request.infer, args)
    return peer.steps_result(args, version(), times, peer.peak_rss_mb(), **peer.counts(stem))


def version():
    return "OpenVINO " + peer.require("openvino").__version__


if __name__ == "__main__":
    peer.main(peer.parser(__doc__), version, run)
