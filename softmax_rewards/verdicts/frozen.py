"""Frozen predictions: what the map and the toy of search say of a base model, as numbers in docs/predictions.json.

They are computed from the base model's evaluation alone, before the runs that they are about.
"""

import math
from collections.abc import Mapping
from typing import Any

from softmax_rewards.verdicts.map_claims import CRITICAL
from softmax_rewards.weighting.study import scheme_map, search_base, search_prediction
from softmax_rewards.weighting.study.settings import label

GROUP_SIZE = 8
PAID = {"": 0.1, "-unpaid": 0.0, "-cent": 0.01}  # sibling of an experiment → reward for the format
HIDDEN = (0.15, 0.3)  # hidden budgets
DIGITS = 4


def predictions(evaluations: Mapping[str, Mapping[str, Any]], limits: Mapping[str, int]) -> dict[str, Any]:
    """The predictions of each condition, from its base model's evaluation and `max_new_tokens` (`limits`).

    base            the figures that the predictions use
    map             place of every scheme: x orders length (P4), rho early success (P5), tilt pass@16 (P6)
    P7              the settings with the tilt of `shrunk` (within 10 %)
    P8              the critical τ
    search          continuation, attempts, format, success and reward at which each scheme of E1 stops, per sibling
    """
    return {name: _condition(evaluation, limits[name]) for name, evaluation in evaluations.items()}


def _condition(evaluation: Mapping[str, Any], limit: int) -> dict[str, Any]:
    success, formed = evaluation["success"], max(evaluation["formatted"], evaluation["success"])
    places = {
        f"{scheme} {label(scheme, chosen)}".strip(): scheme_map.figures(scheme, chosen, success, formed)
        for scheme, chosen in scheme_map.map_settings()
    }
    least = CRITICAL * places["linear"].rho
    taus = [0.05, 0.1, 0.25, 0.5, 0.55, 0.75, 1.0, 2.0, 10.0]
    rho = {tau: scheme_map.figures("softmax", {"tau": tau}, success, formed).rho for tau in taus}
    shrunk = {name: place for name, place in places.items() if name.startswith("shrunk")}
    alike = {
        name: [other for other, place in places.items() if abs(place.tilt / mine.tilt - 1) < 0.1]
        for name, mine in shrunk.items()
    }
    return {
        "base": {key: evaluation[key] for key in ("success", "success_error", "formatted", "length", "pass@16")},
        "map": {name: _finite(place._asdict()) for name, place in places.items()},
        "P7": {"largest rho": list(shrunk), "among": alike},
        "P8": {"softmax breaks from τ on": next((tau for tau in taus if rho[tau] < least), None)},
        "search": _search(evaluation["search"], limit),
    }


def _search(search: Mapping[str, Any], limit: int) -> dict[str, Any]:
    settings = {sibling: (paid, 0.0) for sibling, paid in PAID.items()}
    settings |= {f"-hidden-{loss:g}": (PAID[""], loss) for loss in HIDDEN}
    found = {}
    for sibling, (paid, loss) in settings.items():
        toy, start = search_base.read(dict(search), limit, loss)
        rows = search_prediction.table(toy, start, search_prediction.learners(GROUP_SIZE, paid))
        found[sibling or "paid"] = [_finite(row) for row in rows.to_dict("records")]
    return found


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Rounded numbers, and null for what does not exist, which JSON cannot say otherwise."""
    return {
        str(key): (round(value, DIGITS) if math.isfinite(value) else None) if isinstance(value, float) else value
        for key, value in row.items()
    }
