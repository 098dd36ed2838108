"""Graphs that no package may hold, given to the real child process; and children that die on them."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from service.errors import GraphRefused
from service.packages.package import read_package
from service.packages.schema import Graph
from service.packages.vetting.parent import MEBIBYTE, VettingLimits, vet
from service.packages.vetting.rules import infer
from tests.support.toy import write_toy_package

CORPUS = Path(__file__).parents[4] / "benchmarks/trust/corpus"
LIMITS = VettingLimits(timeout_s=30, memory_bytes=1024 * MEBIBYTE)
Damage = Callable[[ModelProto], None]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Graph, bytes]]:
    """Graph kind → what the manifest says of it, and its bytes."""
    package = read_package(write_toy_package(tmp_path_factory.mktemp("models"), conditional=True))
    return {kind: (graph, package.models[kind]) for kind, graph in package.manifest.graphs.items()}


def verdict(*graphs: tuple[Graph, bytes], limits: VettingLimits = LIMITS) -> str | None:
    try:
        asyncio.run(vet(graphs, limits))
    except GraphRefused as error:
        return str(error)
    return None


def test_the_graphs_of_a_good_package_pass(toy: dict[str, tuple[Graph, bytes]]) -> None:
    assert verdict(toy["generator"], toy["discriminator"]) is None


def test_a_size_that_is_a_multiple_of_the_batch_passes(toy: dict[str, tuple[Graph, bytes]]) -> None:
    graph, content = toy["generator"]
    model = onnx.load_from_string(content)
    twice_the_batch(model)
    assert verdict((graph, model.SerializeToString())) is None


def node_before_the_end(op: str, domain: str = "", **attributes: object) -> Damage:
    """Send the sample through one more operator."""

    def damage(model: ModelProto) -> None:
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        node = helper.make_node(op, [conv.output[0]], ["extra"], domain=domain, **attributes)  # type: ignore[arg-type]
        for after in model.graph.node:
            for index, name in enumerate(after.input):
                if name == conv.output[0]:
                    after.input[index] = "extra"
        model.graph.node.insert(list(model.graph.node).index(conv) + 1, node)

    damage.__name__ = op
    return damage


def external_weight(model: ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


def short_weight(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def enormous_weight(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**40, 2**40]


def replaceable_weight(model: ModelProto) -> None:
    weight = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))


def strings(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["word"], dtype=object), "words"))


def external_constant(model: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["unused"], value=numpy_helper.from_array(np.zeros(1), "value"))
    constant.attribute[0].t.ClearField("raw_data")
    constant.attribute[0].t.external_data.add(key="location", value="elsewhere")
    model.graph.node.append(constant)


def segment(model: ModelProto) -> None:
    model.graph.initializer[0].segment.begin = 0


def negative_axes(model: ModelProto) -> None:
    dims = model.graph.initializer[0].dims
    dims[0], dims[1] = -dims[0], -dims[1]


def sparse_weight(model: ModelProto) -> None:
    model.graph.sparse_initializer.add()


def training(model: ModelProto) -> None:
    model.training_info.add()


def many_weights(model: ModelProto) -> None:
    one = numpy_helper.from_array(np.zeros(1, np.float32))
    for index in range(10_001):
        one.name = f"w{index}"
        model.graph.initializer.append(one)


def function(model: ModelProto) -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(
        helper.make_function("local", "Twice", ["x"], ["y"], [identity], [helper.make_opsetid("", 20)])
    )


def branch(model: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    condition = numpy_helper.from_array(np.array(True), "condition")
    model.graph.initializer.append(condition)
    model.graph.node.append(helper.make_node("If", ["condition"], [], then_branch=inner, else_branch=inner))


def subgraph_attribute(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))


def training_mode(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("training_mode", 1))


def another_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 21


def foreign_opset(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def fixed_batch(model: ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def batch_fixed_inside(model: ModelProto) -> None:
    """The shape of an exporter that baked its example batch into a Reshape."""
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    target = next(weight for weight in model.graph.initializer if weight.name == reshape.input[1])
    target.CopyFrom(numpy_helper.from_array(np.array([2, -1, 8, 8]), target.name))


def renamed_input(model: ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["z" if name == "latent" else name for name in node.input]
    model.graph.input[0].name = "z"


def one_output(model: ModelProto) -> None:
    del model.graph.output[1]


def unknown_name(model: ModelProto) -> None:
    model.graph.node[2].input[0] = "nowhere"


def wrong_shapes(model: ModelProto) -> None:
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    weight = next(weight for weight in model.graph.initializer if weight.name == gemm.input[1])
    weight.dims[:] = [weight.dims[1], weight.dims[0]]


def memory_bomb(model: ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([2**16, 2**16]), "bomb_shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["bomb_shape"], ["bomb"]))


def count_from_the_latent(model: ModelProto, most: float = 3e8) -> str:
    """Add a count that the latent chooses, nearly always 0 and for a rare seed a gigabyte; answer its name."""
    for name, value in (
        ("first", np.array([0])),
        ("rare", np.array(1.79, np.float32)),
        ("most", np.array([most], np.float32)),
        ("flat", np.array([-1])),
    ):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for op, inputs, output in (
        ("Gather", ["latent", "first"], "coordinate"),
        ("Sub", ["coordinate", "rare"], "beyond"),
        ("Relu", ["beyond"], "kept"),
        ("ReduceMax", ["kept"], "largest"),
        ("Reshape", ["largest", "flat"], "one"),
        ("Mul", ["one", "most"], "many"),
    ):
        node = helper.make_node(op, inputs, [output])
        if op in {"ReduceMax", "Gather"}:
            node.attribute.append(helper.make_attribute(*(("keepdims", 0) if op == "ReduceMax" else ("axis", 1))))
        model.graph.node.append(node)
    model.graph.node.append(helper.make_node("Cast", ["many"], ["count"], to=TensorProto.INT64))
    return "count"


def sized_by_the_latent(op: str, *constants: np.ndarray, place: int, **attributes: object) -> Damage:
    """Give one operator a size that the latent chooses, in the place where it takes one."""

    def damage(model: ModelProto) -> None:
        count = count_from_the_latent(model)
        inputs = []
        for number, value in enumerate(constants):
            inputs.append(f"{op}_{number}")
            model.graph.initializer.append(numpy_helper.from_array(value, inputs[-1]))
        inputs.insert(place, count)
        model.graph.node.append(helper.make_node(op, inputs, ["chosen"], **attributes))  # type: ignore[arg-type]

    damage.__name__ = op
    return damage


def resized_by_the_latent(model: ModelProto) -> None:
    count_from_the_latent(model)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "line"))
    model.graph.node.append(helper.make_node("Resize", ["line", "", "many"], ["chosen"], mode="nearest"))


def huge_by_the_batch(model: ModelProto) -> None:
    """A size that follows from the batch alone, and is beyond reason all the same."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**31]), "gigabytes"))
    model.graph.node.append(helper.make_node("Shape", ["latent"], ["batch_only"], start=0, end=1))
    model.graph.node.append(helper.make_node("Mul", ["batch_only", "gigabytes"], ["bytes"]))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["bytes"], ["bomb"]))


def grows_by_the_square(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**18]), "quarter"))
    model.graph.node.append(helper.make_node("Shape", ["latent"], ["batch_only"], start=0, end=1))
    model.graph.node.append(helper.make_node("Concat", ["batch_only", "batch_only", "quarter"], ["square"], axis=0))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["square"], ["bomb"]))


ONE = np.array([1])


def many_nodes(model: ModelProto) -> None:
    model.graph.node.extend([helper.make_node("Relu", ["latent"], [f"r{index}"]) for index in range(10_001)])


def of_the_batch(model: ModelProto, *nodes: onnx.NodeProto, **constants: list[int]) -> None:
    """Add a tensor whose size `size` these nodes compute from the batch, `count`."""
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["latent"], ["count"], start=0, end=1),
            *nodes,
            helper.make_node("ConstantOfShape", ["size"], ["bomb"]),
        ]
    )


def huge_at_batches_that_nobody_tries(model: ModelProto) -> None:
    """8 + 10⁷ (B − 2)(B − 8)(B − 64)."""
    of_the_batch(
        model,
        *(helper.make_node("Sub", ["count", f"c{root}"], [f"less{root}"]) for root in (2, 8, 64)),
        helper.make_node("Mul", ["less2", "less8"], ["square"]),
        helper.make_node("Mul", ["square", "less64"], ["cube"]),
        helper.make_node("Mul", ["cube", "factor"], ["product"]),
        helper.make_node("Add", ["product", "c8"], ["size"]),
        c2=[2],
        c8=[8],
        c64=[64],
        factor=[10**7],
    )


def huge_where_integers_wrap(model: ModelProto) -> None:
    """8 + 2³² B, which inference takes for 8, since it does not know that 2³² B as 32 bits is none."""
    of_the_batch(
        model,
        helper.make_node("Mul", ["count", "factor"], ["much"]),
        helper.make_node("Cast", ["much"], ["short"], to=TensorProto.INT32),
        helper.make_node("Cast", ["short"], ["long"], to=TensorProto.INT64),
        helper.make_node("Sub", ["much", "long"], ["none"]),
        helper.make_node("Sub", ["none", "offset"], ["product"]),
        helper.make_node("Add", ["product", "c8"], ["size"]),
        factor=[2**32],
        offset=[0],
        c8=[8],
    )


def rounded_batch(model: ModelProto) -> None:
    of_the_batch(
        model,
        helper.make_node("Cast", ["count"], ["inexact"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["inexact"], ["size"], to=TensorProto.INT64),
    )


def huge_where_a_table_says_so(model: ModelProto) -> None:
    """One element, and 2³⁴ in a batch of 32: none in a batch of two, nor where sizes are small as a rule."""
    table = [1] * 1024
    table[32] = 2**34
    of_the_batch(model, helper.make_node("Gather", ["table", "count"], ["size"]), table=table)


def with_nodes(model: ModelProto, *nodes: onnx.NodeProto, **constants: object) -> None:
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    model.graph.node.extend(nodes)


def outer_product(model: ModelProto, left: str, right: str, product: str) -> None:
    with_nodes(
        model,
        helper.make_node("Reshape", [left, "as_column"], [f"{product}_left"]),
        helper.make_node("Reshape", [right, "as_row"], [f"{product}_right"]),
        helper.make_node("MatMul", [f"{product}_left", f"{product}_right"], [product]),
    )


def huge_between_two_batches(model: ModelProto) -> None:
    """((B − 8)(65 − B))⁴, by slices and by a kernel as long as the batch: nothing at 8, and little at 64."""
    with_nodes(
        model,
        helper.make_node("Slice", ["latent", "none", "one", "second"], ["column"]),
        helper.make_node("Slice", ["column", "eight", "end", "first_axis"], ["behind_eight"]),
        helper.make_node("Reshape", ["column", "as_kernel"], ["kernel"]),
        helper.make_node("Conv", ["signal", "kernel"], ["ahead_of_65"]),
        none=[0],
        one=[1],
        eight=[8],
        end=[2**62],
        first_axis=[0],
        second=[1],
        as_kernel=[1, 1, -1],
        as_column=[-1, 1],
        as_row=[1, -1],
        signal=np.zeros((1, 1, 64), np.float32),
    )
    outer_product(model, "behind_eight", "ahead_of_65", "power1")
    for power in (1, 2, 3):
        outer_product(model, f"power{power}", "power1", f"power{power + 1}")


def huge_for_one_sample(model: ModelProto) -> None:
    """4 (64 / B)⁵ numbers: the rest of a constant that is shared out among the batch."""
    with_nodes(
        model,
        helper.make_node("Shape", ["latent"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "rest"], ["shares"], axis=0),
        helper.make_node("Reshape", ["line", "shares"], ["shared"]),
        helper.make_node("Slice", ["shared", "none", "one", "none"], ["share"]),
        rest=[-1],
        none=[0],
        one=[1],
        as_column=[-1, 1],
        as_row=[1, -1],
        line=np.zeros(64, np.float32),
        four=np.zeros(4, np.float32),
    )
    outer_product(model, "four", "share", "power1")
    for power in range(1, 5):
        outer_product(model, f"power{power}", "share", f"power{power + 1}")


def huge_beyond_64(model: ModelProto) -> None:
    """(B − 64) 2³³ numbers, none in the batches that are run by default."""
    with_nodes(
        model,
        helper.make_node("Slice", ["latent", "default", "end", "first_axis"], ["beyond"]),
        helper.make_node("Slice", ["beyond", "none", "one", "second"], ["column"]),
        helper.make_node("Expand", ["column", "much"], ["bomb"]),
        default=[64],
        end=[2**62],
        first_axis=[0],
        second=[1],
        none=[0],
        one=[1],
        much=[1, 2**33],
    )


def twice_the_batch(model: ModelProto) -> None:
    of_the_batch(model, helper.make_node("Mul", ["count", "factor"], ["size"]), factor=[2])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (node_before_the_end("RandomNormalLike"), r"\(RandomNormalLike\): draws its own noise"),
        (node_before_the_end("Dropout"), r"\(Dropout\): draws its own noise"),
        (node_before_the_end("NonZero"), r"\(NonZero\): the operator is not one that inference needs"),
        (node_before_the_end("FusedConv", "com.microsoft"), "is of the domain 'com.microsoft'"),
        (node_before_the_end("Tanh", "evil"), "is of the domain 'evil'"),
        (branch, r"\(If\): the operator is not one"),
        (subgraph_attribute, "the attribute 'body' is not plain data"),
        (training_mode, "is in training mode"),
        (external_weight, "the weight 'constant_0': is external data"),
        (external_constant, "the attribute 'value': is external data"),
        (segment, "the weight 'constant_0': is only a segment"),
        (negative_axes, "the weight 'constant_0': has a negative axis"),
        (sparse_weight, "has sparse weights"),
        (training, "carries training information"),
        (many_weights, r"has 100\d\d weights; at most 10000 are read"),
        (short_weight, "the weight 'constant_0': has shape .* but holds"),
        (enormous_weight, r"the weight 'constant_0': has shape \[1099511627776, 1099511627776\]"),
        (replaceable_weight, "the weight 'constant_0' is an input as well"),
        (strings, "the weight 'words': has elements of a type"),
        (function, r"defines functions \(Twice\)"),
        (another_opset, "imports the operators ai.onnx 21; the manifest states ai.onnx 20 alone"),
        (foreign_opset, "ai.onnx 20, com.example 1; the manifest states ai.onnx 20 alone"),
        (fixed_batch, "input latent: its batch is fixed at 1"),
        (batch_fixed_inside, "output sample: its batch is fixed at 2"),
        (renamed_input, "has the inputs z, label; the manifest states latent, label"),
        (one_output, "has the outputs sample; the manifest states sample, pixels"),
        (unknown_name, "is not valid ONNX: .*nowhere"),
        (wrong_shapes, "is not valid ONNX: "),
        (memory_bomb, "the tensor 'bomb' takes 17179869184 bytes a sample"),
        (many_nodes, "has more than 10000 nodes"),
        (sized_by_the_latent("ConstantOfShape", place=0), r"\(ConstantOfShape\): the size of 'chosen' depends on more"),
        (sized_by_the_latent("Expand", ONE, place=1), r"\(Expand\): the size of 'chosen' depends on more"),
        (sized_by_the_latent("Tile", ONE, place=1), r"\(Tile\): the size of 'chosen' depends on more"),
        (sized_by_the_latent("Range", np.array(0), np.array(1), place=1), r"\(Range\): the size of 'chosen'|not valid"),
        (sized_by_the_latent("Pad", ONE, np.array([0]), place=1), r"the size of 'chosen'|not valid|no shapes"),
        (sized_by_the_latent("Slice", np.arange(9), np.array([0]), place=2), r"\(Slice\): the size of 'chosen'"),
        (sized_by_the_latent("TopK", np.arange(9.0, dtype=np.float32), place=1), "the size of|not valid"),
        (sized_by_the_latent("OneHot", ONE, np.array([0, 1]), place=1), r"\(OneHot\): the size of 'chosen'"),
        (sized_by_the_latent("Reshape", np.arange(9), place=1), r"\(Reshape\): the size of 'chosen'"),
        (sized_by_the_latent("CenterCropPad", np.arange(9), place=1), r"\(CenterCropPad\): the size of 'chosen'"),
        (resized_by_the_latent, r"\(Resize\): the size of 'chosen' depends on more"),
        (sized_by_the_latent("NonZero", place=0), r"\(NonZero\): the operator is not one that inference needs"),
        (sized_by_the_latent("Unique", place=0), r"\(Unique\): the operator is not one that inference needs"),
        (huge_by_the_batch, "the tensor 'bomb' takes 8589934592 bytes a sample"),
        (grows_by_the_square, "the tensor 'bomb' grows faster than its batch"),
        (huge_at_batches_that_nobody_tries, r"\(Sub\): computes a size from the batch other than a multiple"),
        (huge_where_integers_wrap, r"\(Cast\): converts a number that depends on the batch to integers"),
        (huge_where_a_table_says_so, r"\(Gather\): looks a number up by the batch"),
        (huge_between_two_batches, "the tensor 'power4' grows faster than its batch, to 2754990144 bytes in a"),
        (huge_for_one_sample, "the tensor 'power5' takes 17179869184 bytes a sample in a batch of 1;"),
        (huge_beyond_64, "the tensor 'bomb' takes 17179869184 bytes a sample in a batch of 128"),
        (rounded_batch, r"\(Cast\): converts a number that depends on the batch to integers"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_graph_that_no_package_may_hold_is_refused_with_the_reason(
    toy: dict[str, tuple[Graph, bytes]], damage: Damage, words: str
) -> None:
    graph, content = toy["generator"]
    model = onnx.load_from_string(content)
    damage(model)
    with pytest.raises(GraphRefused, match=f"^generator.onnx: .*{words}"):
        asyncio.run(vet([(graph, model.SerializeToString())], LIMITS))


@pytest.mark.parametrize(
    ("kind", "side", "change", "words"),
    [
        ("generator", "inputs", {"shape": (-1, 17)}, r"input latent: has shape \[-1, 16\]; .* states \[-1, 17\]"),
        ("generator", "inputs", {"shape": (-1, 4, 4)}, r"input latent: has shape \[-1, 16\]"),
        ("generator", "inputs", {"datatype": "FP16"}, "input latent: has elements of ONNX type 1; .* states FP16"),
        ("generator", "outputs", {"name": "x"}, "has the outputs sample, pixels; the manifest states x, pixels"),
        ("discriminator", "outputs", {"shape": (-1, 1)}, r"output logit: has shape \[-1\]; .* states \[-1, 1\]"),
        ("discriminator", "outputs", {"datatype": "INT64"}, "output logit: has elements of .* states INT64"),
    ],
)  # fmt: skip
def test_a_graph_whose_tensors_are_not_the_manifests_is_refused(
    toy: dict[str, tuple[Graph, bytes]], kind: str, side: str, change: dict[str, object], words: str
) -> None:
    graph, content = toy[kind]
    first, *rest = graph.inputs if side == "inputs" else graph.outputs
    stated = graph.model_copy(update={side: (first.model_copy(update=change), *rest)})
    with pytest.raises(GraphRefused, match=f"^{kind}.onnx: {words}"):
        asyncio.run(vet([(stated, content)], LIMITS))


def test_a_discriminator_that_denies_its_batch_statistics_is_found_out_by_its_graph(tmp_path: Path) -> None:
    package = read_package(write_toy_package(tmp_path, batch_coupled=True))
    honest = package.manifest.discriminator
    assert honest is not None
    content = package.models["discriminator"]
    assert verdict((honest, content)) is None
    refusal = verdict((honest.model_copy(update={"batch_coupled": False}), content))
    assert refusal is not None
    assert "(ReduceMean): computes across the first axis" in refusal
    assert "state batch_coupled: true" in refusal


def test_samples_that_meet_may_not_take_all_memory_either(tmp_path: Path) -> None:
    package = read_package(write_toy_package(tmp_path, batch_coupled=True))
    graph = package.manifest.discriminator
    assert graph is not None
    model = onnx.load_from_string(package.models["discriminator"])
    with_nodes(
        model,
        helper.make_node("Shape", [graph.inputs[0].name], ["batch_only"], start=0, end=1),
        helper.make_node("Concat", ["batch_only", "batch_only", "much"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["bomb"]),
        much=[2**21],
    )
    refusal = verdict((graph, model.SerializeToString()))
    assert refusal is not None
    assert "the tensor 'bomb' grows faster than its batch, to 1207959552 bytes in a batch of 12" in refusal


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08" * 1000])
def test_bytes_that_are_no_graph_are_refused(toy: dict[str, tuple[Graph, bytes]], content: bytes) -> None:
    assert (verdict((toy["generator"][0], content)) or "").startswith("generator.onnx: ")


def named_nowhere(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere!"


def named_output(model: ModelProto) -> None:
    model.graph.output[1].name = "nowhere!"
    model.graph.node[-1].output[0] = "nowhere!"


def named_graph(model: ModelProto) -> None:
    model.graph.name = "nowhere!"


def named_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("nowhere!", 1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (named_nowhere, "is not valid ONNX: it has a name that is not UTF-8"),
        (named_output, "has the outputs sample, b'"),
        (named_graph, "has a name that is not UTF-8"),
        (named_domain, "imports the operators ai.onnx 20, b'"),
    ],
)
def test_text_that_is_not_utf_8_is_refused_in_a_sentence(
    toy: dict[str, tuple[Graph, bytes]], damage: Damage, words: str
) -> None:
    graph, content = toy["generator"]
    model = onnx.load_from_string(content)
    damage(model)
    refusal = verdict((graph, model.SerializeToString().replace(b"nowhere!", b"nowhere\xff")))
    assert (refusal or "").startswith(f"generator.onnx: {words}")


@pytest.mark.parametrize("file", ["type-0.onnx", "type-2147483647.onnx"])
def test_types_that_the_library_does_not_know_are_refused_in_a_sentence(file: str) -> None:
    content = (CORPUS / "onnx" / file).read_bytes()
    with pytest.raises(GraphRefused, match=r"^is not valid ONNX: Invalid tensor data type \d+\.$"):
        infer(content)


def test_a_graph_cut_off_anywhere_is_refused(toy: dict[str, tuple[Graph, bytes]]) -> None:
    graph, content = toy["generator"]
    for length in (100, len(content) // 2, len(content) - 1):
        assert (verdict((graph, content[:length])) or "").startswith("generator.onnx: ")


def test_the_second_graph_is_looked_at_too_and_named(toy: dict[str, tuple[Graph, bytes]]) -> None:
    graph, content = toy["discriminator"]
    assert verdict(toy["generator"], (graph, content[:-1])) == (
        "discriminator.onnx: is not an ONNX graph, or is truncated"
    )


@pytest.mark.parametrize("memory_mebibytes", [200, 400])  # one fails to parse the graph, the other to check it
def test_a_child_that_needs_too_much_memory_is_a_refusal(
    toy: dict[str, tuple[Graph, bytes]], memory_mebibytes: int
) -> None:
    graph, content = toy["generator"]
    model = onnx.load_from_string(content)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2**24, np.float32), "padding"))  # 64 MiB
    limits = VettingLimits(timeout_s=30, memory_bytes=memory_mebibytes * MEBIBYTE)
    assert verdict((graph, model.SerializeToString()), limits=limits) == (
        f"generator.onnx: the vetting child needed more than its {memory_mebibytes} MiB of memory"
    )


def another_class(model: ModelProto, *nodes: onnx.NodeProto, **constants: list[int]) -> None:
    """Let the class that the generator looks up be `class`, which these nodes make."""
    lookup = next(node for node in model.graph.node if node.op_type == "Gather")
    lookup.input[1] = "class"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())


def square_root_of_the_latent(model: ModelProto) -> None:
    """Finite for zeros, and for no negative number."""
    nodes = model.graph.node
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == "latent":
                node.input[index] = "root"
    nodes.insert(0, helper.make_node("Sqrt", ["latent"], ["root"]))


def logarithm_of_the_latent(model: ModelProto) -> None:
    square_root_of_the_latent(model)
    model.graph.node[0].op_type = "Log"


def least_integer_divided_by_minus_one(model: ModelProto) -> None:
    another_class(
        model,
        helper.make_node("Add", ["label", "least"], ["sum"]),
        helper.make_node("Div", ["sum", "minus_one"], ["class"]),
        least=[-(2**63)],
        minus_one=[-1],
    )


def class_beyond_the_last(model: ModelProto) -> None:
    another_class(model, helper.make_node("Add", ["label", "offset"], ["class"]), offset=[10])


def as_large_as_a_tensor_may_be(model: ModelProto) -> None:
    """A gigabyte, which is allowed, and not to be had here."""
    another_class(
        model,
        helper.make_node("ConstantOfShape", ["size"], ["bomb"]),
        helper.make_node("ReduceMax", ["bomb"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["label", "whole"], ["class"]),
        size=[2**28],
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (least_integer_divided_by_minus_one, "the vetting child was killed by SIGFPE"),
        (as_large_as_a_tensor_may_be, "the vetting child needed more than its 1024 MiB of memory"),
        (class_beyond_the_last, "the canary run's session failed: .*Gather"),
        (logarithm_of_the_latent, "fed with zeros, it answers sample with numbers that are not finite"),
        (square_root_of_the_latent, "fed with numbers between ±3, it answers sample with numbers that are not finite"),
    ],
)  # fmt: skip
def test_a_graph_that_reads_well_but_breaks_its_first_run_is_refused(
    toy: dict[str, tuple[Graph, bytes]], damage: Damage, words: str
) -> None:
    graph, content = toy["generator"]
    model = onnx.load_from_string(content)
    damage(model)
    with pytest.raises(GraphRefused, match=f"^generator.onnx: .*{words}"):
        asyncio.run(vet([(graph, model.SerializeToString())], LIMITS))


def children() -> set[int]:
    """The process ids of this process's children."""
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


async def vet_with_a_child_that_hangs(graph: tuple[Graph, bytes], limits: VettingLimits) -> asyncio.Task[None]:
    """Start vetting, and stop the child as soon as it lives."""
    before = children()
    vetting = asyncio.create_task(vet([graph], limits))
    while not (born := children() - before):  # noqa: ASYNC110  (the birth of a process sets no event)
        await asyncio.sleep(0)
    os.kill(born.pop(), signal.SIGSTOP)
    return vetting


@pytest.mark.timeout(20)
def test_a_child_that_takes_too_long_is_killed_and_is_a_refusal(toy: dict[str, tuple[Graph, bytes]]) -> None:
    async def scenario() -> None:
        vetting = await vet_with_a_child_that_hangs(toy["generator"], replace(LIMITS, timeout_s=0.5))
        with pytest.raises(GraphRefused, match=r"^generator.onnx: vetting took longer than 0.5 s$"):
            await vetting

    before = children()
    asyncio.run(scenario())
    assert children() <= before


@pytest.mark.timeout(20)
def test_cancelling_the_wait_kills_the_child(toy: dict[str, tuple[Graph, bytes]]) -> None:
    async def scenario() -> None:
        vetting = await vet_with_a_child_that_hangs(toy["generator"], LIMITS)
        ended, _ = await asyncio.wait([vetting], timeout=0.2)  # the graph is being written to the child by now
        assert not ended
        vetting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await vetting

    before = children()
    asyncio.run(scenario())
    assert children() <= before


def test_the_child_sees_nothing_of_the_services_environment(
    toy: dict[str, tuple[Graph, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # would stop any Python that saw it
    assert verdict(toy["generator"]) is None


def test_the_event_loop_turns_while_a_graph_is_vetted(toy: dict[str, tuple[Graph, bytes]]) -> None:
    async def turns() -> int:
        vetting = asyncio.create_task(vet([toy["generator"]], LIMITS))
        count = 0
        while not vetting.done():
            await asyncio.sleep(0)
            count += 1
        await vetting
        return count

    assert asyncio.run(turns()) > 100  # a handful if anything on the way held the loop
