"""What a transfer run found, in plain words made from its numbers; what they cannot decide is said as plainly."""

from collections.abc import Mapping, Sequence
from typing import Any

from snnfer.benchmark._finding import few_subjects, synthetic_text
from snnfer.benchmark._format import NBSP, NOT_COMPARABLE, of_variant, p_equals, p_text, percent
from snnfer.benchmark._statistics import ALPHA
from snnfer.benchmark.transfer._systems import NETWORKS, network_text, training_text

CLAIM = "scratch < transferred < fine-tuned"
SHARE = "share of right windows per clip"


def finding(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, str]:
    """One paragraph, its first sentence apart: the best, a linear model, and the claimed ordering."""
    networks = of_variant(metrics, "standard")
    if not networks:
        return "No network of this run has been tested yet.", ""
    best = max(networks, key=lambda network: network["window_top1"]["estimate"])
    rest = [_probe(best, metrics), *ordering_sentences(metrics), synthetic_text(manifest)]
    return _best(best, manifest, metrics), " ".join(part for part in rest if part)


def cautions(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must keep in mind, most important first."""
    found = []
    if not manifest["protocol"]["comparable"]:
        found.append(f"{NOT_COMPARABLE} The same people were seen in training and in test.")
    found += [_permuted(network, metrics) for network in of_variant(metrics, "label_permuted")]
    if metrics["networks"]:
        found += few_subjects(max(network["n_subjects"] for network in metrics["networks"]))
    if manifest["notes"]:
        found.append(str(manifest["notes"]))
    return found


def ordering_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence or two per system that has all three encoder trainings; one sentence if there is none."""
    if not metrics["ordering"]:
        return [f"The ordering {CLAIM} cannot be tested: the run lacks one of the three, or their common clips."]
    return [_ordering(claim) + _gain(claim["system"], metrics) for claim in metrics["ordering"]]


def _gain(system: str, metrics: Mapping[str, Any]) -> str:
    """What transfer and fine-tuning together add to training from scratch, where the claim says more than that."""
    for test in metrics["comparisons"]:
        pair = [(test[side]["system"], test[side]["encoder_training"]) for side in "ab"]
        if test["main"] and pair == [(system, "fine_tuned"), (system, "scratch")]:
            n_better, n = test["n_better"], test["n_subjects"]
            step = _step({"a": "fine_tuned", "b": "scratch", "difference": test["difference"]})
            after = f"{p_equals(test['p_holm'])} after Holm's correction over all tests"
            return f" {step.capitalize()}, better for {n_better} of {n} subjects ({after})."
    return ""


def _ordering(claim: Mapping[str, Any]) -> str:
    system = f"{claim['system']} ({NETWORKS[claim['system']]})" if claim["system"] in NETWORKS else claim["system"]
    n, over = claim["n_subjects"], _over([step["representations"] for step in claim["steps"]])
    subjects = f"{n} subject{'s' if n != 1 else ''}"
    seen = _seen(claim["steps"])
    if claim["verdict"] == "holds":
        return (
            f"For {system} the ordering {CLAIM} holds: {seen} ({over}, {subjects}, {p_equals(claim['p_value'])} for "
            "both steps together)."
        )
    if claim["verdict"] == "does not hold":
        worst = min((step for step in claim["steps"] if step["difference"] < 0), key=lambda step: step["p_value"])
        return (
            f"For {system} the ordering {CLAIM} does not hold: {seen} ({over}, {subjects}, "
            f"{p_equals(worst['p_value'])} for the step that goes the other way)."
        )
    text = f"For {system} the ordering {CLAIM} cannot be decided with {subjects}: {seen} ({over}"
    if claim["smallest_p"] >= ALPHA:
        return (
            f"{text}), but no difference of any size could have been significant here (the smallest possible p is "
            f"{p_text(claim['smallest_p'])})."
        )
    return f"{text}), which is not significant ({p_equals(claim['p_value'])} for both steps together)."


def _over(representations: Sequence[Sequence[str]]) -> str:
    first, second = representations
    if first != second:
        return f"{SHARE}, mean over the representations that each step has"
    return f"{SHARE}, mean over {len(first)} representations" if len(first) > 1 else f"{SHARE}, {first[0]}"


def _seen(steps: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(_step(step) for step in steps)


def _step(step: Mapping[str, Any]) -> str:
    a, b = training_text(step["a"]), training_text(step["b"])
    if step["difference"] == 0:
        return f"{a} equals {b}"
    side = "above" if step["difference"] > 0 else "below"
    return f"{a} is {percent(abs(step['difference']))} points {side} {b}"


def _best(best: Mapping[str, Any], manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    score, (floor, floor_text) = best["window_top1"], _floor(metrics)
    kind = "Action Units" if all(name.startswith("AU") for name in metrics["class_names"]) else "classes"
    people = "subjects that the tested network had never seen"
    if not manifest["protocol"]["comparable"]:
        people = "subjects, of whom the tested network may have seen other clips (not comparable)"
    interval = ""
    if score["low"] is not None:
        level = round(100 * metrics["intervals"]["level"])
        interval = f" ({level}{NBSP}% interval {percent(score['low'])} to {percent(score['high'])}{NBSP}%)"
    text = (
        f"On {manifest['data']['name']}, with {best['n_windows']:,} windows in {best['n_clips']} clips of "
        f"{best['n_subjects']} {people}, the best network ({network_text(best)}) names the right one of "
        f"{len(metrics['class_names'])} {kind} in {percent(score['estimate'])}{NBSP}% of windows{interval}; "
        f"{floor_text}"
    )
    if score["low"] is not None and score["low"] <= floor:
        text += ", which lies inside that interval: this is not evidence that the network has learnt anything"
    return text + "."


def _floor(metrics: Mapping[str, Any]) -> tuple[float, str]:
    """What needs no look at the input: guessing, or naming the most frequent class of windows if that is better."""
    chance = metrics["chance"]["top1"]
    majority = [n["window_top1"]["estimate"] for n in of_variant(metrics, "control") if n["system"] == "majority"]
    best = max([chance, *majority])
    if best > chance:
        return best, f"naming the most frequent class would reach {percent(best)}{NBSP}%"
    return chance, f"guessing would reach {percent(chance)}{NBSP}%"


def _probe(best: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    probes = [n["window_top1"]["estimate"] for n in of_variant(metrics, "control") if n["system"] == "linear_probe"]
    if not probes:
        return ""
    comment = ", so here the networks add nothing to it" if max(probes) >= best["window_top1"]["estimate"] else ""
    return f"A linear probe on coarse images of the events reaches {percent(max(probes))}{NBSP}%{comment}."


def _permuted(network: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    score, (floor, floor_text) = network["window_top1"], _floor(metrics)
    text = f"Trained on shuffled labels, {network_text(network)} reaches {percent(score['estimate'])}{NBSP}%"
    if score["low"] is not None and score["low"] > floor:
        return f"{text} of windows ({floor_text}): look for test clips that leak into training."
    return f"{text} of windows, not above what needs no input, as it should ({floor_text})."
