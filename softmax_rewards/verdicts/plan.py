"""Every claim that is judged, in the order of docs/analysis-plan.md."""

from softmax_rewards.verdicts import claims, map_claims, mechanism, predictions

CLAIMS = (*claims.CLAIMS, *mechanism.MECHANISM, *predictions.PREDICTIONS, *map_claims.MAP_CLAIMS)
