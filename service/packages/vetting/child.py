"""The program that parses and checks ONNX graphs, so that the service never parses a graph that was not checked.

    python -m service.packages.vetting.child --memory-bytes N --cpu-s N  < request  > verdict

    request   one line of JSON, {"graphs": [{file, bytes, opset, inputs, outputs, batch_coupled}, …]},
              then the bytes of the graphs, one after the other
    verdict   one line of JSON, {"refusal": null} or {"refusal": "…"}

Threat model: a graph is a program from an untrusted file, and parsers and runtimes of such files have had memory-safety
bugs. So graphs are parsed and first run here, in a process without secrets, whose environment is bare (`parent.py`) and
which gives up memory, time, files and children before it reads a byte (`sandbox.py`). If it crashes or is killed, that
counts as a refusal. Only what passed is loaded by the service, from the same bytes.

A graph that passes
    is one file, with standard operators of the stated opset, of those that inference of MLPs, convolutional networks
    and transformers needs, without control flow, functions or training mode (`rules.py`);
    draws no noise: all of it is an input, else a seed would not determine the sample (`rules.py`);
    has the tensors that the manifest states, with a free batch (`rules.py`);
    has tensors whose sizes depend on the batch alone, and are within reason (`tensor_sizes.py`);
    keeps the samples of a batch apart where its scores are said not to depend on each other (`batch_axis.py`);
    survives a run (`sandbox.py`).
"""

import argparse
import json
import sys
from typing import TypedDict

from service.engine.model_spec import Datatype, Role, TensorSpec
from service.errors import GraphRefused
from service.packages.vetting.batch_axis import check_scores
from service.packages.vetting.rules import check_model, check_nodes, check_tensors, check_weights, infer, parse
from service.packages.vetting.sandbox import confine, smoke_run
from service.packages.vetting.tensor_sizes import check_counts, check_sizes


class StatedTensor(TypedDict):
    """What the manifest says of one input or output."""

    name: str
    datatype: Datatype
    shape: list[int]
    role: Role


class StatedGraph(TypedDict):
    """What the manifest says of one graph, and how many of the bytes after the JSON are its own."""

    file: str
    bytes: int
    opset: int
    inputs: list[StatedTensor]
    outputs: list[StatedTensor]
    batch_coupled: bool


def vet(content: bytes, stated: StatedGraph) -> None:
    """Check one graph against every rule, and run it.

    Raises:
        GraphRefused: it breaks a rule, or its first run.
        MemoryError: it needs more memory than there is.
    """
    inputs, outputs = _specs(stated["inputs"]), _specs(stated["outputs"])
    model = parse(content)
    check_model(model, stated["opset"])
    check_nodes(model.graph.node)
    check_weights(model.graph)
    inferred = infer(content)
    check_tensors("input", inferred.input, inputs)
    check_tensors("output", inferred.output, outputs)
    check_counts(inferred)
    check_sizes(model, batch_coupled=stated["batch_coupled"])
    if not stated["batch_coupled"] and any(tensor.role == "logit" for tensor in outputs):
        check_scores(inferred)
    smoke_run(content, inputs, outputs)


def _specs(stated: list[StatedTensor]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each["name"], each["datatype"], tuple(each["shape"]), each["role"]) for each in stated)


def main() -> None:
    """Read one request from standard input, write one verdict to standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    arguments = parser.parse_args()
    confine(arguments.memory_bytes, arguments.cpu_s)
    graphs: list[StatedGraph] = json.loads(sys.stdin.buffer.readline())["graphs"]
    refusal = None
    for stated in graphs:
        try:
            vet(sys.stdin.buffer.read(stated["bytes"]), stated)
        except GraphRefused as error:
            refusal = f"{stated['file']}: {error}"
            break
    sys.stdout.write(json.dumps({"refusal": refusal}) + "\n")


if __name__ == "__main__":
    main()
