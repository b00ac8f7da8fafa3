"""The ViT: published checkpoints and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from experiments.models import load_vit_checkpoint
from experiments.models.vit import ViT

WIDTH, DEPTH, HEADS, PATCH, CLASSES = 8, 2, 2, 4, 5


def make_vit(num_classes=CLASSES, image_size=12, **kwargs):
    sizes = {"patch_size": PATCH, "width": WIDTH, "depth": DEPTH, "heads": HEADS}
    return ViT(num_classes, 3, image_size=image_size, **(sizes | kwargs), rngs=nnx.Rngs(0))


def make_shapes(*args, **kwargs):
    """A ViT without weights, which is enough to load some."""
    return nnx.eval_shape(lambda: make_vit(*args, **kwargs))


@pytest.fixture
def weights():
    """Random weights under the names, and in the shapes, of the original release."""
    shapes = {
        "cls": (1, 1, WIDTH),
        "embedding/kernel": (PATCH, PATCH, 3, WIDTH),
        "embedding/bias": (WIDTH,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + 9, WIDTH),
        "Transformer/encoder_norm/scale": (WIDTH,),
        "Transformer/encoder_norm/bias": (WIDTH,),
        "head/kernel": (WIDTH, CLASSES),
        "head/bias": (CLASSES,),
    }
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for name in ("query", "key", "value"):
            shapes[f"{attention}/{name}/kernel"] = (WIDTH, HEADS, WIDTH // HEADS)
            shapes[f"{attention}/{name}/bias"] = (HEADS, WIDTH // HEADS)
        shapes[f"{attention}/out/kernel"] = (HEADS, WIDTH // HEADS, WIDTH)
        shapes[f"{attention}/out/bias"] = (WIDTH,)
        shapes[f"{block}/MlpBlock_3/Dense_0/kernel"] = (WIDTH, 4 * WIDTH)
        shapes[f"{block}/MlpBlock_3/Dense_0/bias"] = (4 * WIDTH,)
        shapes[f"{block}/MlpBlock_3/Dense_1/kernel"] = (4 * WIDTH, WIDTH)
        shapes[f"{block}/MlpBlock_3/Dense_1/bias"] = (WIDTH,)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes[f"{block}/{norm}/scale"] = shapes[f"{block}/{norm}/bias"] = (WIDTH,)
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def save(tmp_path):
    def save(weights):
        np.savez(tmp_path / "vit.npz", **weights)
        return tmp_path / "vit.npz"

    return save


def reference_logits(weights, image):
    """The release's model in NumPy, one image at a time."""

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * weights[f"{name}/scale"] + weights[f"{name}/bias"]

    def linear(x, name, equation):
        return np.einsum(equation, x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]

    side = len(image) // PATCH
    patches = image.reshape(side, PATCH, side, PATCH, 3)
    x = linear(patches, "embedding", "ipjqc,pqcd->ijd").reshape(-1, WIDTH)
    x = np.concatenate([weights["cls"][0], x])
    x = x + weights["Transformer/posembed_input/pos_embedding"][0]
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        y = norm(x, f"{block}/LayerNorm_0")
        query, key, value = (
            linear(y, f"{attention}/{name}", "td,dhk->thk") for name in ("query", "key", "value")
        )
        scores = softmax(np.einsum("thk,shk->hts", query, key) / (WIDTH // HEADS) ** 0.5, axis=-1)
        y = np.einsum("hts,shk->thk", scores, value)
        x = x + linear(y, f"{attention}/out", "thk,hkd->td")
        y = linear(norm(x, f"{block}/LayerNorm_2"), f"{block}/MlpBlock_3/Dense_0", "td,de->te")
        y = y / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (y + 0.044715 * y**3)))
        x = x + linear(y, f"{block}/MlpBlock_3/Dense_1", "te,ed->td")
    return linear(norm(x, "Transformer/encoder_norm")[0], "head", "d,dc->c")


def test_a_loaded_model_computes_what_the_release_computes(weights, save):
    model = make_shapes()
    load_vit_checkpoint(save(weights), model)
    image = np.random.default_rng(1).normal(size=(12, 12, 3)).astype(np.float32)
    logits = nnx.jit(lambda model, images: model(images))(model, image[None])
    np.testing.assert_allclose(logits[0], reference_logits(weights, image), rtol=1e-4, atol=1e-4)


def test_positions_are_resized_bilinearly_and_the_class_tokens_kept(weights, save):
    name = "Transformer/posembed_input/pos_embedding"
    grid = np.add.outer(10 * np.arange(3.0), np.arange(3.0))
    weights[name][0, 1:, 0] = grid.ravel()
    model = make_shapes(image_size=20)
    load_vit_checkpoint(save(weights), model)
    positions = model.positions[...]
    np.testing.assert_array_equal(positions[:, 0], weights[name][:, 0])
    # From 3 to 5 patches a side, corners on corners: a linear function stays one.
    expected = np.add.outer(10 * np.linspace(0, 2, 5), np.linspace(0, 2, 5))
    np.testing.assert_allclose(positions[0, 1:, 0], expected.ravel(), rtol=1e-6)


def test_resized_positions_have_no_row_of_zeros(weights, save):
    name = "Transformer/posembed_input/pos_embedding"
    weights[name] = np.ones((1, 1 + 8 * 8, WIDTH))
    model = make_shapes(image_size=26 * PATCH)
    load_vit_checkpoint(save(weights), model)
    np.testing.assert_allclose(model.positions[...], 1, rtol=1e-6)


@pytest.mark.parametrize(("num_classes", "pre_logits"), [(7, False), (CLASSES, True), (7, True)])
def test_the_head_starts_from_zeros_where_the_files_does_not_fit(
    num_classes, pre_logits, weights, save
):
    if pre_logits:
        weights |= {"pre_logits/kernel": np.ones((WIDTH, WIDTH)), "pre_logits/bias": np.ones(WIDTH)}
    model = make_shapes(num_classes)
    load_vit_checkpoint(save(weights), model)
    np.testing.assert_array_equal(model.classifier.kernel[...], np.zeros((WIDTH, num_classes)))
    np.testing.assert_array_equal(model.classifier.bias[...], np.zeros(num_classes))
    np.testing.assert_array_equal(model.cls[...], weights["cls"])


def test_another_depth_names_what_is_missing_and_what_is_not_expected(weights, save):
    path = save(weights)
    with pytest.raises(ValueError, match=r"encoderblock_2/LayerNorm_0/bias; .* and 10 more\.\n"):
        load_vit_checkpoint(path, make_shapes(depth=3))
    with pytest.raises(ValueError, match=r"missing: none\.\nUnexpected: .*encoderblock_1/"):
        load_vit_checkpoint(path, make_shapes(depth=1))


def test_another_width_names_the_shapes_and_leaves_the_model_alone(weights, save):
    model = make_shapes(width=16)
    message = r"key/bias: expected \(2, 8\), is \(2, 4\); .* and 32 more\."
    with pytest.raises(ValueError, match=message):
        load_vit_checkpoint(save(weights), model)
    assert model.cls.shape == (1, 1, 16)


@pytest.mark.parametrize("shape", [(1, 9, WIDTH), (10, WIDTH), (1, 1, WIDTH)])
def test_positions_that_are_not_a_grid_raise(shape, weights, save):
    weights["Transformer/posembed_input/pos_embedding"] = np.zeros(shape)
    with pytest.raises(ValueError, match=r"pos_embedding: expected \(1, 10, 8\), is"):
        load_vit_checkpoint(save(weights), make_shapes())


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_truncated_file_raises(keep, weights, save):
    path = save(weights)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"vit\.npz must be a \.npz file of the original ViT"):
        load_vit_checkpoint(path, make_shapes())


def test_a_damaged_or_other_file_raises(weights, save, tmp_path):
    path = save(weights)
    content = bytearray(path.read_bytes())
    content[content.index(weights["cls"].tobytes())] ^= 255  # the archive's checksum tells
    path.write_bytes(content)
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("<html>404</html>")
    for name in ("vit.npz", "array.npy", "text.npz"):
        with pytest.raises(ValueError, match=rf"{name} must be a \.npz file"):
            load_vit_checkpoint(tmp_path / name, make_shapes())
    with pytest.raises(FileNotFoundError):
        load_vit_checkpoint(tmp_path / "nowhere.npz", make_shapes())


def test_the_weights_of_a_vit_are_for_vits(weights, save):
    with pytest.raises(ValueError, match=r"vit\.npz holds the weights of a ViT, .* a Linear"):
        load_vit_checkpoint(save(weights), nnx.Linear(2, 2, rngs=nnx.Rngs(0)))


def test_images_of_another_size_raise():
    with pytest.raises(ValueError, match=r"built for \(12, 12\) images, got \(8, 8\)"):
        make_shapes()(jnp.zeros((1, 8, 8, 3)))


def test_initial_weights_are_those_of_the_release():
    @jax.jit
    def initial():
        model = make_vit(width=64, depth=1)
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    start = initial()
    block = start["blocks"][0]
    bound = (6 / (64 + 64)) ** 0.5  # Xavier's
    for layer in (block["attention"]["query"], block["attention"]["out"]):
        assert 0.98 * bound < abs(layer["kernel"]).max() <= bound
        np.testing.assert_allclose(layer["kernel"].std(), bound / 3**0.5, rtol=0.05)
        assert not layer["bias"].any()
    np.testing.assert_allclose(block["dense1"]["kernel"].std(), (2 / (5 * 64)) ** 0.5, rtol=0.05)
    np.testing.assert_allclose(block["dense1"]["bias"].std(), 1e-6, rtol=0.2)
    np.testing.assert_allclose(start["positions"].std(), 0.02, rtol=0.1)
    np.testing.assert_allclose(start["embedding"]["kernel"].std(), 48**-0.5, rtol=0.05)
    for zeros in (start["cls"], *start["classifier"].values()):
        assert not zeros.any()
