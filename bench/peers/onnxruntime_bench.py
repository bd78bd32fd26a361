#!/usr/bin/env python3
"""onnxruntime's side of `tessera bench` on the CPU: the same options, the same JSON object.

mode infer  forward of torchvision's network with random weights, exported to ONNX
mode cold   import, session from the ONNX file, first prediction
Input and output stay in memory bound to the session. All graph optimisations are on."""
import time

import peer


def session(ort, path, args):
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_free_dimension_override_by_name("batch", args.batch)  # all shapes known ahead
    # Random weights let signals fade; trained ones would not.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def bind(ort, net, images):
    binding = net.io_binding()
    binding.bind_ortvalue_input("images", ort.OrtValue.ortvalue_from_numpy(images))
    binding.bind_output("logits", "cpu")
    return binding


def run(args, directory):
    stem = peer.exported(args, directory)
    begin = time.monotonic()
    ort, np = peer.require("onnxruntime", "numpy")
    shape = (args.batch, 3, args.height, args.width)
    net = session(ort, stem + ".onnx", args)
    created = time.monotonic()
    if args.mode == "cold":
        binding = bind(ort, net, np.zeros(shape, np.float32))
        net.run_with_iobinding(binding)
        binding.copy_outputs_to_cpu()[0].argmax(1).tolist()
        return peer.cold_result(args, version(), begin, created, time.monotonic())
    images = np.random.default_rng(args.seed).standard_normal(shape, np.float32)
    binding = bind(ort, net, images)
    times = peer.measure(lambda: net.run_with_iobinding(binding), args)
    return peer.steps_result(args, version(), times, peer.peak_rss_mb(), **peer.counts(stem))


def version():
    return "onnxruntime " + peer.require("onnxruntime").__version__


if __name__ == "__main__":
    peer.main(peer.parser(__doc__), version, run)
