"""`robaudit check`: from a checkpoint to a verdict."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.asked import check_engine, check_present, check_structure, check_surrogate
from robaudit.cli.auditing import CheckRequest, check_one, expand, report_one
from robaudit.cli.check_reports import Outputs
from robaudit.cli.common import (
    TRUST_HELP,
    check_writable,
)
from robaudit.cli.data import DataRequest, check_device, threat_model
from robaudit.cli.defaults import tell_defaults
from robaudit.cli.help import one_of
from robaudit.cli.several import check_several, folder_for
from robaudit.cli.trackers import LOG_OPTION, check_tracker, try_tracker
from robaudit.cli.waiting import working
from robaudit.errors import RobauditError
from robaudit.plan import ATTACK_NAMES, AUTO_DRAWS, STANDARD_ATTACKS, AuditPlan

if TYPE_CHECKING:
    from robaudit.verdict import Claim

_MODEL, _DATA, _THREAT, _BUDGET, _OUT = (
    "Model",
    "Data",
    "Threat model and verdict",
    "Attack budgets",
    "Output",
)

_EXAMPLES = """
Examples:

  robaudit check model.pt --dataset cifar10

  robaudit check model.pt --dataset cifar10 --norm L2 --eps 0.5 --limit 1000 --examples all

  robaudit check weights.pth --dataset data.npz --arch mynet.py:build --normalise none --eps 8/255

  robaudit check model.pt --dataset cifar100 --attacks pgd10 --limit 512   (a quick look)

  robaudit check runs/*.safetensors --dataset cifar10 --evidence evidence/

  robaudit check list.txt --dataset cifar10 --ray auto --evidence /shared/evidence/

  torchrun --nproc-per-node 8 -m robaudit check model.pt --dataset cifar10 --examples all
"""


def check(
    context: typer.Context,
    models: list[str] = typer.Argument(
        ..., help="Checkpoints to audit, or a .txt file that lists them.", metavar="MODEL..."
    ),
    dataset: str = typer.Option(
        ...,
        help="Name (cifar10, cifar100, tiny-imagenet, mnist, fashion-mnist, svhn, digits), folder, .npz or "
        ".safetensors.",
        rich_help_panel=_DATA,
    ),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie.", rich_help_panel=_DATA),
    split: str = typer.Option("test", help="Which split.", rich_help_panel=_DATA),
    limit: int | None = typer.Option(
        None,
        help="At most this many examples: a random subset, class-balanced where the split is.",
        rich_help_panel=_DATA,
    ),
    image_size: str | None = typer.Option(
        None,
        help="For folders of pictures: 224 resizes the shorter side to 256 and takes the middle; 224:232 says both. "
        "By default what the JSON beside a Hugging Face or timm checkpoint says.",
        rich_help_panel=_DATA,
    ),
    download: bool = typer.Option(
        False, help="Fetch an absent data set without asking.", rich_help_panel=_DATA
    ),
    arch: str | None = typer.Option(
        None, help="Architecture: a name, package.module:factory or file.py:factory.", rich_help_panel=_MODEL
    ),
    normalise: str | None = typer.Option(
        None,
        help="none, a data set's name, imagenet, or means/stds, for example 0.49,0.48,0.45/0.2,0.2,0.2.",
        rich_help_panel=_MODEL,
    ),
    key: str | None = typer.Option(
        None, help="Which model of a file that holds several.", rich_help_panel=_MODEL
    ),
    norm: str = typer.Option("Linf", help="Linf, L2 or L1.", rich_help_panel=_THREAT),
    eps: str | None = typer.Option(
        None,
        help="Radius in [0, 1] pixel units, for example 8/255; by default the data set's usual one.",
        rich_help_panel=_THREAT,
    ),
    seed: int = typer.Option(0, help="Fixes the subset, the order and every draw.", rich_help_panel=_THREAT),
    confidence: float = typer.Option(0.99, help="Of the verdict and the intervals.", rich_help_panel=_THREAT),
    examples: str = typer.Option(
        "auto",
        help="auto: stop when the verdict is decided; all: audit all of them.",
        rich_help_panel=_THREAT,
    ),
    attacks: str = typer.Option(
        ",".join(STANDARD_ATTACKS),
        help="Comma separated; also apgd-dlr and fab. autoattack: AutoAttack's as a cascade, which leaves a broken "
        "example alone; paper: the columns of the paper's Table 1.",
        rich_help_panel=_BUDGET,
    ),
    version: str = typer.Option(
        "standard",
        help="Of AutoAttack: standard; plus (5 restarts, untargeted and targeted); rand (the mean over 20 draws).",
        rich_help_panel=_BUDGET,
    ),
    eps_curve: str | None = typer.Option(
        None,
        help="Robust accuracy at these radii too, rising: 1/255,2/255,4/255 or auto.",
        rich_help_panel=_BUDGET,
    ),
    pgd_steps: int = typer.Option(10, help="PGD steps.", rich_help_panel=_BUDGET),
    apgd_steps: int = typer.Option(100, help="APGD steps a run.", rich_help_panel=_BUDGET),
    fab_steps: int = typer.Option(100, help="FAB steps a target.", rich_help_panel=_BUDGET),
    targets: int = typer.Option(9, help="Target classes of APGD-T and FAB-T.", rich_help_panel=_BUDGET),
    square_queries: int = typer.Option(5000, help="Square's queries.", rich_help_panel=_BUDGET),
    restarts: int = typer.Option(1, help="Restarts of each attack.", rich_help_panel=_BUDGET),
    square_bound: float = typer.Option(
        0.08, help="Overestimated when PGD-10 minus Square reaches this.", rich_help_panel=_THREAT
    ),
    autoattack_bound: float = typer.Option(
        0.10, help="Overestimated when PGD-10 minus AutoAttack reaches this.", rich_help_panel=_THREAT
    ),
    within: float | None = typer.Option(
        None,
        help="Go on until AutoAttack's robust accuracy is known to this many points either way, for example 1; 0 "
        "audits all.",
        rich_help_panel=_THREAT,
    ),
    estimate: str | None = typer.Option(
        None,
        help="With --within: that of this attack alone as well, for example square.",
        autocompletion=one_of(ATTACK_NAMES),
        rich_help_panel=_THREAT,
    ),
    claim: float | None = typer.Option(
        None, help="A published robust accuracy in [0, 1], to be refuted or not.", rich_help_panel=_THREAT
    ),
    claim_attack: str = typer.Option(
        "autoattack", help="What the claim is about: autoattack or pgd.", rich_help_panel=_THREAT
    ),
    eot: int | None = typer.Option(
        None,
        help="For a randomised model: attack and judge the mean of its logits over this many draws, for example 20; "
        "by default 8 or 16, by a quick measurement, and with a smaller budget unless one is given.",
        rich_help_panel=_BUDGET,
    ),
    engine: str = typer.Option(
        "robaudit", help="robaudit, or reference: the unmodified pyautoattack.", rich_help_panel=_BUDGET
    ),
    precision: str = typer.Option(
        "auto",
        help="Of the search: auto, fp32, tf32, bf16 or fp16; every break is re-checked in float32.",
        rich_help_panel=_BUDGET,
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 …", rich_help_panel=_MODEL),
    surrogate: str | None = typer.Option(
        None,
        help="FILE.py:FACTORY of a differentiable stand-in, whose gradient an attack of its own follows (BPDA).",
        rich_help_panel=_BUDGET,
    ),
    transfer: str | None = typer.Option(
        None, help="Another checkpoint: images that break it are tried on this one.", rich_help_panel=_BUDGET
    ),
    ray: str | None = typer.Option(
        None,
        help="Audit several checkpoints on this Ray cluster: auto, HOST:PORT, ray://HOST:PORT, or local.",
        rich_help_panel=_MODEL,
    ),
    evidence: Path | None = typer.Option(
        None,
        help="Evidence file; an unfinished one there is resumed. By default in the cache folder.",
        rich_help_panel=_OUT,
    ),
    json_path: str | None = typer.Option(
        None, "--json", help="Write the report as JSON; - prints only it.", rich_help_panel=_OUT
    ),
    html: str | None = typer.Option(
        None, help="Write the report as a page; of one checkpoint.", rich_help_panel=_OUT
    ),
    markdown: str | None = typer.Option(None, help="Write the report as Markdown.", rich_help_panel=_OUT),
    sarif: str | None = typer.Option(None, help="Write the findings as SARIF 2.1.0.", rich_help_panel=_OUT),
    log: str | None = LOG_OPTION,
    board: Path | None = typer.Option(
        None,
        help="Folder for a static page of all the checkpoints, as `robaudit board` makes.",
        rich_help_panel=_OUT,
    ),
    force: bool = typer.Option(
        False, "--force", help="Go on past a preflight warning.", rich_help_panel=_MODEL
    ),
    trust_program: bool = typer.Option(False, "--trust-program", help=TRUST_HELP, rich_help_panel=_MODEL),
) -> int:
    """Say whether the robustness of a checkpoint is overestimated, with evidence.

    Several checkpoints get one summary table; a bad file does not stop the rest.
    """
    check_writable(str(evidence) if evidence and not evidence.exists() and len(models) == 1 else None)
    paths = expand(models)
    outputs = Outputs(json_path, html, markdown, sarif, board, log)
    outputs.check(paths, evidence, [*models, dataset, arch, surrogate, transfer])
    check_tracker(log)
    if transfer is not None:
        check_present(transfer)
    if len(paths) == 1:
        check_present(paths[0])
    data = DataRequest(dataset, data_dir, split, seed, download, image_size, tuple(paths))
    data.check()
    check_structure(arch, normalise, dataset)
    check_surrogate(surrogate)
    check_device(device)
    if eot == AUTO_DRAWS:  # to a plan it means what no flag means here
        raise RobauditError(f"eot {eot} must be a whole number from 1 to 10000, for example 20")
    check_engine(engine, surrogate=surrogate, transfer=transfer)
    try:
        plan = AuditPlan.from_flags(
            threat_model(norm, eps, dataset),
            attacks=attacks,
            version=version,
            eps_curve=eps_curve,
            seed=seed,
            confidence=confidence,
            examples=examples,
            within=within,
            estimate=estimate,
            limit=limit,
            engine=engine,
            precision=precision,
            eot=AUTO_DRAWS if eot is None else eot,
            pgd_steps=pgd_steps,
            apgd_steps=apgd_steps,
            fab_steps=fab_steps,
            targets=targets,
            square_queries=square_queries,
            restarts=restarts,
            square_bound=square_bound,
            autoattack_bound=autoattack_bound,
        )
        claimed = _claim(claim, claim_attack, plan)
    except ValueError as error:
        raise RobauditError(str(error)) from error
    with working("starting", quiet=outputs.quiet):
        try_tracker(log)
        from robaudit.devices import pick_device

    request = CheckRequest(
        plan=plan,
        claim=claimed,
        arch=arch,
        normalise=normalise,
        key=key,
        device=device if ray else pick_device(device),
        force=force,
        quiet=outputs.quiet,
        trust_program=trust_program,
        surrogate=surrogate,
        transfer=transfer,
    )
    tell_defaults(context)
    folder_for(paths, evidence)
    images = data.load()
    if len(paths) == 1 and ray is None:
        return report_one(check_one(paths[0], images, request, evidence), outputs, claimed)
    return check_several(paths, images, request, evidence, outputs, ray)


def _claim(value: float | None, attack: str, plan: AuditPlan) -> Claim | None:
    if value is None:
        return None
    from robaudit.verdict import make_claim  # takes half a second

    return make_claim(value, attack, plan)


check.__doc__ = f"{cleandoc(check.__doc__ or '')}\n{_EXAMPLES}"
