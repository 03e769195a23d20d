"""The audit: images through a model under every attack of a plan, into an evidence file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from robaudit.audit.draws import choose_draws
from robaudit.audit.early_stopping import EarlyStopping, can_stop_early, growing
from robaudit.audit.eps_curve import measure_curve
from robaudit.audit.header import make_header
from robaudit.audit.helpers import helper_notes, searched_with, with_helpers
from robaudit.audit.models import Models
from robaudit.audit.parts import check_examples, discard_part, finished_unwritable, hand_over, open_part
from robaudit.audit.preflight import preflight
from robaudit.audit.progress import Progress, Silent, tell_gaps, tell_work
from robaudit.audit.session import Session
from robaudit.audit.verify import judging
from robaudit.audit.within import Sampling
from robaudit.devices import failures_explained
from robaudit.engine import on_threads
from robaudit.errors import RobauditError
from robaudit.evidence import Evidence, EvidenceFile
from robaudit.fast import Averaged, before_softmax
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan
from robaudit.ranks import joined
from robaudit.torchrun import is_first_process
from robaudit.verdict import Claim, judge


def audit(  # noqa: PLR0913  one audit; all but three by keyword
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    *,
    path: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    force: bool = False,
    claim: Claim | None = None,
    helpers: Mapping[str, nn.Module] | None = None,
) -> Evidence:
    """Audit `classifier` on `images` as `plan` says, and return the evidence, which is in the file `path` too.

    The examples are taken in the order of `images`, which must be random. With `plan.examples == "auto"` the
    audit stops as soon as the verdict is decided, and that on `claim` too. An unfinished audit in `path` is
    resumed. `helpers` are other models, from images in [0, 1] to logits, that further attacks search with: a
    differentiable `surrogate`, and a network whose breaks are tried on this one, `transfer`.

    Raises:
        RobauditError: the model cannot be audited on these images, a preflight check failed and `force` is
            not set, or `path` holds another audit or cannot be written.

    """
    where = torch.device(device)
    if is_first_process():
        EvidenceFile.repair(path)
    plan = choose_draws(with_helpers(plan, helpers or {}), classifier.to(where), images, where, path)
    if plan.limit is not None and plan.limit < len(images):
        raise RobauditError(
            f"limit {plan.limit}: {len(images)} images were given; draw the subset when loading them"
        )
    search: nn.Module = classifier.to(where)
    strict = judging(classifier, plan)
    if plan.eot > 1:
        search = Averaged(classifier, plan.eot, plan.seed, "search")
    findings = preflight(classifier, images, where, strict if isinstance(strict, Averaged) else None)
    blocking = [item for item in findings if item.severity == "error"]
    if blocking and not force:
        raise RobauditError(f"{classifier.info.path}: {blocking[0].message}\n{blocking[0].advice}")
    sample = images.float(slice(0, 8)).to(where)
    helped = searched_with(helpers or {}, search, sample)
    bare = before_softmax(classifier, sample) if plan.eot == 1 else None
    header = make_header(
        classifier=classifier,
        images=images,
        plan=plan,
        device=where,
        findings=findings,
        last=bare[1] if bare else "",
        claim=claim,
    )
    header.model["notes"].extend(helper_notes(helpers or {}))
    kept = f"what was finished is in {path}; the same command with --device cpu resumes it"
    with failures_explained(where, kept), joined() as ranks:
        shown = ranks.agree(finished_unwritable(path, header, claim) if ranks.first else None)
        if shown is not None:
            return shown
        with open_part(path, header, ranks) as file:
            check_examples(file, images)
            plan = ranks.agree(file.header().plan)  # which may be more precise
            models = Models(strict, search, bare[0] if bare else None, helped)
            if header.claim:
                file.update(claim=header.claim)
            _carry_out(
                Session(
                    models=models,
                    images=images,
                    plan=plan,
                    file=file,
                    ranks=ranks,
                    device=where,
                    progress=progress or Silent(),
                ),
                claim,
            )
            found = ranks.agree(file.read())
        if not ranks.first:
            discard_part(path, ranks)
        return found


def _carry_out(session: Session, claim: Claim | None) -> None:
    """What is not done yet."""
    with on_threads(session.tuning.threads):
        hand_over(session.file, session.ranks)
        session.file.update(finished=False)
        if session.plan.within is not None:
            sampling = Sampling(session, claim)  # refuses evidence of a sample that cannot be
            EarlyStopping(session, lambda evidence: replace(judge(evidence), claim=None), None).run()
            sampling.run()
        elif can_stop_early(session.plan):
            EarlyStopping(session, partial(judge, claim=claim), claim.attack if claim else None).run()
        elif session.plan.cascade:
            _cascade(session)
        else:
            _every_attack(session, claim)
        measure_curve(session)
        session.sync()
    session.file.update(finished=True)


def _cascade(session: Session) -> None:
    """PGD-10 where it was asked for, then AutoAttack's attacks, each on what those before it left."""
    places, plan = torch.arange(len(session.images)), session.plan
    session.prepare(places)
    tell_work(session.progress, plan, len(places), session.logits.shape[1])
    for name in plan.attacks:
        if name not in plan.members:
            session.attack(name, session.pending(name, places))
    for name in plan.members:
        session.attack(name, session.open(name, session.open("autoattack", places)))


def _every_attack(session: Session, claim: Claim | None) -> None:
    """Every attack alone on a growing number of examples; on all at once when all are wanted anyway."""
    total = len(session.images)
    everything = session.plan.examples == "all"
    for places in [torch.arange(total)] if everything else growing(0, total):
        session.prepare(places)
        if everything:
            tell_work(session.progress, session.plan, total, session.logits.shape[1])
        for name in session.plan.attacks:
            session.attack(name, session.pending(name, places))
        evidence = session.sync()
        tell_gaps(session.progress, evidence)
        if not everything and judge(evidence, claim).settled:
            return
