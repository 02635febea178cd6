"""Weights of ONNX in fewer bytes, which are turned into float32 when the file is loaded: the size is smaller, not the time."""

from typing import Any

import numpy as np

FEWEST = 256  # numbers of a weight that is worth it


def packed(model: Any, weights: str) -> bytes:
    """A ModelProto as bytes. weights: "float32" as they are; "float16"; or "int8", whole numbers from -127 to 127 times a scale of each
    row, the largest of it over 127. Norms, biases and other short ones stay."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    for node in model.graph.node:
        del node.metadata_props[:]  # where in our code it comes from: half of a small file
    if weights != "float32":
        kept, nodes = [], []
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype != np.float32 or values.ndim < 2 or values.size < FEWEST:
                kept.append(tensor)
                continue
            small, whole = f"{tensor.name}.{weights}", tensor.name
            if weights == "float16":
                kept.append(numpy_helper.from_array(values.astype(np.float16), small))
                nodes.append(helper.make_node("Cast", [small], [whole], to=TensorProto.FLOAT))
                continue
            steps, scale = rounded(values)
            kept += [numpy_helper.from_array(steps, small), numpy_helper.from_array(scale, f"{whole}.scale")]
            nodes.append(helper.make_node("Cast", [small], [f"{whole}.steps"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{whole}.steps", f"{whole}.scale"], [whole]))
        others = list(model.graph.node)
        del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
        model.graph.initializer.extend(kept)
        model.graph.node.extend([*nodes, *others])
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def rounded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rows, ...) as int8, and the scale (rows, 1, ...) float32 of each row, so that values ~ int8 * scale."""
    largest = np.abs(values).reshape(len(values), -1).max(1).reshape(-1, *[1] * (values.ndim - 1))
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
    return np.rint(values / scale).astype(np.int8), scale
