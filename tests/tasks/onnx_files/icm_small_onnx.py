"""Small ONNX networks, written node by node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A network that is put together node by node; each method returns the name of what it makes."""

    def __init__(self, size=(32, 48), batch=1, seed=0, opset=17):
        self.nodes, self.weights, self.outputs = [], [], []
        self.random = np.random.default_rng(seed)
        height, width = size or ("h", "w")
        self.input = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch or "n", 3, height, width])
        self.opset = opset

    def weight(self, *shape, scale=0.3):
        return self.constant((scale * self.random.standard_normal(shape)).astype(np.float32))

    def constant(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def conv(self, x, channels, into, stride=1, side=3):
        pads = [side // 2] * 4
        return self.node(
            "Conv", x, self.weight(into, channels, side, side), self.weight(into), strides=[stride] * 2, pads=pads
        )

    def body(self, stride=8, channels=8):
        """Features at a stride, a power of 2."""
        x, before = "images", 3
        while stride > 1:
            x, before = self.node("Relu", self.conv(x, before, channels, stride=2)), channels
            stride //= 2
        return x

    def out(self, value, name, shape):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def rows(self, maps, channels):
        """Maps (B, C, h, w) as rows (B, h * w, C)."""
        flat = self.node("Reshape", maps, self.constant(np.array([0, channels, -1], np.int64)))
        return self.node("Transpose", flat, perm=[0, 2, 1])

    def model(self):
        graph = helper.make_graph(self.nodes, "small", [self.input], self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def write(self, path: Path) -> Path:
        onnx.save(self.model(), str(path))
        return path


def classifier(path, classes=5, likelihoods=False, **options):
    g = Graph(**options)
    pooled = g.node("Flatten", g.node("GlobalAveragePool", g.body()))
    found = g.node("Gemm", pooled, g.weight(8, classes, scale=1.0), g.weight(classes))
    g.out(g.node("Softmax", found, axis=1) if likelihoods else found, "classes", ["n", classes])
    return g.write(path)


def maps(path, channels=5, positive=False, **options):
    g = Graph(**options)
    found = g.conv(g.body(stride=4), 8, channels)
    found = g.node("Softplus", found) if positive else found
    g.out(found, "maps", ["n", channels, "h4", "w4"])
    return g.write(path)


def grid(path, classes=3, strides=(8, 16), **options):
    """In the manner of YOLOX: likelihoods are sigmoids, boxes are raw."""
    g, rows = Graph(**options), []
    for stride in strides:
        body = g.body(stride)
        box = g.conv(body, 8, 4)
        scores = g.node("Sigmoid", g.conv(body, 8, 1 + classes))
        rows.append(g.rows(g.node("Concat", box, scores, axis=1), 5 + classes))
    g.out(g.node("Concat", *rows, axis=1), "found", ["n", "cells", 5 + classes])
    return g.write(path)


def boxes(path, classes=3, channels_first=False, two=False, **options):
    """Decoded boxes: middle and sides in pixels."""
    g = Graph(**options)
    body = g.body(8)
    box = g.rows(g.node("Mul", g.node("Sigmoid", g.conv(body, 8, 4)), g.constant(np.float32(30))), 4)
    scores = g.rows(g.node("Sigmoid", g.conv(body, 8, classes)), classes)
    if two:
        g.out(box, "boxes", ["n", "cells", 4])
        g.out(scores, "scores", ["n", "cells", classes])
        return g.write(path)
    both = g.node("Concat", box, scores, axis=2)
    if channels_first:
        g.out(g.node("Transpose", both, perm=[0, 2, 1]), "found", ["n", 4 + classes, "cells"])
    else:
        g.out(both, "found", ["n", "cells", 4 + classes])
    return g.write(path)


def queries(path, classes=3, softmax=True, **options):
    """In the manner of DETR."""
    g = Graph(**options)
    body = g.body(16)
    count = classes + softmax
    g.out(g.rows(g.node("Sigmoid", g.conv(body, 8, 4)), 4), "pred_boxes", ["n", "queries", 4])
    g.out(g.rows(g.conv(body, 8, count), count), "logits", ["n", "queries", count])
    return g.write(path)
