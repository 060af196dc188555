"""What a run found, in plain words made from its numbers; what they cannot show is said as plainly."""

from collections.abc import Mapping
from typing import Any

from snnfer.benchmark._format import NBSP, NOT_COMPARABLE, network_name, of_variant, p_text, percent

FEW_SUBJECTS = 10


def finding(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, str]:
    """One paragraph, its first sentence apart: the best network, a linear model beside it, which differences hold."""
    networks = of_variant(metrics, "standard")
    if not networks:
        return "No network of this run has been tested yet; only the controls below are complete.", ""
    best = max(networks, key=lambda network: network["top1"]["estimate"])
    rest = [_probe(best, metrics), _differences(metrics), synthetic_text(manifest)]
    return _best(best, manifest, metrics), " ".join(part for part in rest if part)


def cautions(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must keep in mind, most important first."""
    found = []
    if not manifest["protocol"]["comparable"]:
        found.append(f"{NOT_COMPARABLE} The same people were seen in training and in test.")
    found += [_permuted(network, metrics["chance"]["top1"]) for network in of_variant(metrics, "label_permuted")]
    found += few_subjects(max(network["n_subjects"] for network in metrics["networks"]))
    if manifest["notes"]:
        found.append(str(manifest["notes"]))
    return found


def few_subjects(n_subjects: int) -> list[str]:
    """What a small number of held-out subjects means, if it is small."""
    if n_subjects < 2:
        return ["One held-out subject: there are no intervals, and nothing can be said about other people."]
    if n_subjects < FEW_SUBJECTS:
        return [
            f"Only {n_subjects} held-out subjects: the intervals are rough and somewhat too narrow (for 7 subjects, a "
            f"95{NBSP}% interval holds the true value in about 87{NBSP}% of simulated studies)."
        ]
    return []


def _best(best: Mapping[str, Any], manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    score, chance = best["top1"], metrics["chance"]["top1"]
    kind = "Action Units" if all(name.startswith("AU") for name in metrics["class_names"]) else "classes"
    interval = ""
    if score["low"] is not None:
        level = round(100 * metrics["intervals"]["level"])
        interval = f" ({level}{NBSP}% interval {percent(score['low'])} to {percent(score['high'])}{NBSP}%)"
    people = "subjects that the tested network had never seen"
    if not manifest["protocol"]["comparable"]:
        people = "subjects, of whom the tested network may have seen other clips (not comparable)"
    text = (
        f"On {manifest['data']['name']}, with {best['n_clips']} clips of {best['n_subjects']} {people}, the best "
        f"network ({network_name(best)}) names the right one of {len(metrics['class_names'])} {kind} in "
        f"{percent(score['estimate'])}{NBSP}% of clips{interval}; guessing would reach {percent(chance)}{NBSP}%"
    )
    if score["low"] is not None and score["low"] <= chance:
        text += ", which lies inside that interval: this is not evidence that the network has learnt anything"
    return text + "."


def _probe(best: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    for control in of_variant(metrics, "control"):
        if control["model"] == "linear_probe" and control["modality"] == best["modality"]:
            ours, probe = best["top1"]["estimate"], control["top1"]["estimate"]
            comment = ", so here the network adds nothing to it" if probe >= ours else ""
            return f"A linear probe on the same input, summed over time, reaches {percent(probe)}{NBSP}%{comment}."
    return ""


def _differences(metrics: Mapping[str, Any]) -> str:
    tests = sorted(metrics["comparisons"], key=lambda test: -abs(test["difference"]))
    if not tests:
        return ""
    significant = [test for test in tests if test["significant"]]
    rest = len(tests) - len(significant)
    if significant:
        text = "Significant after Holm's correction: " + "; ".join(_difference(test) for test in significant) + "."
        if rest:
            text += f" The other {rest} paired difference{'s are' if rest > 1 else ' is'} not significant."
        return text
    count = "The one paired difference between networks is not" if len(tests) == 1 else (
        f"None of the {len(tests)} paired differences between networks is"
    )  # fmt: skip
    text = f"{count} significant after Holm's correction; the largest: {_difference(tests[0])}."
    bound = min(test["smallest_p_holm"] for test in tests)
    if bound >= 0.05:
        text += (
            f" With {max(test['n_subjects'] for test in tests)} subjects and {_count(len(tests))} the corrected "
            f"p-value cannot fall below {p_text(bound)}, so no difference of any size could have been significant here."
        )
    return text


def _difference(test: Mapping[str, Any]) -> str:
    above, below = (test["a"], test["b"]) if test["difference"] >= 0 else (test["b"], test["a"])
    wins = test["n_better"] if test["difference"] >= 0 else test["n_worse"]
    return (
        f"{network_name(above)} above {network_name(below)} by {percent(abs(test['difference']))} points "
        f"(higher for {wins} of {test['n_subjects']} subjects, p = {p_text(test['p_value'])}, "
        f"corrected {p_text(test['p_holm'])})"
    )


def _count(n: int) -> str:
    return "one comparison" if n == 1 else f"{n} comparisons"


def synthetic_text(manifest: Mapping[str, Any]) -> str:
    """What scores on synthetic data do not say; empty for recordings."""
    if manifest["data"]["kind"] != "synthetic":
        return ""
    text = (
        f"{manifest['data']['name']} is synthetic (simulated faces and cameras): these figures compare methods on a "
        "simulation and say nothing yet about real faces"
    )
    if manifest["published"]:
        text += ", and the published figures beside them were measured on other data"
    return text + "."


def _permuted(network: Mapping[str, Any], chance: float) -> str:
    score = network["top1"]
    text = f"Trained on shuffled labels, {network_name(network)} reaches {percent(score['estimate'])}{NBSP}%"
    if score["low"] is not None and score["low"] > chance:
        return f"{text}, above chance ({percent(chance)}{NBSP}%): look for test clips that leak into training."
    return f"{text}, not above chance ({percent(chance)}{NBSP}%), as it should."
