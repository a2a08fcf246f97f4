//! What becomes of a fleet.

use super::{planned_rotation, rotation};
use crate::broker::api::{FleetOutcome, FleetProgress};
use crate::proto;

pub fn fleet_progress(progress: FleetProgress) -> proto::RotateClientSecretsResponse {
    let FleetProgress { tally, seen_to } = progress;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut message = proto::RotateClientSecretsResponse {
        matched_count: count(tally.matched),
        promoted_count: count(tally.promoted),
        failed_count: count(tally.behind),
        skipped_count: count(tally.passed_over),
        done: seen_to.is_none(),
        ..Default::default()
    };
    if let Some((client, outcome)) = seen_to {
        message.client = client.to_string();
        (message.rotation, message.error_reason) = match outcome {
            FleetOutcome::Planned(view) => (Some(planned_rotation(view)), String::new()),
            FleetOutcome::Promoted(view) => (Some(rotation(view)), String::new()),
            FleetOutcome::Behind(view, reason) => (Some(rotation(view)), reason),
            FleetOutcome::PassedOver(reason) => (None, reason.to_string()),
        };
    }
    message
}
