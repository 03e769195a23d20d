"""The fast form answers as the model does."""

import operator

import pytest
import torch
from torch import nn

from robaudit.attacks.objectives import cross_entropy, evaluate
from robaudit.fast.folding import fold_batch_norm, trace
from robaudit.fast.fused import FusedConvolution
from robaudit.fast.fusing import fuse_convolutions, live_form
from robaudit.fast.precision import search_model
from robaudit.inputs import build_architecture
from tests.models import Wrapped, cnn

#: Where it does not, networks stay in float32, which the other tests hold.
fuses_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN does not compute in bf16 on this CPU"
)


def with_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
            module.running_var.uniform_(0.1, 3, generator=torch.Generator().manual_seed(1))
            module.weight.data.uniform_(-2, 2, generator=torch.Generator().manual_seed(2))
    return model.eval()


class _Residual(nn.Module):
    """One convolution followed by its batch norm alone, one whose output is used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.a_norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.b, self.b_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = torch.relu(self.a_norm(self.a(x)))
        y = self.b(x)
        return (self.b_norm(y) + y + x).mean((2, 3))


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(("build", "left"), [(cnn, 0), (_Residual, 1)])
def test_folding_changes_nothing_but_rounding(build, left):
    model = with_statistics(build())
    x = torch.rand(16, 1, 8, 8)
    folded = fold_batch_norm(trace(model, x), x)
    assert norms(folded) == left
    assert norms(model) == left + 1, "the original was changed"
    with torch.no_grad():
        assert torch.allclose(folded(x), model(x), rtol=1e-4, atol=1e-4)


def test_what_passes_its_input_on_is_left_out():
    """An empty gate between convolution and shortcut kept each addition and ReLU of our ResNets from being fused."""
    network = build_architecture("resnet20", classes=10).eval()
    graph = trace(network, torch.rand(2, 3, 8, 8))
    kinds = {type(module) for module in graph.modules()}
    assert nn.Identity in {type(module) for module in network.modules()}
    called = {
        type(graph.get_submodule(node.target)) for node in graph.graph.nodes if node.op == "call_module"
    }
    assert called <= kinds - {nn.Identity}
    fused = fuse_convolutions(fold_batch_norm(graph, x := torch.rand(2, 3, 8, 8)), x)
    assert not [
        node for node in fused.graph.nodes if node.op == "call_function" and node.target is operator.add
    ]
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    folded = fold_batch_norm(trace(with_statistics(network), x := torch.rand(2, 1, 8, 8)), x)
    assert norms(folded) == 0


def test_what_cannot_be_traced_is_used_as_it_is():
    inner = with_statistics(cnn())

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) if float(x.sum()) > 0 else self.inner(-x)

    x = torch.rand(4, 1, 8, 8)
    assert trace(Branching(), x) is None
    with torch.no_grad():
        assert torch.allclose(
            search_model(Branching(), torch.device("cpu"), sample=x)(x), inner(x), atol=1e-5
        )
        assert torch.equal(
            search_model(Wrapped(lambda x: x.flatten(1)), torch.device("cpu"), sample=x)(x), x.flatten(1)
        )


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "auto"])
def test_every_precision_answers_nearly_alike_and_leaves_the_switches_alone(precision, monkeypatch):
    model, x = with_statistics(cnn()), torch.rand(16, 1, 8, 8)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    search = search_model(model, torch.device("cpu"), precision, x)
    with search.arithmetic():
        assert torch.backends.cudnn.allow_tf32 == (search.precision != "fp32")
        assert torch.backends.cuda.matmul.allow_tf32 == (search.precision == "tf32"), "it computes the margin"
        with torch.no_grad():
            found = search(x).float()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    with torch.no_grad():
        expected = model(x)
    spread = expected.amax(1) - expected.amin(1)
    assert float(((found - expected).abs() / spread[:, None]).max()) < 0.05


class _Shortcuts(nn.Module):
    """Every form of what may follow a convolution: ReLU as module, function and method, sums either way round."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 if k == 0 else 4, 4, 3, padding=1) for k in range(7))
        self.narrow = nn.Conv2d(4, 1, 3, stride=2, bias=False)
        self.grouped = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2)
        self.mirrored = nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        a, b, c, d, e, f, g = self.convs
        x = self.act(a(x))
        y = torch.relu(b(x) + x)
        z = (y + c(y)).relu()
        z = d(z) + e(x)
        z = nn.functional.relu(f(z)) + nn.functional.avg_pool2d(g(z), 3, 1, 1)
        z = z + 2 + z.mean((2, 3), keepdim=True) + self.grouped(z)[:, :4]
        broadcast = z + nn.functional.interpolate(self.narrow(z), scale_factor=1)[:, :, :1, :1]
        return self.mirrored(self.grouped(broadcast)).flatten(1)


def test_fused_convolutions_change_nothing_but_rounding():
    torch.manual_seed(0)
    model = _Shortcuts().eval().requires_grad_(False)
    x = torch.rand(5, 1, 8, 8)
    traced = trace(model, x)
    fused = fuse_convolutions(traced, x)
    assert fused is not None
    assert sum(isinstance(module, FusedConvolution) for module in fused.modules()) == 10
    for size in (1, 5, 16):
        x = torch.rand(size, 1, 8, 8, requires_grad=True)
        expected, found = model(x), fused(x)
        assert torch.allclose(expected, found, atol=1e-5)
        weights = torch.randn(expected.shape)
        by_torch, ours = (torch.autograd.grad((z * weights).sum(), x)[0] for z in (expected, found))
        assert torch.allclose(by_torch, ours, atol=1e-4)


def test_without_onednns_operators_the_plain_network_is_used(monkeypatch):
    def missing(*_):
        raise AttributeError

    model, x = with_statistics(cnn()), torch.rand(4, 1, 8, 8)
    monkeypatch.setattr("robaudit.fast.onednn.OneDNNConvolution.lay_out", missing)
    traced = trace(model, x)
    assert fuse_convolutions(traced, x) is None
    with torch.no_grad():
        assert torch.allclose(search_model(model, torch.device("cpu"), sample=x)(x), model(x), atol=1e-5)


def test_a_live_form_follows_the_weights():
    torch.manual_seed(0)
    network = build_architecture("residual:widths=8-16,depths=1-1,strides=1-2,stem=8-3-1", classes=5)
    network = network.to(memory_format=torch.channels_last).eval()
    names = list(network.state_dict())
    x = torch.rand(6, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    live = live_form(network, x[:2])
    assert live is not None
    for _ in range(2):
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                if tensor.is_floating_point():
                    tensor.add_(torch.rand_like(tensor) if "var" in name else torch.randn_like(tensor) * 0.1)
        z = x.clone().requires_grad_()
        assert not torch.allclose(live(z), network(z), atol=1e-3)
        live.refresh()
        expected, found = network(z), live(z)
        assert torch.allclose(expected, found, atol=1e-4)
        slopes = [torch.autograd.grad(logits.square().sum(), z)[0] for logits in (expected, found)]
        assert torch.allclose(*slopes, atol=1e-3 * float(slopes[0].abs().max()))
    assert list(network.state_dict()) == names


def test_there_is_no_live_form_of_what_cannot_be_traced_or_fused():
    class Branching(nn.Module):
        def forward(self, x):
            return x.flatten(1) if bool(x.sum() > 0) else -x.flatten(1)

    x = torch.rand(2, 3, 8, 8)
    assert live_form(Branching().eval(), x) is None
    assert live_form(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval(), x) is None


@fuses_bf16
def test_half_precision_leaves_the_first_convolution_and_what_follows_the_last_in_float32():
    torch.manual_seed(0)
    model = with_statistics(
        build_architecture("residual:widths=8-16,depths=1-1,strides=1-2,stem=8-3-1", classes=5)
    )
    x = torch.rand(6, 3, 16, 16)
    search = search_model(model, torch.device("cpu"), "bf16", x)
    nodes = [node for node in search.network.graph.nodes if str(node.target).startswith("fused_")]
    layers = [search.network.get_submodule(node.target) for node in nodes]
    assert [layer.dtype for layer in layers] == [torch.float32] + [torch.bfloat16] * (len(layers) - 1)
    assert [layer.out_dtype for layer in layers] == [torch.bfloat16] * (len(layers) - 1) + [torch.float32]
    assert search.exact.precision == "fp32"
    assert search.exact.exact is search.exact
    x.requires_grad_()
    found, expected = search(x), model(x)
    spread = expected.amax(1) - expected.amin(1)
    assert float(((found - expected).abs() / spread[:, None]).detach().max()) < 0.02
    ours, theirs = (torch.autograd.grad(z.square().sum(), x)[0].flatten() for z in (found, expected))
    assert float(torch.cosine_similarity(ours, theirs, 0)) > 0.95


@fuses_bf16
def test_auto_takes_bf16_only_where_the_cpu_has_it_and_the_network_gains(monkeypatch):
    small, large = (build_architecture(name, classes=10) for name in ("lenet5", "resnet20"))
    x, cpu = torch.rand(2, 3, 32, 32), torch.device("cpu")
    for able, expected in ((True, ["fp32", "bf16"]), (False, ["fp32", "fp32"])):
        monkeypatch.setattr("robaudit.fast.precision.has_bf16", lambda _, able=able: able)
        assert [search_model(model, cpu, "auto", x).precision for model in (small, large)] == expected


@fuses_bf16
def test_a_live_form_in_bf16_follows_the_weights():
    torch.manual_seed(0)
    network = build_architecture("residual:widths=8-16,depths=1-1,strides=1-2,stem=8-3-1", classes=5)
    network = network.to(memory_format=torch.channels_last).eval()
    x = torch.rand(6, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    live = live_form(network, x[:2], torch.bfloat16)
    assert live is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        live.refresh()
        expected, found = network(x), live(x)
    assert found.dtype == torch.float32
    spread = expected.amax(1) - expected.amin(1)
    assert float(((found - expected).abs() / spread[:, None]).max()) < 0.03
    assert live_form(network, x[:2], torch.bfloat16, least=10**9) is None


@pytest.mark.parametrize(
    "activation",
    [nn.SiLU, nn.Hardswish, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.Hardtanh, nn.ReLU],
    ids=lambda kind: kind.__name__,
)
def test_activations_in_place_behind_a_convolution(activation):
    """They changed what the fused convolution had kept for its derivative, which ended the audit."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), activation(inplace=True), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8),
        activation(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 5),
    ).eval()  # fmt: skip
    x, y = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    search = search_model(model, torch.device("cpu"), "fp32", x)
    assert any(isinstance(module, FusedConvolution) for module in search.modules())
    found, expected = (evaluate(each, x, lambda z: cross_entropy(z, y)) for each in (search, model))
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)
    assert torch.allclose(found.gradient, expected.gradient, atol=1e-5)


def test_a_fused_form_whose_derivative_is_wrong_or_fails_is_not_taken(monkeypatch):
    model, x = with_statistics(cnn()), torch.rand(4, 1, 8, 8)
    traced = trace(model, x)
    for derivative in (lambda *_: 1 / 0, lambda self, gradient, x: torch.zeros_like(x)):
        monkeypatch.setattr("robaudit.fast.onednn.OneDNNConvolution.derivative", derivative)
        assert fuse_convolutions(traced, x) is None
